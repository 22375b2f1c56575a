//! An OpenID provider that a test scripts: refresh tokens are good for one use, a second use ends
//! the login (RFC 9700, section 4.14.2), and answers can be late, lost or wrong. It logs in alice
//! without asking.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{demo::stand_in::jose::SigningKey, support::issuer};

/// The provider.
pub(crate) struct Provider {
    pub(crate) url: String,
    pub(crate) key: SigningKey,
    script: Mutex<Script>,
    book: Mutex<Book>,
}

/// What its next answers are like.
#[derive(Clone)]
pub(crate) struct Script {
    /// Seconds that an access token lives.
    pub(crate) lifetime: u64,
    /// Before a refresh is answered.
    pub(crate) latency: Duration,
    pub(crate) refresh: Refresh,
    /// Bytes that each token is longer by.
    pub(crate) padding: usize,
    /// `refresh_expires_in`.
    pub(crate) refresh_expires_in: Option<u64>,
    /// Who is in new tokens.
    pub(crate) subject: &'static str,
    pub(crate) role: &'static str,
    /// Whether its metadata has an `end_session_endpoint`.
    pub(crate) end_session: bool,
}

/// How a refresh goes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Refresh {
    /// As it should.
    Rotating,
    /// Neither a new refresh token nor an ID token.
    Bare,
    /// Served, and something on the way back gives up.
    Lost,
    /// 503, and nothing is used up.
    Down,
}

/// What it has seen.
#[derive(Default)]
struct Book {
    codes: HashMap<String, String>,
    /// Refresh token to login.
    good: HashMap<String, u64>,
    used: HashMap<String, u64>,
    ended: HashSet<u64>,
    logins: u64,
    refreshes: usize,
    reused: usize,
    secrets: Vec<String>,
}

impl Provider {
    /// Starts one.
    pub(crate) async fn start() -> Arc<Self> {
        Self::known_as(super::listener().await.0, None)
    }

    /// Starts one on this listener that goes by another address, where something stands before it.
    pub(crate) fn known_as(listener: TcpListener, url: Option<String>) -> Arc<Self> {
        let address = listener.local_addr().unwrap();
        let provider = Arc::new(Self {
            url: url.unwrap_or_else(|| format!("http://{address}")),
            key: SigningKey::generate("iam").unwrap(),
            script: Mutex::new(Script {
                lifetime: 600,
                latency: Duration::ZERO,
                refresh: Refresh::Rotating,
                padding: 0,
                refresh_expires_in: None,
                subject: "alice",
                role: "both",
                end_session: true,
            }),
            book: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&provider));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    pub(crate) fn with(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// How many refresh tokens it was shown.
    pub(crate) fn refreshes(&self) -> usize {
        self.book().refreshes
    }

    /// How many of them had been used before.
    pub(crate) fn reused(&self) -> usize {
        self.book().reused
    }

    /// Everything that it has issued and was shown and that nobody else may know.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.book().secrets.clone()
    }

    /// A logout token's claims, for a session of the provider.
    pub(crate) fn logout_claims(&self, names: &Value) -> Value {
        let now = issuer::now();
        let mut claims = json!({
            "iss": self.url, "aud": "desk", "iat": now, "exp": now + 120,
            "jti": random(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (name, value) in names.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn script(&self) -> Script {
        self.script.lock().unwrap().clone()
    }

    fn tokens(&self, login: u64, nonce: Option<&str>) -> Value {
        let script = self.script();
        let now = issuer::now();
        let padding = "x".repeat(script.padding);
        let access = json!({
            "iss": self.url, "aud": issuer::AUDIENCE, "sub": script.subject, "iat": now,
            "exp": now + script.lifetime, "roles": [script.role], "jti": random(),
            "padding": padding,
        });
        let id = json!({
            "iss": self.url, "aud": "desk", "sub": script.subject, "iat": now,
            "exp": now + 600, "nonce": nonce, "sid": format!("sid-{login}"), "padding": padding,
        });
        let mut answer = json!({
            "access_token": self.key.sign("JWT", &access),
            "token_type": "Bearer",
            "expires_in": script.lifetime,
        });
        if script.refresh != Refresh::Bare || nonce.is_some() {
            let mut id = id;
            if nonce.is_none() {
                id.as_object_mut().unwrap().remove("nonce");
            }
            let refresh_token = random();
            self.book().good.insert(refresh_token.clone(), login);
            answer["refresh_token"] = refresh_token.into();
            answer["id_token"] = self.key.sign("JWT", &id).into();
        }
        let issued = ["access_token", "refresh_token", "id_token"];
        let issued = issued.iter().filter_map(|name| answer[name].as_str().map(str::to_owned));
        self.book().secrets.extend(issued);
        if let Some(seconds) = script.refresh_expires_in {
            answer["refresh_expires_in"] = seconds.into();
        }
        answer
    }

    /// Uses a refresh token up, unless it stays good.
    fn use_refresh(&self, token: &str, keeps: bool) -> Option<u64> {
        let mut book = self.book();
        book.refreshes += 1;
        if let Some(login) = book.used.get(token).copied() {
            book.reused += 1;
            book.ended.insert(login);
            return None;
        }
        let login = *book.good.get(token)?;
        if !keeps {
            book.good.remove(token);
            book.used.insert(token.to_owned(), login);
        }
        (!book.ended.contains(&login)).then_some(login)
    }
}

type Fields = HashMap<String, String>;

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let url = &provider.url;
    let mut document = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    if provider.script().end_session {
        document["end_session_endpoint"] = format!("{url}/end?realm=one").into();
    }
    Json(document)
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(json!({ "keys": [provider.key.jwk()] }))
}

async fn authorize(State(provider): State<Arc<Provider>>, Query(query): Query<Fields>) -> Response {
    let code = random();
    provider.book().codes.insert(code.clone(), query["nonce"].clone());
    let back = format!("{}?code={code}&state={}", query["redirect_uri"], query["state"]);
    (StatusCode::FOUND, [(header::LOCATION, back)]).into_response()
}

async fn token(State(provider): State<Arc<Provider>>, Form(form): Form<Fields>) -> Response {
    let refused =
        || (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    let shown =
        ["code", "code_verifier", "refresh_token"].iter().filter_map(|name| form.get(*name));
    provider.book().secrets.extend(shown.cloned());
    if form["grant_type"] == "client_credentials" {
        return Json(provider.tokens(0, None)).into_response();
    }
    if let Some(code) = form.get("code") {
        let nonce = provider.book().codes.remove(code);
        let Some(nonce) = nonce else { return refused() };
        let login = {
            let mut book = provider.book();
            book.logins += 1;
            book.logins
        };
        return Json(provider.tokens(login, Some(&nonce))).into_response();
    }
    let script = provider.script();
    if script.refresh == Refresh::Down {
        provider.book().refreshes += 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let used = provider.use_refresh(&form["refresh_token"], script.refresh == Refresh::Bare);
    tokio::time::sleep(script.latency).await;
    let Some(login) = used else { return refused() };
    let tokens = provider.tokens(login, None);
    if script.refresh == Refresh::Lost {
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    Json(tokens).into_response()
}

fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
