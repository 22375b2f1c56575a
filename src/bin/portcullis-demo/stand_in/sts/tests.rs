//! Exchanges over a real socket, honest and otherwise.

use std::time::Duration;

use axum::{Json, Router};
use portcullis::time::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::{
    super::{
        client,
        jose::{self, SigningKey, fetch_key_set},
    },
    ACCESS_TOKEN, EXCHANGE, Faults, Handle, Settings, WrongAnswer, serve,
};

const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

struct Sts {
    url: String,
    iam: SigningKey,
    iam_issuer: String,
    handle: Handle,
    client: reqwest::Client,
}

impl Sts {
    async fn start() -> Self {
        let iam = SigningKey::generate("iam").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let iam_issuer = format!("http://{}", listener.local_addr().unwrap());
        let keys = json!({"keys": [iam.jwk()]});
        let router = Router::new().fallback(async move || Json(keys));
        tokio::spawn(async { axum::serve(listener, router).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let handle = Handle::default();
        let settings = Settings {
            issuer: "sts".into(),
            audiences: vec!["one-core".into()],
            lifetime: Duration::from_secs(300),
            iam_issuer: iam_issuer.clone(),
            iam_audience: "platform".into(),
            roles: vec![
                ("reader".into(), vec!["B_LIST".into(), "A_LIST".into()]),
                ("writer".into(), vec!["B_LIST".into()]),
            ],
            client: Some(("portcullis".into(), "secret".into())),
            handle: handle.clone(),
        };
        tokio::spawn(serve(listener, settings));
        Self { url, iam, iam_issuer, handle, client: client(Duration::from_secs(5)).unwrap() }
    }

    fn iam_token(&self, subject: &str) -> String {
        let claims = json!({"iss": self.iam_issuer, "aud": "platform", "sub": subject,
            "roles": ["reader", "writer"], "exp": Timestamp::now() + Duration::from_secs(60)});
        self.iam.sign("JWT", &claims)
    }

    async fn exchange(&self, form: &[(&str, &str)]) -> Result<reqwest::Response, reqwest::Error> {
        let token = self.iam_token("alice");
        let mut all = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", "one-core"),
            ("organisationId", ACME),
        ];
        all.retain(|(name, _)| form.iter().all(|(other, _)| other != name));
        all.extend(form);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        self.client
            .post(format!("{}/sts/token", self.url))
            .basic_auth("portcullis", Some("secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
    }

    async fn claims(&self, form: &[(&str, &str)]) -> jose::Claims {
        let body = self.exchange(form).await.unwrap().bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let keys = format!("{}/.well-known/jwks.json", self.url);
        let keys = fetch_key_set(&self.client, &keys).await.unwrap();
        let token = body["access_token"].as_str().unwrap();
        let parts = jose::Parts::split(token).unwrap();
        assert!(keys.values().any(|key| parts.signed_by(key)));
        parts.claims
    }
}

#[tokio::test]
async fn an_iam_token_becomes_an_app_token() {
    let sts = Sts::start().await;
    let claims = sts.claims(&[]).await;
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!("one-core")));
    assert_eq!(claims["organisationId"], ACME);
    assert_eq!(claims["permissions"], json!(["A_LIST", "B_LIST"]));
    assert!(claims.get("act").is_none());
    let service = sts.iam_token("wrpr");
    let actor = [("actor_token", service.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    let delegated = sts.claims(&actor).await;
    assert_eq!((&delegated["sub"], &delegated["act"]), (&json!("alice"), &json!({"sub": "wrpr"})));
    assert_eq!(sts.handle.exchanges(), 2);
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let sts = Sts::start().await;
    let stranger = SigningKey::generate("iam").unwrap().sign("JWT", &json!({}));
    for (name, value, error) in [
        ("grant_type", "password", "unsupported_grant_type"),
        ("subject_token", stranger.as_str(), "invalid_grant"),
        ("subject_token_type", "x", "invalid_request"),
        ("audience", "two-core", "invalid_target"),
        ("organisationId", "acme", "invalid_request"),
        ("actor_token", "x", "invalid_request"),
    ] {
        let answer = sts.exchange(&[(name, value)]).await.unwrap();
        assert_eq!(answer.status(), 400, "{name}");
        let body = answer.text().await.unwrap();
        assert_eq!(body, json!({"error": error}).to_string(), "{name}");
    }
}

#[tokio::test]
async fn it_lies_and_fails_when_told_to() {
    let sts = Sts::start().await;
    let other = "00000000-0000-0000-0000-000000000001";
    sts.handle.set_faults(Faults {
        issuer: Some("evil".into()),
        audience: Some("other".into()),
        organisation: Some(other.into()),
        subject: Some("mallory".into()),
        expired: true,
        ..Faults::default()
    });
    let claims = sts.claims(&[]).await;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("evil"), &json!("other")));
    assert_eq!((&claims["sub"], &claims["organisationId"]), (&json!("mallory"), &json!(other)));
    assert!(claims["exp"].as_u64().unwrap() < Timestamp::now().0 - 3_000);
    for (answer, status) in
        [(WrongAnswer::Html, 200), (WrongAnswer::Redirect, 307), (WrongAnswer::Huge, 200)]
    {
        sts.handle.set_faults(Faults { answer: Some(answer), ..Faults::default() });
        assert_eq!(sts.exchange(&[]).await.unwrap().status(), status, "{answer:?}");
    }
    sts.handle.set_faults(Faults { status: Some(500), ..Faults::default() });
    assert_eq!(sts.exchange(&[]).await.unwrap().status(), 500);
    sts.handle.set_faults(Faults { drip: true, ..Faults::default() });
    let waiting = tokio::time::timeout(Duration::from_millis(300), sts.exchange(&[]));
    assert!(waiting.await.is_err(), "the head alone takes longer");
    sts.handle.set_faults(Faults::default());
    assert_eq!(sts.exchange(&[]).await.unwrap().status(), 200);
}
