use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    oauth_client::{AssertionKey, ClientAuthentication},
    refusal::Reason,
    sts::{
        stand_in::{ACME, BETA, Call, ISSUER, NOW, StandIn, client, issue, token},
        template::Written,
    },
};

fn request() -> ExchangeRequest {
    ExchangeRequest {
        subject_token: "IAM:alice:1".into(),
        subject: "alice".into(),
        actor: None,
        audience: "one-core".into(),
        scope: None,
        organisation: Organisation::parse(ACME),
    }
}

fn rfc8693(resource: Option<&str>, parameters: Parameters) -> Protocol {
    Protocol::Rfc8693 {
        requested_token_type: answer::ACCESS_TOKEN.to_owned(),
        resource: resource.map(|resource| Resource::parse(resource).unwrap()),
        parameters,
    }
}

fn bridge() -> Actor {
    Actor { subject: "bridge".into(), token: "IAM:bridge:1".into(), expires: NOW }
}

async fn exchange(service: &StandIn, request: &ExchangeRequest) -> Result<Issued, ExchangeError> {
    client(service.settings()).exchange(request, NOW).await
}

/// The outcome when the service answers with an honest answer's claims, changed.
async fn after(change: impl Fn(&mut Value) + Clone + Send + Sync + 'static) -> ExchangeError {
    let service = StandIn::start(move |call: Call| {
        let change = change.clone();
        async move {
            let mut claims = call.claims();
            change(&mut claims);
            issue(&claims)
        }
    })
    .await;
    exchange(&service, &request()).await.unwrap_err()
}

async fn answered(status: u16, kind: &'static str, body: String) -> Result<Issued, ExchangeError> {
    let status = StatusCode::from_u16(status).unwrap();
    let service = StandIn::start(move |_| {
        let answer = (status, [("content-type", kind)], body.clone());
        async move { answer.into_response() }
    })
    .await;
    exchange(&service, &request()).await
}

fn lie(error: &ExchangeError, check: &str) {
    assert!(matches!(error, ExchangeError::Unacceptable(_)), "{error}");
    assert!(error.to_string().contains(check), "{error}");
}

#[tokio::test]
async fn the_request_is_rfc_8693s() {
    let service = StandIn::honest().await;
    let request = ExchangeRequest { actor: Some(bridge()), scope: Some("a b".into()), ..request() };
    let issued = exchange(&service, &request).await.unwrap();
    assert_eq!(issued.subject.as_ref(), "alice");
    assert_eq!(issued.actor.as_deref(), Some("bridge"));
    assert_eq!(issued.organisation, Organisation::parse(ACME));
    assert_eq!(issued.expires, Timestamp(NOW.0 + 300));
    assert_eq!(issued.id.as_deref(), Some("issued-1"));
    assert_eq!(issued.permissions.len(), 1);

    let call = service.last();
    let mut fields: Vec<_> = call.form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            ("actor_token", "IAM:bridge:1"),
            ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", "one-core"),
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("organisationId", ACME),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("scope", "a b"),
            ("subject_token", "IAM:alice:1"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ]
    );
    assert_eq!(call.headers["accept"], "application/json");
    assert!(!call.headers.contains_key("authorization"));
}

#[tokio::test]
async fn the_client_proves_itself_as_configured() {
    let service = StandIn::honest().await;
    let with = |authentication| {
        let mut settings = service.settings();
        settings.client = Some(OauthClient::new("port:cullis".to_owned(), authentication));
        client(settings)
    };
    let ask = request();

    with(ClientAuthentication::Basic("p w/ü".into())).exchange(&ask, NOW).await.unwrap();
    let call = service.last();
    let sent = call.headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    assert_eq!(STANDARD.decode(sent).unwrap(), b"port%3Acullis:p+w%2F%C3%BC");
    assert_eq!((call.field("client_id"), call.field("client_secret")), ("", ""));

    with(ClientAuthentication::Post("p w/ü".into())).exchange(&ask, NOW).await.unwrap();
    let call = service.last();
    assert_eq!((call.field("client_id"), call.field("client_secret")), ("port:cullis", "p w/ü"));
    assert!(!call.headers.contains_key("authorization"));

    with(ClientAuthentication::None).exchange(&ask, NOW).await.unwrap();
    let call = service.last();
    assert_eq!((call.field("client_id"), call.field("client_secret")), ("port:cullis", ""));
    assert!(!call.headers.contains_key("authorization"));
}

#[tokio::test]
async fn resource_and_a_signed_assertion_are_sent() {
    let service = StandIn::honest().await;
    let mut settings = service.settings();
    settings.protocol = rfc8693(Some("https://{audience}.example.com"), Parameters::default());
    let key = AssertionKey::new(&crate::sts::issuer::generate().unwrap()).unwrap();
    let how = ClientAuthentication::PrivateKeyJwt(key);
    settings.client = Some(OauthClient::new("portcullis".to_owned(), how));
    let ask = ExchangeRequest { organisation: None, ..request() };
    client(settings).exchange(&ask, NOW).await.unwrap();
    let call = service.last();
    assert_eq!(call.field("resource"), "https://one-core.example.com");
    let assertion =
        jsonwebtoken::dangerous::insecure_decode::<Value>(call.field("client_assertion"));
    assert_eq!(assertion.unwrap().claims["aud"], service.url.as_str());
}

#[tokio::test]
async fn a_service_of_another_protocol_is_asked_and_read_by_template() {
    let service = StandIn::start(|call: Call| async move {
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(call.headers["content-type"], "application/json");
        let claims = json!({
            "iss": ISSUER, "aud": asked["audience"], "sub": "alice", "exp": NOW.0 + 300,
            "organisationId": asked["organisation"], "permissions": [],
        });
        axum::Json(json!({ "accessToken": token(&claims), "expiresIn": 100 })).into_response()
    })
    .await;
    let written = Written {
        method: "POST",
        content_type: "application/json",
        body: r#"{"jwt":"{subject_token}","audience":"{audience}","organisation":"{organisation}"}"#,
        token: "/accessToken",
        expires_in: Some("/expiresIn"),
    };
    let by_template = || {
        let mut settings = service.settings();
        settings.protocol = Protocol::Template(Box::new(Template::parse(written).unwrap()));
        settings.client =
            Some(OauthClient::new("desk".to_owned(), ClientAuthentication::Basic("hush".into())));
        client(settings)
    };
    let issued = by_template().exchange(&request(), NOW).await.unwrap();
    assert!((100..=110).contains(&issued.expires.since(NOW).as_secs()), "{issued:?}");
    assert!(service.last().headers.contains_key("authorization"));
    let acting = ExchangeRequest { actor: Some(bridge()), ..request() };
    lie(&by_template().exchange(&acting, NOW).await.unwrap_err(), "act.sub");
}

#[tokio::test]
async fn a_parameter_cannot_replace_the_protocols_own() {
    let service = StandIn::honest().await;
    let mut settings = service.settings();
    let fields = [("audience".to_owned(), "all".to_owned())];
    settings.protocol = rfc8693(None, Parameters::parse(&fields.into()).unwrap());
    let error = ExchangeClient::new(settings, reqwest_client()).unwrap_err();
    assert_eq!(error, ParameterFault::Reserved("audience".to_owned()));
}

fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    crate::http_client::build(None, Duration::from_secs(5)).unwrap()
}

#[tokio::test]
async fn lie_wrong_issuer() {
    lie(&after(|claims| claims["iss"] = json!("https://evil.example.com")).await, "iss");
}

#[tokio::test]
async fn lie_wrong_audience() {
    lie(&after(|claims| claims["aud"] = json!("one-wrpr")).await, "aud");
}

#[tokio::test]
async fn lie_other_subject() {
    lie(&after(|claims| claims["sub"] = json!("mallory")).await, "sub");
}

#[tokio::test]
async fn lie_other_organisation() {
    lie(&after(|claims| claims["organisationId"] = json!(BETA)).await, "organisationId");
}

#[tokio::test]
async fn lie_no_organisation() {
    let without = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("organisationId");
    };
    lie(&after(without).await, "organisationId");
}

#[tokio::test]
async fn lie_missing_permissions() {
    let without = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("permissions");
    };
    lie(&after(without).await, "permissions");
}

#[tokio::test]
async fn lie_expired_within_the_leeway_and_beyond() {
    lie(&after(|claims| claims["exp"] = json!(NOW.0)).await, "expired");
    lie(&after(|claims| claims["exp"] = json!(NOW.0 - 600)).await, "exp");
}

#[tokio::test]
async fn lie_an_actor_that_nobody_asked_for() {
    lie(&after(|claims| claims["act"] = json!({ "sub": "bridge" })).await, "act.sub");
}

#[tokio::test]
async fn lie_without_or_with_another_actor() {
    for act in [json!(null), json!({ "sub": "wrpr" })] {
        let service = StandIn::start(move |call: Call| {
            let act = act.clone();
            async move {
                let mut claims = call.claims();
                claims["act"] = act;
                issue(&claims)
            }
        })
        .await;
        let request = ExchangeRequest { actor: Some(bridge()), ..request() };
        lie(&exchange(&service, &request).await.unwrap_err(), "act.sub");
    }
}

#[tokio::test]
async fn lie_another_kind_of_token() {
    let answer = |kind: &str, issued: &str| {
        json!({ "access_token": "t", "token_type": kind, "issued_token_type": issued }).to_string()
    };
    let access = "urn:ietf:params:oauth:token-type:access_token";
    let dpop = answered(200, "application/json", answer("DPoP", access)).await.unwrap_err();
    lie(&dpop, "token_type");
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    let refresh = answered(200, "application/json", answer("Bearer", refresh)).await.unwrap_err();
    lie(&refresh, "issued_token_type");
}

#[tokio::test]
async fn token_types_are_compared_without_case_and_expires_in_shortens() {
    let claims = json!({
        "iss": ISSUER, "aud": "one-core", "sub": "alice", "exp": NOW.0 + 300,
        "organisationId": ACME, "permissions": [],
    });
    for kind in ["bearer", "BEARER", "n_a"] {
        let answer =
            json!({ "access_token": token(&claims), "token_type": kind, "expires_in": 100 });
        let issued = answered(200, "application/json", answer.to_string()).await.unwrap();
        // A second may go by meanwhile.
        assert!((100..=110).contains(&issued.expires.since(NOW).as_secs()), "{issued:?}");
        assert_eq!(issued.id, None);
    }
}

#[tokio::test]
async fn ten_megabytes_are_not_read() {
    let body = format!("{{\"access_token\":\"{}\"}}", "a".repeat(10 << 20));
    let error = answered(200, "application/json", body).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("larger than 65536"), "{error}");
}

#[tokio::test]
async fn html_and_other_nonsense_is_no_token() {
    let bodies = ["<html>logged out</html>", "", "null", "[]", "{}", "{\"access_token\":7}"];
    for body in bodies {
        let error = answered(200, "text/html", body.to_owned()).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Unavailable(_)), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = StandIn::honest().await;
    for status in [301, 302, 303, 307, 308] {
        let to = elsewhere.url.to_string();
        let service = StandIn::start(move |_| {
            let answer = (StatusCode::from_u16(status).unwrap(), [("location", to.clone())]);
            async move { answer.into_response() }
        })
        .await;
        let error = exchange(&service, &request()).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Unavailable(_)), "{error}");
        assert_eq!(service.calls(), 1);
    }
    assert_eq!(elsewhere.calls(), 0);
}

#[tokio::test]
async fn a_slow_drip_ends_with_the_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let dripping = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
            content-length: 60000\r\n\r\n{";
        socket.write_all(head).await.unwrap();
        // Never silent for long, so that only a bound on the whole helps.
        while socket.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut settings = StandIn::honest().await.settings();
    settings.url = url;
    settings.timeout = Duration::from_millis(300);
    let started = Instant::now();
    let error = client(settings).exchange(&request(), NOW).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Unavailable(_)), "{error}");
    // 60,000 bytes take 20 minutes at that pace.
    assert!(started.elapsed() < Duration::from_secs(10));
    dripping.abort();
}

#[tokio::test]
async fn nobody_at_the_address_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = StandIn::honest().await.settings();
    settings.url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = client(settings).exchange(&request(), NOW).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_4xx_is_a_refusal_and_its_word_is_kept_when_plain() {
    let long = "a".repeat(65);
    for (status, body, expected) in [
        (400, json!({ "error": "invalid_grant", "error_description": "x" }), Some("invalid_grant")),
        (401, json!({ "error": "invalid_client" }), Some("invalid_client")),
        (403, json!({ "error": "line\nbreak" }), None),
        (404, json!({ "error": long }), None),
        (422, json!({ "error": "" }), None),
        (400, json!({ "error": { "code": 1 } }), None),
        (400, json!("IAM:alice:1"), None),
    ] {
        let error = answered(status, "application/json", body.to_string()).await.unwrap_err();
        let ExchangeError::Refused { status: refused, code } = &error else { panic!("{error}") };
        assert_eq!((refused.as_u16(), code.as_deref()), (status, expected), "{body}");
    }
}

#[tokio::test]
async fn a_5xx_and_a_wish_for_patience_are_no_refusal() {
    for status in [408, 429, 500, 501, 502, 503, 504] {
        let body = json!({ "error": "invalid_grant" }).to_string();
        let error = answered(status, "application/json", body).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Unavailable(_)), "{status}: {error}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_no_lie() {
    let service = StandIn::honest().await;
    let mut settings = service.settings();
    settings.verifier = Arc::new(|_, _, _| {
        Box::pin(async { Err(Refusal::new(Reason::StsUnavailable, "no key set")) })
    });
    let error = client(settings).exchange(&request(), NOW).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn no_error_and_no_debug_shows_a_token() {
    let echo = json!({ "error": "IAM:alice:1", "access_token": "IAM:alice:1" }).to_string();
    for status in [200, 400, 500] {
        let error = answered(status, "application/json", echo.clone()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("IAM:"), "{shown}");
    }
    let shown = format!("{:?}", ExchangeRequest { actor: Some(bridge()), ..request() });
    assert!(!shown.contains("IAM:"), "{shown}");
}
