//! Which organisation a request is about, conditions and trial mode, over sockets: nobody acts
//! in an organisation that is not theirs, and nothing reaches the upstream that was not decided.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    ACME, Gateway, Issuer, OTHER, Recorder, Settings, gateway::client, raw, reason, status,
};

async fn world(routes: &[&str]) -> (Issuer, Recorder, Gateway) {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let settings = Settings::new(&issuer.url, core.address);
    let settings = routes.iter().fold(settings, |settings, route| settings.route(route));
    let gateway = Gateway::start(settings).await;
    (issuer, core, gateway)
}

/// Status and reason, which is empty when the request went on.
async fn send(
    gateway: &Gateway,
    token: &str,
    method: Method,
    target: &str,
    header: Option<(&str, &str)>,
    body: Option<&str>,
) -> (u16, String) {
    let mut request = client().request(method, gateway.url(target)).bearer_auth(token);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, if status == 200 { String::new() } else { reason(&text) })
}

#[tokio::test]
async fn nobody_names_an_organisation_that_is_not_theirs() {
    let (issuer, core, gateway) = world(&[
        "path: /api/did/v1, methods: [GET], organisation: { query: organisationId }",
        "path: /api/history/v1, methods: [GET], organisation: { query: 'organisationIds[]' }",
        "path: '/api/organisation/v1/{id}', organisation: { path: id }",
        "path: /api/headed/v1, organisation: { header: x-organisation }",
        "path: /api/did/v1, methods: [POST], organisation: { body: /organisationId }",
        "path: /api/import/v1, methods: [POST], organisation: [ { body: /organisationId }, \
         { body: /schema/organisationId } ]",
    ])
    .await;
    let token = issuer.token("alice", "admin");
    let (mismatch, invalid) = ((403, "organisation_mismatch"), (400, "organisation_invalid"));
    let braced = format!("%7B{OTHER}%7D");
    let simple = OTHER.replace('-', "");
    for (target, expected) in [
        (format!("/api/did/v1?organisationId={OTHER}"), mismatch),
        (format!("/api/did/v1?organisationId={}", OTHER.to_uppercase()), mismatch),
        (format!("/api/did/v1?organisationId={braced}"), mismatch),
        (format!("/api/did/v1?organisationId={simple}"), mismatch),
        (format!("/api/did/v1?organisationId=urn:uuid:{OTHER}"), mismatch),
        (format!("/api/did/v1?organis%61tionId={OTHER}"), mismatch),
        (format!("/api/did/v1?organisationId={ACME}&organisationId={OTHER}"), invalid),
        (format!("/api/did/v1?organisationId={ACME}&organisationId[]={OTHER}"), invalid),
        (format!("/api/did/v1?organisationId%5B0%5D={OTHER}"), invalid),
        (format!("/api/did/v1?a=b;organisationId={OTHER}&organisationIds={OTHER}"), invalid),
        (format!("/api/history/v1?organisationIds[]={OTHER}"), mismatch),
        (format!("/api/history/v1?organisationIds%5B%5D={OTHER}"), mismatch),
        (format!("/api/history/v1?organisationIds[]={ACME}&organisationIds[]={OTHER}"), invalid),
        (format!("/api/history/v1?organisationIds[0]={OTHER}"), invalid),
        (format!("/api/history/v1?organisationIds[]={ACME}&showSystemHistory=true"), mismatch),
        ("/api/history/v1?show%53ystemHistory=true".to_owned(), mismatch),
        (format!("/api/organisation/v1/{OTHER}"), mismatch),
        (format!("/api/organisation/v1/{simple}"), mismatch),
        ("/api/organisation/v1/mine".to_owned(), invalid),
    ] {
        let (status, reason) = send(&gateway, &token, Method::GET, &target, None, None).await;
        assert_eq!((status, &*reason), expected, "{target}");
    }
    for (value, expected) in [(OTHER, mismatch), ("mine", invalid)] {
        let header = Some(("x-organisation", value));
        let sent = send(&gateway, &token, Method::GET, "/api/headed/v1", header, None).await;
        assert_eq!((sent.0, &*sent.1), expected, "{value}");
    }
    for (body, expected) in [
        (format!(r#"{{"organisationId":"{OTHER}"}}"#), mismatch),
        (format!(r#"{{"organis\u0061tionId":"{OTHER}"}}"#), mismatch),
        (format!(r#"{{"organisationId":"{{{OTHER}}}"}}"#), mismatch),
        (format!(r#"{{"organisationId":"{ACME}","organisationId":"{OTHER}"}}"#), invalid),
        (format!(r#"["name","{OTHER}"]"#), invalid),
        (format!(r#"{{"organisationId":["{OTHER}"]}}"#), invalid),
        (format!(r#"{{"organisationId":"{ACME}"}}{{"organisationId":"{OTHER}"}}"#), invalid),
        (format!("\u{feff}{{\"organisationId\":\"{OTHER}\"}}"), invalid),
    ] {
        let target = "/api/did/v1";
        let sent = send(&gateway, &token, Method::POST, target, None, Some(&body)).await;
        assert_eq!((sent.0, &*sent.1), expected, "{body}");
    }
    let copies =
        format!(r#"{{"organisationId":"{ACME}","schema":{{"organisationId":"{OTHER}"}}}}"#);
    let sent = send(&gateway, &token, Method::POST, "/api/import/v1", None, Some(&copies)).await;
    assert_eq!((sent.0, &*sent.1), invalid);
    let other_kind = client()
        .post(gateway.url("/api/did/v1"))
        .bearer_auth(&token)
        .header("content-type", "text/plain")
        .body(format!(r#"{{"organisationId":"{OTHER}"}}"#));
    assert_eq!(other_kind.send().await.unwrap().status(), 400);
    assert!(core.seen().is_empty(), "{:?}", core.seen());
    // Their own, in the same places.
    let own = format!(r#"{{ "organisationId" : "{ACME}" }}"#);
    let sent = send(&gateway, &token, Method::POST, "/api/did/v1", None, Some(&own)).await;
    assert_eq!(sent.0, 200);
    let target = format!("/api/history/v1?organisationIds%5B%5D={ACME}&showSystemHistory=false");
    assert_eq!(send(&gateway, &token, Method::GET, &target, None, None).await.0, 200);
    let seen = core.take();
    assert_eq!(seen[0].body, own.as_bytes());
    assert_eq!(seen[1].target(), target);
}

#[tokio::test]
async fn what_is_left_out_is_written_into_the_query_and_the_body() {
    let (issuer, core, gateway) = world(&[
        "path: /api/did/v1, methods: [GET], organisation: { query: organisationId, inject: true }",
        "path: /api/history/v1, organisation: { query: 'organisationIds[]', inject: true }",
        "path: /api/did/v1, methods: [POST], organisation: { body: /organisationId, inject: true }",
    ])
    .await;
    let token = issuer.token("alice", "admin");
    for (target, arrives) in [
        ("/api/did/v1", format!("/api/did/v1?organisationId={ACME}")),
        ("/api/did/v1?", format!("/api/did/v1?organisationId={ACME}")),
        ("/api/did/v1?a=%41", format!("/api/did/v1?a=%41&organisationId={ACME}")),
        ("/api/history/v1?a=b", format!("/api/history/v1?a=b&organisationIds%5B%5D={ACME}")),
    ] {
        assert_eq!(send(&gateway, &token, Method::GET, target, None, None).await.0, 200);
        assert_eq!(core.take()[0].target(), arrives, "{target}");
    }
    for (body, arrives) in [
        ("{}", format!(r#"{{"organisationId":"{ACME}"}}"#)),
        (r#"{ "n" : 1.50, "é":[] }"#, {
            format!(r#"{{"organisationId":"{ACME}", "n" : 1.50, "é":[] }}"#)
        }),
        (r#"{"organisationId": null}"#, format!(r#"{{"organisationId": "{ACME}"}}"#)),
    ] {
        let target = "/api/did/v1";
        assert_eq!(send(&gateway, &token, Method::POST, target, None, Some(body)).await.0, 200);
        let [seen] = &core.take()[..] else { panic!("one request") };
        assert_eq!(String::from_utf8_lossy(&seen.body), arrives);
        assert_eq!(seen.header("content-length"), [arrives.len().to_string()]);
        assert!(seen.header("transfer-encoding").is_empty());
    }
    // In chunks, with the body sent only after it was asked for.
    let port = gateway.address.port();
    let chunked = format!(
        "POST /api/did/v1 HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\n{{\"a\"\r\n3\r\n:1}}\r\n0\r\n\r\n"
    );
    let answer = raw(gateway.address, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    let [seen] = &core.take()[..] else { panic!("one request") };
    let arrives = format!(r#"{{"organisationId":"{ACME}","a":1}}"#);
    assert_eq!(String::from_utf8_lossy(&seen.body), arrives);
    assert!(seen.header("expect").is_empty() && seen.header("transfer-encoding").is_empty());
    // Nothing to write, nowhere to write it, too much to look at.
    let missing = (400, "organisation_missing".to_owned());
    let both = issuer.token("bob", "both");
    assert_eq!(send(&gateway, &both, Method::GET, "/api/did/v1", None, None).await, missing);
    assert_eq!(send(&gateway, &token, Method::POST, "/api/did/v1", None, None).await, missing);
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(70 * 1024));
    let sent = send(&gateway, &token, Method::POST, "/api/did/v1", None, Some(&large)).await;
    assert_eq!(sent, (413, "body_too_large".to_owned()));
    assert!(core.take().is_empty());
    let almost = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 * 1024 - 8));
    assert_eq!(almost.len(), 64 * 1024);
    let sent = send(&gateway, &token, Method::POST, "/api/did/v1", None, Some(&almost)).await;
    assert_eq!(sent.0, 200);
    assert_eq!(core.take()[0].body.len(), almost.len() + 56);
}

#[tokio::test]
async fn a_body_of_nobody_is_not_read() {
    let (_, core, gateway) =
        world(&["path: /api/did/v1, methods: [POST], organisation: { body: /organisationId }"])
            .await;
    let port = gateway.address.port();
    // The body never comes; whoever waits for it would time out.
    let head = format!(
        "POST /api/did/v1 HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer x.y.z\r\n\
         Content-Type: application/json\r\nContent-Length: 50\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(gateway.address, head.as_bytes()).await;
    assert_eq!(status(&answer), 401, "{answer}");
    assert!(core.seen().is_empty());
}

#[tokio::test]
async fn a_condition_is_true_or_the_request_is_refused() {
    let (issuer, core, gateway) = world(&[
        r#"path: /api/mfa/v1, condition: 'claims.amr.exists(m, m == "mfa")'"#,
        "path: /api/word/v1, condition: 'claims.amr'",
        r#"path: /api/view/v1, condition: 'request.headers["x-kind"] == "batch" && organisation != null'"#,
    ])
    .await;
    let token = |amr: serde_json::Value| {
        let mut claims = issuer.claims("alice", "admin");
        claims["amr"] = amr;
        issuer.sign(&claims)
    };
    let failed = (403, "condition_failed".to_owned());
    let none = issuer.token("alice", "admin");
    for (token, path, header, expected) in [
        (token(json!(["pwd", "mfa"])), "/api/mfa/v1", None, (200, String::new())),
        (token(json!(["pwd"])), "/api/mfa/v1", None, failed.clone()),
        (token(json!(7)), "/api/mfa/v1", None, failed.clone()),
        (none.clone(), "/api/mfa/v1", None, failed.clone()),
        (token(json!(true)), "/api/word/v1", None, (200, String::new())),
        (token(json!("true")), "/api/word/v1", None, failed.clone()),
        (none.clone(), "/api/view/v1", Some(("x-kind", "batch")), (200, String::new())),
        (none.clone(), "/api/view/v1", None, failed.clone()),
    ] {
        let sent = send(&gateway, &token, Method::GET, path, header, None).await;
        assert_eq!(sent, expected, "{path}");
    }
    assert_eq!(core.seen().len(), 3);
}

#[tokio::test]
async fn a_route_on_trial_lets_pass_and_records() {
    let (issuer, core, gateway) =
        world(&["path: /api/did/v1, methods: [GET], permissions: [DID_LIST], enforce: false, \
         organisation: { query: organisationId }"])
        .await;
    let token = issuer.token("alice", "admin");
    let get = async |token: &str, target: &str| {
        send(&gateway, token, Method::GET, target, None, None).await.0
    };
    assert_eq!(get(&token, "/api/did/v1").await, 200);
    assert_eq!(get(&token, &format!("/api/did/v1?organisationId={OTHER}")).await, 200);
    assert_eq!(get(&token, "/api/did/v1?organisationId=x").await, 200);
    assert_eq!(core.take().len(), 3);
    assert_eq!(get("x.y.z", "/api/did/v1").await, 401);
    assert!(core.take().is_empty());
    let metrics = gateway.metrics().await;
    for reason in ["permission_missing", "organisation_mismatch", "organisation_invalid"] {
        let line = format!("portcullis_trial_refusals_total{{reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
        let word = format!("\"would_refuse\":\"{reason}\"");
        let output = gateway.output();
        let mut lines = output.lines().filter(|line| line.contains(&word));
        assert!(lines.all(|line| line.contains("\"decision\":\"forward\"")), "{output}");
        assert!(output.contains(&word), "{output}");
    }
}
