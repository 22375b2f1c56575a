//! A stand-in for Procivis One Core 1.74.2, as a gateway sees it.
//!
//! It answers every operation of Core's OpenAPI document in Core's order: the route (404, also
//! without a token), the token (401), query and body (400), the permission (403), the tenant
//! (403), the resource (404). What it keeps is one generic store; what it records of each request
//! is read through [`Recorder`], or over HTTP on a port of its own that no gateway forwards to.
//!
//! Not here: issuing, holding and verifying of credentials. Public protocol endpoints only say
//! which operation was reached.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use portcullis::time::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use self::{
    keys::Keys,
    operations::{Access, Operation, Operations, OrganisationAt},
    record::Received,
    request::{Input, InputError},
    store::{Outcome, Store},
    token::{Rules, Session},
};
use super::uncached;

mod keys;
mod operations;
mod record;
mod request;
mod store;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use self::record::{Recorder, serve_control};

/// How the stand-in is set up.
pub(crate) struct Settings {
    /// `auth.mode`, with what belongs to it.
    pub(crate) mode: Mode,
    /// Organisations that exist from the start.
    pub(crate) organisations: Vec<(Uuid, String)>,
    /// Where each request is written down.
    pub(crate) recorder: Recorder,
}

/// Core's `auth.mode`.
pub(crate) enum Mode {
    /// Every caller may do everything.
    UnsafeNone,
    /// Every caller who knows the token may do everything.
    UnsafeStatic(String),
    /// App tokens (`stsTokenValidation`).
    Sts {
        /// Demanded `iss`.
        issuer: String,
        /// Demanded `aud`.
        audience: String,
        /// `jwksUri`.
        jwks: String,
        /// `ttlJwks`: after it, one request still sees the old set while the new one is fetched.
        ttl: Duration,
        /// `leeway`.
        leeway: Duration,
    },
}

/// Answers requests on `listener`.
///
/// In STS mode it asks for the issuer's keys until it gets them, and answers 401 until then. Core
/// itself gives up after nine seconds.
///
/// # Errors
/// When the table of operations cannot be read or no HTTP client can be made.
pub(crate) async fn serve(listener: TcpListener, settings: Settings) -> io::Result<()> {
    let guard = match settings.mode {
        Mode::UnsafeNone => Guard::Open,
        Mode::UnsafeStatic(token) => Guard::Static(format!("Bearer {token}")),
        Mode::Sts { issuer, audience, jwks, ttl, leeway } => {
            Guard::Sts(Rules { issuer, audience, leeway }, Keys::start(jwks, ttl)?)
        }
    };
    let core = Core {
        operations: Operations::read()?,
        guard,
        store: Store::with_organisations(settings.organisations),
        recorder: settings.recorder,
    };
    let router = Router::new().fallback(answer).with_state(Arc::new(core));
    axum::serve(listener, router).await
}

struct Core {
    operations: Operations,
    guard: Guard,
    store: Store,
    recorder: Recorder,
}

enum Guard {
    Open,
    Static(String),
    Sts(Rules, Keys),
}

/// Who calls, once the guard has let them in.
enum Caller {
    /// Core makes no session, so it checks neither permission nor tenant.
    Unchecked,
    Known(Session),
}

const BODY_LIMIT: usize = 2 * 1024 * 1024;

async fn answer(State(core): State<Arc<Core>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let response = core.answer(&head, body).await;
    let mut response = uncached(response);
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

impl Core {
    async fn answer(&self, head: &Parts, body: Body) -> Response {
        // Credentials may be large; everything else is read as far as Core reads it.
        let limit = if head.uri.path() == "/api/credential/v1" { 16 << 20 } else { BODY_LIMIT };
        let body = to_bytes(body, limit).await.ok();
        self.recorder.add(Received::new(head, body.as_ref()));
        self.decide(head, body).unwrap_or_else(IntoResponse::into_response)
    }

    fn decide(&self, head: &Parts, body: Option<Bytes>) -> Result<Response, Refused> {
        let path = head.uri.path();
        let (methods, parameters) =
            self.operations.at(path).ok_or(Refused::Bare(StatusCode::NOT_FOUND))?;
        let open = methods.iter().all(Operation::is_public);
        let caller = if open { Caller::Unchecked } else { self.admit(&head.headers)? };
        // A GET route answers HEAD as well; axum drops the body.
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let operation =
            methods.iter().find(|operation| operation.method == *method).ok_or_else(|| {
                let allowed = methods.iter().map(|one| one.method.as_str()).collect::<Vec<_>>();
                Refused::Method(allowed.join(","))
            })?;
        if operation.is_public() {
            return public(operation, head, &parameters);
        }
        let input =
            Input::read(operation, head, body, &parameters).map_err(|InputError(message)| {
                Refused::Fault(StatusCode::BAD_REQUEST, "BR_0084", message)
            })?;
        if let (Access::AnyOf(named), Caller::Known(session)) = (&operation.access, &caller)
            && !named.iter().any(|permission| session.permissions.contains(*permission))
        {
            return Err(Refused::Bare(StatusCode::FORBIDDEN));
        }
        let organisation = organisation(operation, &input, &caller)?;
        self.perform(operation, input, organisation)
    }

    fn admit(&self, headers: &HeaderMap) -> Result<Caller, Refused> {
        let unauthorized = || Refused::Bare(StatusCode::UNAUTHORIZED);
        let credential = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match &self.guard {
            Guard::Open => Ok(Caller::Unchecked),
            Guard::Static(expected) if credential == Some(expected) => Ok(Caller::Unchecked),
            Guard::Static(_) => Err(unauthorized()),
            Guard::Sts(rules, keys) => credential
                .and_then(|credential| credential.strip_prefix("Bearer "))
                .and_then(|token| rules.check(token, &keys.current(), Timestamp::now()).ok())
                .map(Caller::Known)
                .ok_or_else(unauthorized),
        }
    }

    fn perform(
        &self,
        operation: &Operation,
        input: Input,
        organisation: Option<Uuid>,
    ) -> Result<Response, Refused> {
        match self.store.perform(operation, input, organisation) {
            Outcome::Done => Ok(operation.status.into_response()),
            Outcome::Answer(body) => Ok((operation.status, axum::Json(body)).into_response()),
            Outcome::Foreign => Err(Refused::Bare(StatusCode::FORBIDDEN)),
            // In Core the code differs from resource to resource.
            Outcome::Unknown => {
                Err(Refused::Fault(StatusCode::NOT_FOUND, "BR_0000", "Not found".to_owned()))
            }
        }
    }
}

/// How Core says no.
enum Refused {
    /// A status and nothing else.
    Bare(StatusCode),
    /// 405, with the methods that there are.
    Method(String),
    /// Status, code and message.
    Fault(StatusCode, &'static str, String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Bare(status) => status.into_response(),
            Self::Method(allowed) => {
                (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allowed)]).into_response()
            }
            Self::Fault(status, code, message) => {
                (status, axum::Json(json!({"code": code, "message": message}))).into_response()
            }
        }
    }
}

/// The organisation to act in: the one named, else the session's, else an error (core: 400
/// `BR_0290`); with a session, both have to be the same.
fn organisation(
    operation: &Operation,
    input: &Input,
    caller: &Caller,
) -> Result<Option<Uuid>, Refused> {
    let forbidden = || Refused::Bare(StatusCode::FORBIDDEN);
    let missing = || {
        let message = "Missing organisation".to_owned();
        Refused::Fault(StatusCode::BAD_REQUEST, "BR_0290", message)
    };
    let own = match caller {
        Caller::Known(session) => session.organisation,
        Caller::Unchecked => None,
    };
    let named = input.organisations.as_slice();
    match (operation.organisation, caller) {
        (OrganisationAt::Nowhere, _) => Ok(own),
        (OrganisationAt::History, Caller::Known(session)) if input.system_history => {
            let may = session.permissions.contains("SYSTEM_HISTORY_LIST");
            if may { Ok(None) } else { Err(forbidden()) }
        }
        (OrganisationAt::History, Caller::Known(_)) => match (named, own) {
            (&[one], Some(own)) if one == own => Ok(Some(own)),
            _ => Err(forbidden()),
        },
        (_, Caller::Known(_)) => match (named.first(), own) {
            (Some(&named), Some(own)) if named == own => Ok(Some(own)),
            (Some(_), _) => Err(forbidden()),
            (None, Some(own)) => Ok(Some(own)),
            (None, None) => Err(missing()),
        },
        (OrganisationAt::History, Caller::Unchecked) if input.system_history => Ok(None),
        (_, Caller::Unchecked) => named.first().copied().map(Some).ok_or_else(missing),
    }
}

/// A protocol endpoint. Those with a bearer of their own refuse to go without.
fn public(
    operation: &Operation,
    head: &Parts,
    parameters: &[(String, String)],
) -> Result<Response, Refused> {
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if operation.access == Access::OwnBearer
        && !bearer.is_some_and(|value| value.starts_with("Bearer "))
    {
        return Err(Refused::Bare(StatusCode::UNAUTHORIZED));
    }
    if operation.path == "/metrics" {
        return Ok("# TYPE core_stand_in_up gauge\ncore_stand_in_up 1\n".into_response());
    }
    if operation.status == StatusCode::NO_CONTENT {
        return Ok(operation.status.into_response());
    }
    let parameters: serde_json::Map<String, Value> =
        parameters.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let body = json!({"operation": operation.path, "parameters": parameters});
    Ok((operation.status, axum::Json(body)).into_response())
}
