//! A small OpenID provider over real HTTP on a loopback port, for tests.

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Authentication, Provider, Settings};
use crate::http_client;

/// The time at which the fake's tokens are fresh.
pub(crate) const NOW: u64 = 1_700_000_000;

pub(crate) const SECRET: &str = "the client's secret, long enough for HS256";

type Fields = Vec<(String, String)>;
type Edit = Box<dyn Fn(&mut Value) + Send>;

/// What the next answers are like.
pub(crate) struct Script {
    pub(crate) nonce: String,
    pub(crate) metadata: Edit,
    pub(crate) id_token: Edit,
    pub(crate) access_token: Edit,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) kid: &'static str,
    pub(crate) token: Token,
    pub(crate) key: Signing,
}

#[derive(Clone, Copy)]
pub(crate) enum Token {
    Normal,
    Redirect,
    Huge,
    Broken,
    Error(&'static str),
}

/// What the fake was asked.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) discoveries: usize,
    pub(crate) redirected: usize,
    /// `Authorization` and form of each request to the token endpoint.
    pub(crate) exchanges: Vec<(Option<String>, Fields)>,
}

pub(crate) struct Signing(Vec<u8>);

pub(crate) struct Fake {
    pub(crate) issuer: String,
    pub(crate) script: Mutex<Script>,
    pub(crate) seen: Mutex<Seen>,
}

impl Fake {
    pub(crate) async fn start() -> Arc<Self> {
        // The process's default; another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            script: Mutex::new(Script {
                nonce: String::new(),
                metadata: Box::new(|_| {}),
                id_token: Box::new(|_| {}),
                access_token: Box::new(|_| {}),
                algorithm: Some(Algorithm::EdDSA),
                kid: "1",
                token: Token::Normal,
                key: Signing::new(),
            }),
            seen: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/elsewhere", any(elsewhere))
            .with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            issuer: self.issuer.clone(),
            client_id: "desk".into(),
            client_secret: Some(SECRET.to_owned().into()),
            authentication: Authentication::Basic,
            assertion_key: None,
            scopes: vec!["openid".into(), "profile".into()],
            resource: None,
            redirect_uri: "https://desk.example.com/.portcullis/callback".parse().unwrap(),
            algorithms: vec![Algorithm::EdDSA],
            leeway: std::time::Duration::from_mins(1),
        }
    }

    pub(crate) fn provider(&self) -> Arc<Provider> {
        provider(self.settings())
    }

    /// A key that the fake does not publish until it is told to.
    pub(crate) fn spare_key() -> Signing {
        Signing::new()
    }

    pub(crate) fn with(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }
}

pub(crate) fn provider(settings: Settings) -> Arc<Provider> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = http_client::build(None, std::time::Duration::from_secs(10)).unwrap();
    Arc::new(Provider::new(settings, http).unwrap())
}

impl Signing {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref().to_vec())
    }

    fn jwk(&self, kid: &str) -> Value {
        let pair = Ed25519KeyPair::from_pkcs8(&self.0).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" })
    }

    pub(crate) fn jwt(&self, algorithm: Option<Algorithm>, kid: &str, claims: &Value) -> String {
        let key = match algorithm {
            None => {
                let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
                return format!("{}.{}.", part(&json!({ "alg": "none" })), part(claims));
            }
            Some(Algorithm::HS256) => EncodingKey::from_secret(SECRET.as_bytes()),
            Some(_) => EncodingKey::from_ed_der(&self.0),
        };
        let mut header = Header::new(algorithm.unwrap());
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}

async fn metadata(State(fake): State<Arc<Fake>>) -> Json<Value> {
    fake.seen.lock().unwrap().discoveries += 1;
    let issuer = &fake.issuer;
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
    });
    (fake.script.lock().unwrap().metadata)(&mut document);
    Json(document)
}

async fn jwks(State(fake): State<Arc<Fake>>) -> Json<Value> {
    let script = fake.script.lock().unwrap();
    Json(json!({ "keys": [script.key.jwk(script.kid)] }))
}

async fn token(
    State(fake): State<Arc<Fake>>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    let authorization =
        headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    fake.seen.lock().unwrap().exchanges.push((authorization, form));
    let script = fake.script.lock().unwrap();
    match script.token {
        Token::Normal => {}
        Token::Redirect => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")])
                .into_response();
        }
        Token::Huge => return vec![b' '; 10 << 20].into_response(),
        Token::Broken => return StatusCode::BAD_GATEWAY.into_response(),
        Token::Error(error) => {
            let body = json!({ "error": error, "error_description": "not for anybody's eyes" });
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    }
    let mut id_claims = json!({
        "iss": fake.issuer, "sub": "alice", "aud": "desk", "exp": NOW + 300, "iat": NOW,
        "nonce": script.nonce, "name": "Alice Example", "email": "alice@example.com",
    });
    (script.id_token)(&mut id_claims);
    let mut access_claims = json!({
        "iss": fake.issuer, "sub": "alice", "aud": "api", "exp": NOW + 300, "roles": ["admin"],
    });
    (script.access_token)(&mut access_claims);
    let body = json!({
        "access_token": script.key.jwt(Some(Algorithm::EdDSA), script.kid, &access_claims),
        "token_type": "Bearer",
        "expires_in": 300,
        "refresh_token": "refresh",
        "id_token": script.key.jwt(script.algorithm, script.kid, &id_claims),
    });
    Json(body).into_response()
}

async fn elsewhere(State(fake): State<Arc<Fake>>) -> &'static str {
    fake.seen.lock().unwrap().redirected += 1;
    "{}"
}
