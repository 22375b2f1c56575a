//! API clients with tokens: what is let in, what is refused, and what Core then sees.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    demo::stand_in::jose::Parts,
    support::{ACME, Gateway, Issuer, Recorder, Settings, gateway::client, issuer::now, reason},
};

struct World {
    issuer: Issuer,
    core: Recorder,
    gateway: Gateway,
}

async fn world() -> World {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    World { issuer, core, gateway }
}

impl World {
    /// Refused with this reason, and Core saw nothing.
    async fn refuses(&self, token: &str, expected: &str) {
        let answer = client()
            .get(self.gateway.url("/api/credential/v1"))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401);
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        assert_eq!(challenge, "Bearer realm=\"portcullis\", error=\"invalid_token\"");
        assert_eq!(reason(&answer.text().await.unwrap()), expected);
        assert!(self.core.seen().is_empty());
    }

    async fn refuses_claims(&self, change: impl FnOnce(&mut Value), expected: &str) {
        let mut claims = self.issuer.claims("alice", "admin");
        change(&mut claims);
        self.refuses(&self.issuer.sign(&claims), expected).await;
    }
}

#[tokio::test]
async fn without_a_credential_it_is_401_and_says_so() {
    let world = world().await;
    let answer = client().get(world.gateway.url("/api/config/v1")).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer realm=\"portcullis\"");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.headers().contains_key("x-request-id"));
    assert!(!answer.headers().contains_key("server"));
    assert_eq!(reason(&answer.text().await.unwrap()), "credential_missing");
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn core_sees_an_app_token_and_never_the_iam_token_or_our_cookies() {
    let world = world().await;
    let token = world.issuer.token("alice", "admin");
    let answer = client()
        .get(world.gateway.url("/api/credential/v1?page=0&pageSize=10"))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header("cookie", "theirs=1; portcullis=x; portcullis.1=y; portcullis-login.abc=z; more=2")
        .header("x-request-id", "from-the-caller")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-request-id"], "from-the-caller");
    let [seen] = &world.core.take()[..] else { panic!("one request") };
    assert_eq!(seen.target(), "/api/credential/v1?page=0&pageSize=10");
    assert_eq!(seen.header("cookie"), ["theirs=1; more=2"]);
    assert_eq!(seen.header("x-request-id"), ["from-the-caller"]);
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    assert!(!seen.head.contains(&token));
    let app = seen.header("authorization")[0].strip_prefix("Bearer ").unwrap();
    let Parts { header, claims, .. } = Parts::split(app).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(claims["organisationId"], ACME);
    assert_eq!(claims["permissions"], json!(["CREDENTIAL_LIST"]));
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!("one-core")));
    // The keys that Core checks it with are published.
    let keys = reqwest::get(world.gateway.url("/.well-known/jwks.json")).await.unwrap();
    let keys: Value = serde_json::from_str(&keys.text().await.unwrap()).unwrap();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert_eq!(keys["keys"][0]["kty"], "OKP");
}

#[tokio::test]
async fn bob_may_read_and_not_issue() {
    let world = world().await;
    let token = world.issuer.token("bob", "reader");
    let read = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(&token);
    assert_eq!(read.send().await.unwrap().status(), 200);
    world.core.take();
    let issue = client().post(world.gateway.url("/api/credential/v1")).bearer_auth(&token);
    let answer = issue.body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    assert_eq!(reason(&answer.text().await.unwrap()), "permission_missing");
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn somebody_without_a_role_is_refused() {
    let world = world().await;
    let token = world.issuer.token("carol", "cleaner");
    let answer = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(token);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(reason(&answer.text().await.unwrap()), "role_missing");
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn an_iam_token_reaches_the_bff_as_it_is() {
    let world = world().await;
    let token = world.issuer.token("carol", "cleaner");
    let answer = client().get(world.gateway.url("/api/desk/v1/me")).bearer_auth(&token);
    assert_eq!(answer.send().await.unwrap().status(), 200);
    assert_eq!(world.core.take()[0].header("authorization"), [format!("Bearer {token}")]);
}

#[tokio::test]
async fn a_callers_own_app_token_is_checked_and_passed_on() {
    let world = world().await;
    let list = |token: &str| {
        client().get(world.gateway.url("/api/credential/v1")).bearer_auth(token).send()
    };
    list(&world.issuer.token("alice", "admin")).await.unwrap();
    let minted = world.core.take()[0].header("authorization")[0][7..].to_owned();
    assert_eq!(list(&minted).await.unwrap().status(), 200);
    assert_eq!(world.core.take()[0].header("authorization"), [format!("Bearer {minted}")]);
    // It carries one permission only, so it opens nothing else.
    let issue = client().post(world.gateway.url("/api/credential/v1")).bearer_auth(&minted);
    assert_eq!(issue.send().await.unwrap().status(), 403);
    // A route that does not list app tokens takes none.
    let detail = client().get(world.gateway.url("/api/credential/v1/1")).bearer_auth(&minted);
    assert_eq!(detail.send().await.unwrap().status(), 401);
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn a_wrong_audience_is_refused() {
    let world = world().await;
    world.refuses_claims(|claims| claims["aud"] = "other".into(), "credential_invalid").await;
}

#[tokio::test]
async fn a_wrong_issuer_is_refused() {
    let world = world().await;
    let wrong = "http://evil.example".into();
    world.refuses_claims(|claims| claims["iss"] = wrong, "credential_invalid").await;
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let world = world().await;
    world.refuses_claims(|claims| claims["exp"] = (now() - 600).into(), "credential_expired").await;
}

#[tokio::test]
async fn a_token_without_an_end_is_refused() {
    let world = world().await;
    let drop_end = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("exp");
    };
    world.refuses_claims(drop_end, "credential_invalid").await;
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let world = world().await;
    let token = world.issuer.token("alice", "admin");
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64.decode(signature).unwrap();
    signature[10] ^= 1;
    world.refuses(&format!("{message}.{}", BASE64.encode(signature)), "credential_invalid").await;
}

#[tokio::test]
async fn another_key_under_the_same_name_is_refused() {
    let world = world().await;
    let other = portcullis::sts::issuer::generate().unwrap();
    let other = jsonwebtoken::EncodingKey::from_ed_pem(other.expose_secret().as_bytes()).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some(world.issuer.kid());
    let claims = world.issuer.claims("alice", "admin");
    let token = jsonwebtoken::encode(&header, &claims, &other).unwrap();
    world.refuses(&token, "credential_invalid").await;
}

#[tokio::test]
async fn alg_none_is_refused() {
    let world = world().await;
    let part = |value: &Value| BASE64.encode(value.to_string());
    let claims = part(&world.issuer.claims("alice", "admin"));
    for alg in ["none", "None", "NONE"] {
        let header = part(&json!({ "alg": alg, "kid": world.issuer.kid() }));
        world.refuses(&format!("{header}.{claims}."), "credential_invalid").await;
    }
}

#[tokio::test]
async fn r21_hs256_with_the_public_key_as_secret_is_refused() {
    let world = world().await;
    let jwk = world.issuer.key.jwk();
    let public = BASE64.decode(jwk["x"].as_str().unwrap()).unwrap();
    for secret in [public, jwk.to_string().into_bytes()] {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some(world.issuer.kid());
        let key = jsonwebtoken::EncodingKey::from_secret(&secret);
        let token =
            jsonwebtoken::encode(&header, &world.issuer.claims("alice", "admin"), &key).unwrap();
        world.refuses(&token, "credential_invalid").await;
    }
}

#[tokio::test]
async fn r18_presence_is_not_validity() {
    let world = world().await;
    world.refuses("garbage", "credential_invalid").await;
    let token = world.issuer.token("alice", "admin");
    for target in [
        format!("/api/credential/v1?access_token={token}"),
        format!("/api/credential/v1?token={token}"),
    ] {
        let answer = client().get(world.gateway.url(&target)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "a token in the query is none");
    }
    for value in ["Basic YTpi", "Bearer", "", "Token x"] {
        let answer = client().get(world.gateway.url("/api/credential/v1"));
        let answer = answer.header(AUTHORIZATION, value).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{value:?}");
    }
    let cookie = client().get(world.gateway.url("/api/credential/v1"));
    let answer = cookie.header("cookie", "portcullis=1.garbage").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn no_token_is_ever_printed() {
    let world = world().await;
    let token = world.issuer.token("alice", "admin");
    let good = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(&token);
    assert_eq!(good.send().await.unwrap().status(), 200);
    let app = world.core.take()[0].header("authorization")[0][7..].to_owned();
    let bad = format!("{token}x");
    client().get(world.gateway.url("/api/credential/v1")).bearer_auth(&bad).send().await.unwrap();
    // Records are written off the request's way.
    let records = |output: &str| output.matches("\"kind\":\"access\"").count();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while records(&world.gateway.output()) < 2 && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let output = world.gateway.output();
    assert!(records(&output) >= 2, "{output}");
    for secret in [&token, &app, &bad] {
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!output.contains(signature), "a token in the log");
    }
    assert!(!output.contains("client-secret-of-the-test"));
    assert!(output.contains("\"reason\":\"credential_invalid\""), "{output}");
}
