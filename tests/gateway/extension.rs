//! Gateways of one's own: the programs of `tests/extension`, with real clients and upstreams.

use std::{fs, net::SocketAddr, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::{
    demo::stand_in::jose::Parts,
    support::{ACME, Gateway, Issuer, Recorder, Settings, gateway::client, raw, reason},
};

const BY_KEY: &str = "path: /by-key, accept: [{ authenticator: api-key }, iam], permissions: \
                      [CREDENTIAL_LIST]";

fn temporary(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("portcullis-{name}-{}", uuid::Uuid::new_v4()))
}

fn keyed(issuer: &Issuer, core: SocketAddr) -> (Settings, std::path::PathBuf) {
    let audit = temporary("audit");
    let mut settings = Settings::new(&issuer.url, core).route(BY_KEY);
    settings.example = Some("custom-authenticator");
    settings.environment = vec![
        ("API_KEYS", "k-alice:alice:admin,k-nobody:nobody:no-role".to_owned()),
        ("AUDIT_FILE", audit.display().to_string()),
    ];
    (settings.route("path: /open, access: public"), audit)
}

/// Waits for a record that has these fields.
async fn recorded(file: &std::path::Path, fields: &[(&str, &str)]) -> Value {
    for _ in 0..500 {
        let text = fs::read_to_string(file).unwrap_or_default();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for record in records {
            if fields.iter().all(|(name, value)| record[*name] == *value) {
                return record;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no record with {fields:?} in {}", fs::read_to_string(file).unwrap_or_default())
}

#[test]
fn a_custom_authenticator_and_a_custom_audit_sink_are_under_60_lines() {
    let source = include_str!("../extension/custom-authenticator.rs");
    assert!(source.lines().count() < 60);
    for part in ["impl Authenticate for", "impl AuditSink for", "fn main()"] {
        assert!(source.contains(part), "{part}");
    }
}

#[tokio::test]
async fn whom_an_authenticator_recognises_reaches_core_by_an_app_token_and_the_records() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let (settings, audit) = keyed(&issuer, core.address);
    let gateway = Gateway::start(settings).await;
    let get = |path: &str| client().get(gateway.url(path));

    let answer = get("/by-key").header("x-api-key", "k-alice").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let [seen] = &core.take()[..] else { panic!("one request") };
    assert!(seen.header("x-api-key").is_empty(), "{}", seen.head);
    let [authorization] = seen.header("authorization")[..] else { panic!("{}", seen.head) };
    let claims = Parts::split(authorization.strip_prefix("Bearer ").unwrap()).unwrap().claims;
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["aud"], "one-core");
    assert_eq!(claims["organisationId"], ACME);
    assert_eq!(claims["permissions"], serde_json::json!(["CREDENTIAL_LIST"]));

    let subject = [("subject", "alice"), ("kind", "audit"), ("decision", "forward")];
    let record = recorded(&audit, &subject).await;
    assert_eq!(record["proof"], "extension");
    assert_eq!(record["issuer"], "authenticator:api-key");
    assert_eq!(record["route"], "/by-key");
    assert_eq!(record["token_id"], claims["jti"]);
    // Beside the records that the file asks for.
    gateway
        .says(&["\"kind\":\"audit\"", "\"subject\":\"alice\"", "\"decision\":\"forward\""])
        .await;

    // The policy still decides, and a bad credential never becomes another one.
    let token = issuer.token("bob", "admin");
    for (key, expected) in [("k-nobody", "role_missing"), ("k-wrong", "credential_invalid")] {
        let asked = get("/by-key").header("x-api-key", key).bearer_auth(&token);
        let answer = asked.send().await.unwrap();
        assert_eq!(reason(&answer.text().await.unwrap()), expected);
        recorded(&audit, &[("reason", expected), ("decision", "refuse")]).await;
    }
    let answer = get("/by-key").send().await.unwrap();
    assert_eq!(reason(&answer.text().await.unwrap()), "credential_missing");
    let twice = get("/by-key").header("x-api-key", "k-alice").header("x-api-key", "k-alice");
    assert_eq!(reason(&twice.send().await.unwrap().text().await.unwrap()), "duplicate_header");
    // Elsewhere it counts for nothing.
    let other = get("/api/credential/v1").header("x-api-key", "k-alice").send().await.unwrap();
    assert_eq!(reason(&other.text().await.unwrap()), "credential_missing");
    assert!(core.take().is_empty());

    // Without such a credential the others of the route are looked at.
    assert_eq!(get("/by-key").bearer_auth(&token).send().await.unwrap().status(), 200);
    // And it reaches no upstream by a public route either.
    assert_eq!(get("/open").header("x-api-key", "k-alice").send().await.unwrap().status(), 200);
    for seen in core.take() {
        assert!(seen.header("x-api-key").is_empty(), "{}", seen.head);
    }

    // A reload keeps what the program was built with.
    gateway.signal("HUP");
    gateway.says(&["read the configuration again on SIGHUP"]).await;
    assert_eq!(get("/by-key").header("x-api-key", "k-alice").send().await.unwrap().status(), 200);
    fs::remove_file(audit).unwrap();
}

#[tokio::test]
async fn a_name_that_the_program_does_not_know_is_a_fault_with_its_place() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let (settings, audit) = keyed(&issuer, core.address);
    let gateway = Gateway::start(settings).await;
    let check = |file: &std::path::Path| {
        let program = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", "--config"])
            .arg(file)
            .envs(gateway.secrets.clone())
            .output()
            .unwrap();
        (program.status.code(), String::from_utf8(program.stderr).unwrap())
    };
    let (exit, said) = check(&gateway.file());
    assert_eq!(exit, Some(78), "{said}");
    let place = said.lines().find(|line| line.contains("accept[0].authenticator")).unwrap();
    assert!(place.contains("gateway.yaml:") && place.contains("\"api-key\""), "{place}");
    let other = gateway.file().with_file_name("other.yaml");
    let text = fs::read_to_string(gateway.file()).unwrap();
    let text = text
        .replace("{ authenticator: api-key }, ", "")
        .replace("auth: { mode: IAM }", "auth: { mode: EXTENSION, source: accounts }");
    fs::write(&other, text).unwrap();
    let (exit, said) = check(&other);
    assert_eq!(exit, Some(78), "{said}");
    assert!(said.contains("upstreams.bff.auth.source") && said.contains("\"accounts\""), "{said}");
    fs::remove_file(audit).unwrap();
}

#[tokio::test]
async fn check_source_and_filters() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("X-Number: 42\r\n").await);
    let mut settings =
        Settings::new(&issuer.url, core.address).route("path: /open, access: public");
    settings.upstreams = format!(
        "  old: {{ servers: ['{}'], auth: {{ mode: EXTENSION, source: accounts }} }}\n",
        core.address
    );
    settings.routes.push_str(
        "  - { path: /notes, accept: [iam], permissions: [CREDENTIAL_LIST], upstream: old }\n",
    );
    settings.example = Some("custom-everything");
    let gateway = Gateway::start(settings).await;
    let token = issuer.token("alice", "admin");
    let ask = |method: Method, path: &str| {
        client().request(method, gateway.url(path)).bearer_auth(&token)
    };

    let answer = ask(Method::POST, "/notes").body("buy milk").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(reason(&answer.text().await.unwrap()), "condition_failed");
    gateway.says(&["\"reason\":\"condition_failed\"", "a change without a ticket"]).await;
    assert!(core.take().is_empty());

    let asked = ask(Method::POST, "/notes").header("x-ticket", "CHG-7").body("buy milk");
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-masked"], "digits");
    assert!(!answer.headers().contains_key("content-length"));
    assert_eq!(answer.text().await.unwrap(), "ok");
    let [seen] = &core.take()[..] else { panic!("one request") };
    assert_eq!(seen.header("x-change"), ["CHG-7"]);
    assert!(seen.header("x-ticket").is_empty());
    assert_eq!(String::from_utf8_lossy(&seen.body), "buy milk\n-- by the gateway");
    let account = STANDARD.encode(format!("{ACME}:sesame"));
    assert_eq!(seen.header("authorization"), [format!("Basic {account}")]);
    gateway.says(&["\"kind\":\"access\"", "\"credential\":\"extension\""]).await;

    // The source gets nothing for whom the policy refuses.
    let reader = issuer.token("eve", "no-role");
    let refused = ask(Method::GET, "/notes").bearer_auth(&reader);
    // Two credentials are one too many.
    assert_eq!(refused.send().await.unwrap().status(), 400);
    let refused = client().get(gateway.url("/notes")).bearer_auth(&reader).send().await.unwrap();
    assert_eq!(reason(&refused.text().await.unwrap()), "permission_missing");
    assert!(core.take().is_empty());

    // HTTP/1.0 knows no chunks; HEAD has no body; both are answered as they should be.
    let old = raw(gateway.address, b"GET /open HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert!(old.contains("200") && !old.to_lowercase().contains("chunked"), "{old}");
    assert!(old.ends_with("\r\n\r\nok"), "{old}");
    let head = client().head(gateway.url("/open")).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), head.headers()["x-masked"].as_bytes()),
        (200, &b"digits"[..])
    );
    // The same over HTTP/2.
    let two = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let asked = two.post(gateway.url("/notes")).bearer_auth(&token).header("x-ticket", "CHG-8");
    let answer = asked.body("buy bread").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok");
    let bodies: Vec<_> = core.take().into_iter().map(|seen| seen.body).collect();
    assert!(bodies.contains(&b"buy bread\n-- by the gateway".to_vec()), "{bodies:?}");
}

#[tokio::test]
async fn whatever_fails_refuses_its_request_and_no_other() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let fails = temporary("sink");
    let mut settings = Settings::new(&issuer.url, core.address)
        .route("path: /x, accept: [{ authenticator: faulty }]")
        .with("perimeter: { acknowledge: [], allow_clients: [127.0.0.0/8, '::1/128'] }\n");
    settings.upstreams = format!(
        "  own: {{ servers: ['{}'], auth: {{ mode: EXTENSION, source: faulty }} }}\n",
        core.address
    );
    settings
        .routes
        .push_str("  - { path: /own, accept: [{ authenticator: faulty }], upstream: own }\n");
    settings.example = Some("faulty-extensions");
    settings.environment = vec![("SINK_FAILS", fails.display().to_string())];
    let gateway = Gateway::start(settings).await;
    let ask = |path: &str, name: &str| {
        client().post(gateway.url(path)).header("x-name", name).body("a body")
    };
    let outcome = async |ask: RequestBuilder| {
        let answer = ask.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, if status == 200 { String::new() } else { reason(&answer.text().await.unwrap()) })
    };
    let good = (200, String::new());
    for (fault, status, expected) in [
        ("authenticator-error", 503, "iam_unavailable"),
        ("authenticator-panic", 503, "iam_unavailable"),
        ("authenticator-hang", 503, "iam_unavailable"),
        ("check-error", 403, "condition_failed"),
        ("check-panic", 403, "condition_failed"),
        ("check-hang", 403, "condition_failed"),
        ("request-error", 403, "condition_failed"),
        ("request-panic", 403, "condition_failed"),
        ("request-authorization", 403, "condition_failed"),
        ("request-identity", 403, "condition_failed"),
        ("request-body", 403, "condition_failed"),
    ] {
        let found = outcome(ask("/x", "alice").header("x-fault", fault)).await;
        assert_eq!(found, (status, expected.to_owned()), "{fault}");
        assert!(core.take().is_empty(), "{fault}");
        assert_eq!(outcome(ask("/x", "alice")).await, good, "after {fault}");
        core.take();
    }
    for fault in ["response-error", "response-panic"] {
        let found = outcome(ask("/x", "alice").header("x-fault", fault)).await;
        assert_eq!(found, (502, "upstream_failed".to_owned()), "{fault}");
    }
    // What follows a head that is out already is not taken for the whole.
    match ask("/x", "alice").header("x-fault", "response-body").send().await {
        Ok(answer) if answer.status() == 502 => {
            assert_eq!(reason(&answer.text().await.unwrap()), "upstream_failed");
        }
        Ok(answer) => assert!(answer.text().await.is_err()),
        Err(_) => {}
    }
    core.take();

    for name in ["no-source", "panic-source", "torn-source"] {
        let found = outcome(ask("/own", name)).await;
        assert_eq!(found, (503, "sts_unavailable".to_owned()), "{name}");
    }
    assert_eq!(outcome(ask("/own", "mallory")).await, (401, "credential_invalid".to_owned()));
    assert!(core.take().is_empty());
    assert_eq!(outcome(ask("/own", "alice")).await, good);
    assert_eq!(core.take()[0].header("authorization"), ["Bearer good"]);

    for how in ["error", "panic"] {
        fs::write(&fails, how).unwrap();
        assert_eq!(outcome(ask("/x", "alice")).await, (503, "audit_unavailable".to_owned()));
        assert!(core.take().is_empty(), "{how}");
        fs::remove_file(&fails).unwrap();
        assert_eq!(outcome(ask("/x", "alice")).await, good, "the sink is whole again");
        core.take();
    }
    // What a panic says stays out of the records; the panic hook prints it on its own line.
    let records: Vec<_> = gateway.output().lines().map(str::to_owned).collect();
    assert!(records.iter().any(|line| line.contains("it panicked")));
}
