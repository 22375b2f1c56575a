//! The client of an outside token service: OAuth 2.0 Token Exchange (RFC 8693).
//!
//! One request, one answer: nothing is retried, redirected or remembered here. A token that comes
//! back is verified before anybody sees it, and has to be what was asked for: a token service that
//! mixes callers up must not make the gateway do so.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::{
    http_client::read_body,
    identity::Identity,
    organisation::Organisation,
    refusal::Refusal,
    sts::{
        Actor, Issued,
        parameter::{ParameterFault, Parameters},
    },
    time::Timestamp,
};

/// Verifies an app token for an audience: signature, issuer, audience and time.
pub type Verifier = Arc<dyn Fn(SecretString, Arc<str>, Timestamp) -> Verification + Send + Sync>;

/// What a [`Verifier`] is about to say.
pub type Verification =
    Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send + 'static>>;

/// How the gateway proves itself to the token service (RFC 6749, section 2.3).
pub enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic(SecretString),
    /// `client_secret_post`.
    Post(SecretString),
    /// A public client: its id alone.
    None,
}

/// The gateway's client at the token service.
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// Its proof.
    pub authentication: ClientAuthentication,
}

/// Where and how to exchange.
pub struct ExchangeSettings {
    /// The token endpoint.
    pub url: Url,
    /// `None` when the service asks for no client.
    pub client: Option<Client>,
    /// `requested_token_type`.
    pub requested_token_type: String,
    /// `scope`, where an ask brings none of its own.
    pub scope: Option<String>,
    /// Further form fields.
    pub parameters: Parameters,
    /// For the whole exchange, verification included.
    pub timeout: Duration,
    /// Verifies what was issued.
    pub verifier: Verifier,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct ExchangeRequest {
    /// The token of the one for whom a token is asked.
    pub subject_token: SecretString,
    /// `sub` in it; the issued token has to have the same.
    pub subject: Arc<str>,
    /// Who acts for the subject, for a delegated token.
    pub actor: Option<Actor>,
    /// The upstream that the token is for.
    pub audience: Arc<str>,
    /// In place of the configured scope.
    pub scope: Option<Arc<str>>,
    /// The organisation that the token has to be for.
    pub organisation: Option<Organisation>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The service said no (4xx).
    #[error("refused with {status}, error {}", .code.as_deref().unwrap_or("not given"))]
    Refused {
        /// 4xx.
        status: StatusCode,
        /// `error` of RFC 6749, section 5.2, when it is a plain word.
        code: Option<String>,
    },
    /// The service did not answer, or with its own failure.
    #[error("no answer to rely on: {0}")]
    Unavailable(String),
    /// The service answered with a token that is not the one asked for; names the check.
    #[error("the issued token is not acceptable: {0}")]
    Unacceptable(String),
}

/// Speaks to one token service.
pub struct ExchangeClient {
    settings: ExchangeSettings,
    /// `Authorization`, when the client proves itself by Basic.
    authorization: Option<HeaderValue>,
    http: reqwest::Client,
}

impl ExchangeClient {
    /// `http` has to come from [`crate::http_client::build`]: it follows no redirect.
    ///
    /// # Errors
    /// When a parameter would replace one of the protocol's own.
    pub fn new(settings: ExchangeSettings, http: reqwest::Client) -> Result<Self, ParameterFault> {
        settings.parameters.refuse_names(OWN_FIELDS)?;
        let authorization = settings.client.as_ref().and_then(basic);
        Ok(Self { settings, authorization, http })
    }

    /// The time within which [`Self::exchange`] answers.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// What tells this client's exchanges from another's, for cache keys.
    #[must_use]
    pub fn identity(&self) -> [&str; 4] {
        let settings = &self.settings;
        [
            settings.url.as_str(),
            settings.client.as_ref().map_or("", |client| &client.id),
            &settings.requested_token_type,
            settings.scope.as_deref().unwrap_or(""),
        ]
    }

    /// Exchanges a token and verifies what comes back.
    ///
    /// # Errors
    /// See [`ExchangeError`]; within [`Self::timeout`] in any case.
    pub async fn exchange(
        &self,
        request: &ExchangeRequest,
        now: Timestamp,
    ) -> Result<Issued, ExchangeError> {
        let started = Instant::now();
        let whole = async {
            let answer = self.ask(request).await?;
            // The token may be younger than `now`: time went by while the service made it.
            self.accept(request, answer, now + started.elapsed()).await
        };
        tokio::time::timeout(self.settings.timeout, whole)
            .await
            .unwrap_or_else(|_| Err(unavailable("timed out")))
    }

    async fn ask(&self, request: &ExchangeRequest) -> Result<TokenResponse, ExchangeError> {
        let mut post = self
            .http
            .post(self.settings.url.clone())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form(request));
        if let Some(authorization) = &self.authorization {
            post = post.header(header::AUTHORIZATION, authorization.clone());
        }
        // The address may hold what does not belong into a log.
        let response =
            post.send().await.map_err(|error| unavailable(describe(&error.without_url())))?;
        let status = response.status();
        let body = read_body(response, BODY_LIMIT).await;
        match status {
            // A service that asks us to slow down has not decided about the caller.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(unavailable(format!("status {status}")))
            }
            _ if status.is_client_error() => {
                let code = body.ok().and_then(|body| error_code(&body));
                Err(ExchangeError::Refused { status, code })
            }
            _ if !status.is_success() => Err(unavailable(format!("status {status}"))),
            _ => {
                let body = body.map_err(|error| unavailable(body_fault(error)))?;
                // The parser's own message could quote the token.
                serde_json::from_slice(&body)
                    .map_err(|_| unavailable("the answer is not a token response"))
            }
        }
    }

    fn form(&self, request: &ExchangeRequest) -> String {
        let settings = &self.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT_TYPE)
            .append_pair("subject_token", request.subject_token.expose_secret())
            .append_pair("subject_token_type", ACCESS_TOKEN)
            .append_pair("audience", &request.audience)
            .append_pair("requested_token_type", &settings.requested_token_type);
        if let Some(actor) = &request.actor {
            form.append_pair("actor_token", actor.token.expose_secret())
                .append_pair("actor_token_type", ACCESS_TOKEN);
        }
        if let Some(scope) = request.scope.as_deref().or(settings.scope.as_deref()) {
            form.append_pair("scope", scope);
        }
        for (name, value) in settings.parameters.filled(request) {
            form.append_pair(name, &value);
        }
        if let Some(client) = &settings.client {
            match &client.authentication {
                ClientAuthentication::Basic(_) => {}
                ClientAuthentication::Post(secret) => {
                    form.append_pair("client_id", &client.id)
                        .append_pair("client_secret", secret.expose_secret());
                }
                ClientAuthentication::None => {
                    form.append_pair("client_id", &client.id);
                }
            }
        }
        form.finish()
    }

    async fn accept(
        &self,
        request: &ExchangeRequest,
        answer: TokenResponse,
        now: Timestamp,
    ) -> Result<Issued, ExchangeError> {
        answer.check(&self.settings.requested_token_type)?;
        let token = answer.access_token;
        let audience = Arc::clone(&request.audience);
        let identity =
            (self.settings.verifier)(token.clone(), audience, now).await.map_err(|refusal| {
                match refusal.reason.status() {
                    // The keys to verify it with could not be fetched: nothing is known about it.
                    500.. => unavailable(refusal.to_string()),
                    _ => ExchangeError::Unacceptable(refusal.to_string()),
                }
            })?;
        let expires = match answer.expires_in {
            Some(lifetime) => identity.expires.min(now + Duration::from_secs(lifetime)),
            None => identity.expires,
        };
        let asked_actor = request.actor.as_ref().map(|actor| &actor.subject);
        let checks = [
            ("sub is not the subject token's", identity.subject == request.subject),
            (
                "organisationId is not the one asked for",
                request.organisation.is_none() || identity.organisation == request.organisation,
            ),
            ("act.sub is not the actor asked for", identity.actor.as_ref() == asked_actor),
            ("it has expired", now < expires),
        ];
        if let Some((failed, _)) = checks.iter().find(|(_, passed)| !passed) {
            return Err(ExchangeError::Unacceptable((*failed).to_owned()));
        }
        let permissions = identity
            .permissions
            .clone()
            .ok_or_else(|| ExchangeError::Unacceptable("it has no permissions".to_owned()))?;
        Ok(Issued {
            token,
            subject: Arc::clone(&identity.subject),
            actor: identity.actor.clone(),
            organisation: identity.organisation,
            permissions,
            expires,
            id: identity.claims.get("jti").and_then(|id| id.as_str()).map(Arc::from),
        })
    }
}

/// Shows where to, never with which secret.
impl fmt::Debug for ExchangeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeClient")
            .field("host", &self.settings.url.host_str())
            .field("path", &self.settings.url.path())
            .finish_non_exhaustive()
    }
}

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Fields that the client itself writes.
const OWN_FIELDS: &[&str] = &[
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "audience",
    "scope",
    "requested_token_type",
    "client_id",
    "client_secret",
];

/// No token response comes near it.
const BODY_LIMIT: usize = 64 * 1024;

/// Section 2.2.1 of RFC 8693.
#[derive(Deserialize)]
struct TokenResponse {
    #[serde(deserialize_with = "secret")]
    access_token: SecretString,
    issued_token_type: Option<String>,
    token_type: String,
    expires_in: Option<u64>,
}

impl TokenResponse {
    fn check(&self, requested: &str) -> Result<(), ExchangeError> {
        // `N_A` is RFC 8693's word for a token that is used in some other way than its type says.
        let usable =
            ["Bearer", "N_A"].iter().any(|kind| self.token_type.eq_ignore_ascii_case(kind));
        // Left out by services that know one type only; one that we cannot use is a fault.
        let kind = self.issued_token_type.as_deref();
        let expected = kind.is_none_or(|kind| [requested, ACCESS_TOKEN, JWT].contains(&kind));
        let fault = if !usable {
            "token_type is neither Bearer nor N_A"
        } else if !expected {
            "issued_token_type is not the one asked for"
        } else {
            return Ok(());
        };
        Err(ExchangeError::Unacceptable(fault.to_owned()))
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// RFC 6749, section 2.3.1: id and secret are form-encoded before they are joined.
fn basic(client: &Client) -> Option<HeaderValue> {
    let ClientAuthentication::Basic(secret) = &client.authentication else { return None };
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&client.id), encode(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `error` of RFC 6749, section 5.2, when it is fit for a log line.
fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorResponse {
        error: String,
    }
    let code = serde_json::from_slice::<ErrorResponse>(body).ok()?.error;
    let plain = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    (plain && (1..=64).contains(&code.len())).then_some(code)
}

fn body_fault(error: crate::http_client::BodyError) -> String {
    match error {
        crate::http_client::BodyError::Broken(error) => describe(&error.without_url()),
        too_large @ crate::http_client::BodyError::TooLarge(_) => too_large.to_string(),
    }
}

/// reqwest's own words stop at "error sending request"; what happened is among the causes.
fn describe(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

fn unavailable(why: impl Into<String>) -> ExchangeError {
    ExchangeError::Unavailable(why.into())
}

#[cfg(test)]
mod tests;
