//! A stand-in for an outside token service: token exchange (RFC 8693) at `/sts/token`, keys at
//! `/.well-known/jwks.json`.
//!
//! Told so through its [`Handle`], it lies and fails in the ways that a gateway has to survive,
//! and it counts how often it was asked.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Form, State},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use portcullis::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use self::drip::Dripping;
use super::{
    jose::{Claims, IamTokens, SigningKey},
    uncached,
};

mod drip;
#[cfg(test)]
mod tests;

/// How the stand-in is set up.
pub(crate) struct Settings {
    /// `iss` of issued tokens.
    pub(crate) issuer: String,
    /// Audiences that may be asked for; the first when none is.
    pub(crate) audiences: Vec<String>,
    /// How long issued tokens are valid.
    pub(crate) lifetime: Duration,
    pub(crate) iam_issuer: String,
    pub(crate) iam_audience: String,
    /// IAM role, and the permissions that it brings.
    pub(crate) roles: Vec<(String, Vec<String>)>,
    /// Name and secret that callers must send with `client_secret_basic`.
    pub(crate) client: Option<(String, String)>,
    pub(crate) handle: Handle,
}

/// Looks into a running stand-in and changes how it behaves. Every clone reaches the same.
#[derive(Clone, Default)]
pub(crate) struct Handle {
    faults: Arc<Mutex<Faults>>,
    exchanges: Arc<AtomicU64>,
}

impl Handle {
    /// From the next request on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Those in force.
    pub(crate) fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many exchanges were asked for, refused ones too.
    pub(crate) fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::SeqCst)
    }
}

/// What goes wrong. By default, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// Milliseconds before each answer.
    pub(crate) delay: u64,
    /// Answers this status, with an OAuth error.
    pub(crate) status: Option<u16>,
    /// An answer that is no token response.
    pub(crate) answer: Option<WrongAnswer>,
    /// Says this in place of the truth.
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) organisation: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) permissions: Option<Vec<String>>,
    /// Issues tokens of so many seconds.
    pub(crate) lifetime: Option<u64>,
    /// Issues tokens that ended an hour ago.
    pub(crate) expired: bool,
    /// Writes one byte at a time, ten a second, head included.
    pub(crate) drip: bool,
}

/// An answer with status 200, or a redirect, that holds no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrongAnswer {
    /// 10 MiB of JSON.
    Huge,
    Html,
    Redirect,
}

/// Answers requests on `listener`.
///
/// # Errors
/// When no key or HTTP client can be made, or the listener fails.
pub(crate) async fn serve(listener: TcpListener, settings: Settings) -> io::Result<()> {
    let listener = Dripping { listener, handle: settings.handle.clone() };
    let sts = Sts {
        key: SigningKey::generate("sts")?,
        tokens: IamTokens::new(&settings.iam_issuer, &settings.iam_audience)?,
        settings,
    };
    let router = Router::new()
        .route("/sts/token", post(exchange))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(Arc::new(sts));
    axum::serve(listener, router).await
}

/// Serves `GET` and `PUT /_stand-in/faults` and `GET /_stand-in/exchanges`.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve_control(listener: TcpListener, handle: Handle) -> io::Result<()> {
    let show = |State(handle): State<Handle>| async move { Json(handle.faults()) };
    let set = |State(handle): State<Handle>, Json(faults): Json<Faults>| async move {
        handle.set_faults(faults);
        StatusCode::NO_CONTENT
    };
    let count = |State(handle): State<Handle>| async move {
        Json(json!({"exchanges": handle.exchanges()}))
    };
    let router = Router::new()
        .route("/_stand-in/faults", get(show).put(set))
        .route("/_stand-in/exchanges", get(count))
        .with_state(handle);
    axum::serve(listener, router).await
}

struct Sts {
    settings: Settings,
    key: SigningKey,
    tokens: IamTokens,
}

/// RFC 8693, section 2.1, and the organisation.
#[derive(Deserialize)]
struct ExchangeForm {
    grant_type: String,
    subject_token: String,
    subject_token_type: String,
    actor_token: Option<String>,
    actor_token_type: Option<String>,
    audience: Option<String>,
    requested_token_type: Option<String>,
    #[serde(rename = "organisationId")]
    organisation: Option<String>,
}

/// Section 2.2.2.
struct ExchangeError(&'static str);

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

async fn jwks(State(sts): State<Arc<Sts>>) -> Json<Value> {
    Json(json!({"keys": [sts.key.jwk()]}))
}

async fn exchange(
    State(sts): State<Arc<Sts>>,
    headers: HeaderMap,
    Form(form): Form<ExchangeForm>,
) -> Response {
    sts.settings.handle.exchanges.fetch_add(1, Ordering::SeqCst);
    let faults = sts.settings.handle.faults();
    tokio::time::sleep(Duration::from_millis(faults.delay)).await;
    if let Some(status) = faults.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        return (status, Json(json!({"error": "server_error"}))).into_response();
    }
    let answer = match faults.answer {
        Some(WrongAnswer::Huge) => {
            format!("{{\"x\":\"{}\"}}", "x".repeat(10 << 20)).into_response()
        }
        Some(WrongAnswer::Html) => Html("<!doctype html><title>Log in</title>").into_response(),
        Some(WrongAnswer::Redirect) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()
        }
        None => match sts.exchange(&headers, &form, &faults).await {
            Ok(issued) => Json(issued).into_response(),
            Err(ExchangeError("invalid_client")) => {
                let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"sts\"")];
                let body = Json(json!({"error": "invalid_client"}));
                (StatusCode::UNAUTHORIZED, challenge, body).into_response()
            }
            Err(ExchangeError(error)) => {
                (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
            }
        },
    };
    uncached(answer)
}

impl Sts {
    async fn exchange(
        &self,
        headers: &HeaderMap,
        form: &ExchangeForm,
        faults: &Faults,
    ) -> Result<Value, ExchangeError> {
        if !self.knows_client(headers) {
            return Err(ExchangeError("invalid_client"));
        }
        if form.grant_type != EXCHANGE {
            return Err(ExchangeError("unsupported_grant_type"));
        }
        let known = |kind: &str| matches!(kind, ACCESS_TOKEN | JWT);
        let wanted = form.requested_token_type.as_deref().unwrap_or(ACCESS_TOKEN);
        if !known(&form.subject_token_type) || !known(wanted) {
            return Err(ExchangeError("invalid_request"));
        }
        let audience = match &form.audience {
            Some(asked) => self.settings.audiences.iter().find(|one| *one == asked),
            None => self.settings.audiences.first(),
        };
        let audience = audience.ok_or(ExchangeError("invalid_target"))?;
        let organisation = match &form.organisation {
            Some(id) => Some(Uuid::parse_str(id).map_err(|_| ExchangeError("invalid_request"))?),
            None => None,
        };
        let subject = self.holder(&form.subject_token).await?;
        let actor = match (&form.actor_token, &form.actor_token_type) {
            (Some(token), Some(kind)) if known(kind) => Some(self.holder(token).await?),
            (None, None) => None,
            _ => return Err(ExchangeError("invalid_request")),
        };
        let now = Timestamp::now();
        let lifetime = faults.lifetime.map_or(self.settings.lifetime, Duration::from_secs);
        let shift = if faults.expired { Duration::from_secs(3_600) } else { Duration::ZERO };
        let mut claims = json!({
            "iss": faults.issuer.as_ref().unwrap_or(&self.settings.issuer),
            "aud": faults.audience.as_ref().unwrap_or(audience),
            "sub": faults.subject.as_deref().or_else(|| subject.get("sub")?.as_str()),
            "permissions": match &faults.permissions {
                Some(names) => names.iter().map(String::as_str).collect(),
                None => self.permissions(&subject),
            },
            "jti": Uuid::new_v4(),
            "iat": now - shift,
            "exp": now + lifetime - shift,
        });
        if let Some(object) = claims.as_object_mut() {
            let organisation = organisation.map(|id| id.to_string());
            if let Some(id) = faults.organisation.clone().or(organisation) {
                object.insert("organisationId".to_owned(), id.into());
            }
            let actor = actor.and_then(|actor| Some(actor.get("sub")?.as_str()?.to_owned()));
            if let Some(actor) = faults.actor.clone().or(actor) {
                object.insert("act".to_owned(), json!({ "sub": actor }));
            }
        }
        Ok(json!({
            "access_token": self.key.sign("STS", &claims),
            "issued_token_type": wanted,
            "token_type": "Bearer",
            "expires_in": lifetime.as_secs(),
        }))
    }

    async fn holder(&self, token: &str) -> Result<Claims, ExchangeError> {
        self.tokens.verified(token).await.ok_or(ExchangeError("invalid_grant"))
    }

    fn permissions(&self, subject: &Claims) -> Vec<&str> {
        let held = subject.get("roles").and_then(Value::as_array);
        let has = |role: &str| held.is_some_and(|held| held.iter().any(|one| one == role));
        let granted = self.settings.roles.iter().filter(|(role, _)| has(role));
        let mut names =
            granted.flat_map(|(_, names)| names).map(String::as_str).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn knows_client(&self, headers: &HeaderMap) -> bool {
        use base64::{Engine, engine::general_purpose::STANDARD};

        let Some((id, secret)) = &self.settings.client else { return true };
        let expected = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        headers
            .get(header::AUTHORIZATION)
            .is_some_and(|sent| sent.as_bytes() == expected.as_bytes())
    }
}
