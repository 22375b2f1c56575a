//! Core's rules as tables, and its answers over a real socket.

use std::{collections::BTreeSet, time::Duration};

use portcullis::time::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{
    super::{client, jose::SigningKey},
    Mode, Recorder, Settings, serve,
    token::Rules,
};

const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const GLOBEX: &str = "c2f7a3de-51b4-4f7e-8a55-7d0f3f0a9b22";
const NOW: u64 = 1_000_000;

fn rules() -> Rules {
    Rules { issuer: "sts".into(), audience: "one-core".into(), leeway: Duration::from_secs(60) }
}

fn claims(now: u64) -> Value {
    json!({"iss": "sts", "aud": "one-core", "sub": "alice", "exp": now + 300,
           "organisationId": ACME, "permissions": ["CREDENTIAL_LIST", "NEVER_HEARD_OF"]})
}

#[test]
fn claims_by_table() {
    let key = SigningKey::generate("k").unwrap();
    let cases: &[(&str, Value, Result<(), &str>)] = &[
        ("aud", json!(["x", "one-core"]), Ok(())),
        ("aud", json!("one"), Err("aud")),
        ("aud", Value::Null, Err("aud")),
        ("iss", json!("sts/"), Err("iss")),
        ("iss", json!(["sts"]), Err("iss")),
        ("exp", json!(NOW - 60), Ok(())),
        ("exp", json!(1_000_000.5), Ok(())),
        ("exp", json!(NOW - 61), Err("exp")),
        ("exp", json!("9999999999"), Err("a time is no number")),
        ("nbf", json!(NOW + 60), Ok(())),
        ("nbf", json!(NOW + 61), Err("nbf")),
        ("iat", json!("whatever"), Ok(())),
        ("sub", Value::Null, Err("sub missing")),
        ("organisationId", json!("acme"), Err("organisationId")),
        ("organisationId", Value::Null, Ok(())),
        ("permissions", json!("CREDENTIAL_LIST"), Err("permissions is no list of names")),
        ("act", json!({"sub": "wrpr", "act": {"sub": "x"}}), Ok(())),
    ];
    for (name, value, expected) in cases {
        let mut claims = claims(NOW);
        claims[*name] = value.clone();
        let token = key.sign("STS", &claims);
        let found = rules().check(&token, &key.key_set(), Timestamp(NOW)).map(|_| ());
        assert_eq!(found, *expected, "{name}: {value}");
    }
    let mut without = claims(NOW);
    without.as_object_mut().unwrap().remove("permissions");
    let token = key.sign("STS", &without);
    let session = rules().check(&token, &key.key_set(), Timestamp(NOW)).unwrap();
    assert_eq!(session.permissions, BTreeSet::new());
    assert_eq!(session.organisation, Some(Uuid::parse_str(ACME).unwrap()));
}

#[test]
fn headers_and_signatures_by_table() {
    let key = SigningKey::generate("k").unwrap();
    let other = SigningKey::generate("k").unwrap();
    let kid = &key.jwk()["kid"];
    for (header, expected) in [
        (json!({"alg": "EdDSA", "kid": kid, "typ": "anything"}), Ok(())),
        (json!({"alg": "eddsa", "kid": kid}), Err("alg")),
        (json!({"alg": "none", "kid": kid}), Err("alg")),
        (json!({"alg": "EdDSA"}), Err("kid missing")),
        (json!({"alg": "EdDSA", "kid": "unknown"}), Err("signature")),
    ] {
        let token = key.sign_as(&header, &claims(NOW));
        let found = rules().check(&token, &key.key_set(), Timestamp(NOW)).map(|_| ());
        assert_eq!(found, expected, "{header}");
    }
    let good = key.sign("STS", &claims(NOW));
    let check = |token: &str| rules().check(token, &key.key_set(), Timestamp(NOW)).is_ok();
    assert!(check(&format!(" .{good}. ")), "Core trims dots and white space");
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    for wrong in ["", "a.b.c", unsigned, &format!("{unsigned}."), &format!("{good}.x")] {
        assert!(!check(wrong), "{wrong}");
    }
    let forged = json!({"alg": "EdDSA", "kid": kid});
    assert!(!check(&other.sign_as(&forged, &claims(NOW))));
}

/// A running stand-in with its issuer.
struct Running {
    url: String,
    key: SigningKey,
    recorder: Recorder,
    client: reqwest::Client,
}

impl Running {
    async fn start() -> Self {
        let key = SigningKey::generate("k").unwrap();
        let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks = format!("http://{}/", issuer.local_addr().unwrap());
        let document = json!({"keys": [key.jwk()]});
        let router =
            axum::Router::new().fallback(move || std::future::ready(axum::Json(document.clone())));
        tokio::spawn(async { axum::serve(issuer, router).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let recorder = Recorder::default();
        tokio::spawn(serve(
            listener,
            Settings {
                mode: Mode::Sts {
                    issuer: "sts".into(),
                    audience: "one-core".into(),
                    jwks,
                    ttl: Duration::from_secs(600),
                    leeway: Duration::from_secs(60),
                },
                organisations: vec![(Uuid::parse_str(ACME).unwrap(), "Acme".into())],
                recorder: recorder.clone(),
            },
        ));
        let running = Self { url, key, recorder, client: client(Duration::from_secs(5)).unwrap() };
        // Until the first key set is there, Core does not serve; the stand-in says 401.
        let token = running.token(&[], ACME);
        while running.call("GET", "/api/config/v1", Some(&token), None).await.0 == 401 {
            tokio::task::yield_now().await;
        }
        running.recorder.clear();
        running
    }

    fn token(&self, permissions: &[&str], organisation: &str) -> String {
        let mut claims = claims(Timestamp::now().0);
        claims["permissions"] = json!(permissions);
        claims["organisationId"] = json!(organisation);
        self.key.sign("STS", &claims)
    }

    async fn call(
        &self,
        method: &str,
        target: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (u16, String) {
        let mut request =
            self.client.request(method.parse().unwrap(), format!("{}{target}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("www-authenticate"));
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

#[tokio::test]
async fn answers_come_in_cores_order() {
    let core = Running::start().await;
    let lister = core.token(&["CREDENTIAL_LIST"], ACME);
    let nobody = core.token(&[], ACME);
    let list = "/api/credential/v1?page=0&pageSize=10";
    for (method, target, token, status) in [
        ("GET", "/api/nothing/v1", None, 404),
        ("GET", "/", None, 404),
        ("GET", "/health", None, 204),
        ("OPTIONS", "/api/credential/v1", None, 401),
        ("GET", list, None, 401),
        ("GET", list, Some("garbage"), 401),
        ("GET", "/api/credential/v1?page=x", None, 401),
        ("GET", "/api/credential/v1", Some(&nobody), 400),
        ("GET", list, Some(&nobody), 403),
        ("GET", list, Some(&lister), 200),
        ("HEAD", list, Some(&lister), 200),
        ("PUT", "/api/credential/v1", Some(&lister), 405),
        ("GET", "/api/credential/v1?page=0&pageSize=1001", Some(&lister), 400),
        ("GET", "/api/credential/v1?page=0&pageSize=1&other=1", Some(&lister), 400),
        ("GET", "/api/credential/v1?page=0&page=0&pageSize=1", Some(&lister), 400),
        ("GET", &format!("{list}&organisationId={ACME}"), Some(&lister), 200),
        ("GET", &format!("{list}&organisationId={GLOBEX}"), Some(&lister), 403),
        ("GET", &format!("{list}&organisationId=acme"), Some(&lister), 400),
        ("GET", "/api/config/v1", Some(&nobody), 200),
    ] {
        let (found, body) = core.call(method, target, token, None).await;
        assert_eq!(found, status, "{method} {target}: {body}");
        if matches!(found, 401 | 403) {
            assert_eq!(body, "", "{method} {target}");
        }
    }
}

#[tokio::test]
async fn a_credential_belongs_to_its_organisation() {
    let core = Running::start().await;
    let all = ["CREDENTIAL_ISSUE", "CREDENTIAL_DETAIL"];
    let (acme, globex) = (core.token(&all, ACME), core.token(&all, GLOBEX));
    let path = "/api/credential/v1";
    let body = json!({"credentialSchemaId": Uuid::new_v4(), "protocol": "OPENID4VCI_FINAL1",
                      "claimValues": []});
    let mut unknown = body.clone();
    unknown["surprise"] = json!(1);
    assert_eq!(core.call("POST", path, Some(&acme), Some(unknown)).await.0, 400);
    assert_eq!(core.call("POST", path, Some(&acme), None).await.0, 400);
    let (status, created) = core.call("POST", path, Some(&acme), Some(body)).await;
    assert_eq!(status, 201, "{created}");
    let created: Value = serde_json::from_str(&created).unwrap();
    let detail = format!("{path}/{}", created["id"].as_str().unwrap());
    assert_eq!(core.call("GET", &detail, Some(&acme), None).await.0, 200);
    assert_eq!(core.call("GET", &detail, Some(&globex), None).await, (403, String::new()));
    let other = format!("{path}/{}", Uuid::new_v4());
    let (status, body) = core.call("GET", &other, Some(&acme), None).await;
    assert!(status == 404 && body.contains("BR_"), "{status} {body}");
    assert_eq!(core.call("GET", &format!("{path}/x"), Some(&acme), None).await.0, 400);
}

#[tokio::test]
async fn protocol_endpoints_read_their_own_bearer() {
    let core = Running::start().await;
    let path = format!("/ssi/openid4vci/final-1.0/{}/credential", Uuid::new_v4());
    assert_eq!(core.call("POST", &path, None, Some(json!({}))).await.0, 401);
    let (status, _) = core.call("POST", &path, Some("not-a-jwt"), Some(json!({}))).await;
    assert_eq!(status, 200);
    let odd = "/ssi/context/v1/a%2Fb?x=%41&&y";
    assert_eq!(core.call("GET", odd, None, None).await.0, 200);
    let seen = core.recorder.all();
    assert_eq!(seen.last().unwrap().target, odd, "the target is kept as it came");
    assert!(seen.iter().all(|one| one.claims.is_none()));
}
