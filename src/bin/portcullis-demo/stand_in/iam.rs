//! A stand-in for the organisation's IAM provider: a small OpenID provider.
//!
//! Authorization code flow with PKCE (RFC 6749, RFC 7636; S256 is demanded), `iss` in the answer
//! (RFC 9207), client credentials, refresh with rotation, end of session. Every token is signed
//! with Ed25519, as Procivis demands of an IAM token. The password grant is not offered;
//! `POST /demo/token` gives the demo's command line a token for a user, and is the one thing here
//! that no provider should have.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use self::state::{Book, Grant};
use super::{jose::SigningKey, uncached};

mod authorize;
mod page;
mod state;
#[cfg(test)]
mod tests;
mod token;

/// How the provider is set up.
pub(crate) struct Settings {
    /// `iss`, and the URL under which it is reached.
    pub(crate) issuer: String,
    /// `aud` of access tokens.
    pub(crate) audience: String,
    /// How long access and ID tokens are valid.
    pub(crate) lifetime: Duration,
    pub(crate) clients: Vec<Client>,
    pub(crate) users: Vec<User>,
}

/// A registered client.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// Compared byte for byte.
    pub(crate) redirects: Vec<String>,
    pub(crate) after_logout: Vec<String>,
    /// Roles of its own, for client credentials; `None`: that grant is not its.
    pub(crate) roles: Option<Vec<String>>,
}

/// Somebody who can log in.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) full_name: String,
    pub(crate) roles: Vec<String>,
}

/// Answers requests on `listener`.
///
/// # Errors
/// When no key can be made or the listener fails.
pub(crate) async fn serve(listener: TcpListener, settings: Settings) -> io::Result<()> {
    let key = SigningKey::generate("iam")?;
    let provider = Arc::new(Provider { settings, key, book: Mutex::default() });
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize::authorize))
        .route("/login", post(authorize::login))
        .route("/token", post(token::token))
        .route("/end-session", get(end_session).post(end_session))
        .route("/demo/token", post(demo_token))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(map_response(|response: Response| std::future::ready(uncached(response))))
        .with_state(provider);
    axum::serve(listener, router).await
}

/// The provider as its endpoints see it.
struct Provider {
    settings: Settings,
    key: SigningKey,
    book: Mutex<Book>,
}

impl Provider {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, id: &str) -> Option<&Client> {
        self.settings.clients.iter().find(|client| client.id == id)
    }

    fn user(&self, name: &str) -> Option<&User> {
        self.settings.users.iter().find(|user| user.name == name)
    }

    fn login(&self, name: &str, password: &str) -> Option<&User> {
        self.user(name).filter(|user| same(&user.password, password))
    }
}

/// Compares secrets in constant time, but for their length.
fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

async fn discovery(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let issuer = &provider.settings.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "end_session_endpoint": format!("{issuer}/end-session"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "scopes_supported": ["openid", "profile", "offline_access"],
        "claims_supported": ["sub", "name", "roles", "auth_time", "nonce"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<Value> {
    Json(json!({"keys": [provider.key.jwk()]}))
}

/// What RP-initiated logout takes (OpenID Connect RP-Initiated Logout 1.0).
#[derive(Deserialize)]
struct EndSession {
    client_id: Option<String>,
    id_token_hint: Option<String>,
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
}

async fn end_session(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Query(query): Query<EndSession>,
) -> Response {
    if let Some(session) = authorize::session_cookie(&headers) {
        provider.book().end_session(session);
    }
    let forgotten = [(http::header::SET_COOKIE, authorize::forget_session_cookie())];
    let client = query.client_id.or_else(|| {
        // Only names the client; an expired hint is as good (section 2).
        let hint = query.id_token_hint?;
        let claims = super::jose::Parts::split(&hint)
            .filter(|parts| provider.key.key_set().values().any(|key| parts.signed_by(key)))?
            .claims;
        Some(claims.get("aud")?.as_str()?.to_owned())
    });
    let registered = client.and_then(|client| provider.client(&client));
    let target = query.post_logout_redirect_uri.filter(|uri| {
        registered.is_some_and(|client| client.after_logout.iter().any(|known| known == uri))
    });
    let Some(mut target) = target.and_then(|uri| Url::parse(&uri).ok()) else {
        return (forgotten, page::logged_out()).into_response();
    };
    if let Some(state) = query.state {
        target.query_pairs_mut().append_pair("state", &state);
    }
    (forgotten, authorize::see_other(target.as_str())).into_response()
}

#[derive(Deserialize)]
struct DemoLogin {
    user: String,
    password: String,
}

/// An IAM token for a user, without a browser: for the demo's command line alone.
async fn demo_token(
    State(provider): State<Arc<Provider>>,
    Json(login): Json<DemoLogin>,
) -> Response {
    let Some(user) = provider.login(&login.user, &login.password) else {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "access_denied"}))).into_response();
    };
    let grant = Grant::for_demo(user);
    let token = token::access_token(&provider, &grant);
    let seconds = provider.settings.lifetime.as_secs();
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds}))
        .into_response()
}
