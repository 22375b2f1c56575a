//! The client of an outside token service: OAuth 2.0 Token Exchange (RFC 8693).
//!
//! One request, one answer: nothing is retried, redirected or remembered here. A token that comes
//! back is verified before anybody sees it, and has to be what was asked for: a token service that
//! mixes callers up must not make the gateway do so.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::{StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use self::answer::Answer;
use crate::{
    http_client::{self, read_body},
    identity::Identity,
    oauth_client::{OauthClient, SigningFailed},
    organisation::Organisation,
    permission::PermissionSet,
    refusal::Refusal,
    sts::{
        Actor, Issued,
        parameter::{ParameterFault, Parameters, Resource, Scope},
        template::Template,
    },
    telemetry::trace::call::Call,
    time::Timestamp,
};

pub(crate) mod answer;

/// Verifies an app token for an audience: signature, issuer, audience and time.
pub type Verifier = Arc<dyn Fn(SecretString, Arc<str>, Timestamp) -> Verification + Send + Sync>;

/// What a [`Verifier`] is about to say.
pub type Verification =
    Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send + 'static>>;

/// Where and how to exchange.
pub struct ExchangeSettings {
    /// The token endpoint.
    pub url: Url,
    /// `None` when the service asks for no client.
    pub client: Option<OauthClient>,
    /// How to ask, and how to read the answer.
    pub protocol: Protocol,
    /// `scope`, where an ask brings none of its own.
    pub scope: Option<Scope>,
    /// For the whole exchange, verification included.
    pub timeout: Duration,
    /// Verifies what was issued.
    pub verifier: Verifier,
}

/// What the token service speaks.
#[derive(Debug)]
pub enum Protocol {
    /// OAuth 2.0 Token Exchange.
    Rfc8693 {
        /// `requested_token_type`.
        requested_token_type: String,
        /// `resource`.
        resource: Option<Resource>,
        /// Further form fields.
        parameters: Parameters,
    },
    /// Something of its own.
    Template(Box<Template>),
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
    /// `scope`; see [`ExchangeClient::scope`].
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
    http: reqwest::Client,
}

impl ExchangeClient {
    /// `http` has to come from [`crate::http_client::build`]: it follows no redirect.
    ///
    /// # Errors
    /// When a parameter would replace one of the protocol's own.
    pub fn new(settings: ExchangeSettings, http: reqwest::Client) -> Result<Self, ParameterFault> {
        if let Protocol::Rfc8693 { parameters, .. } = &settings.protocol {
            parameters.refuse_names(OWN_FIELDS)?;
        }
        Ok(Self { settings, http })
    }

    /// The time within which [`Self::exchange`] answers.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// The scope to ask for when a request needs these permissions.
    #[must_use]
    pub fn scope(&self, permissions: &PermissionSet) -> Option<Arc<str>> {
        self.settings.scope.as_ref().and_then(|scope| scope.filled(permissions))
    }

    /// What tells this client's exchanges from another's, for cache keys.
    #[must_use]
    pub fn identity(&self) -> [&str; 3] {
        let settings = &self.settings;
        let kind = match &settings.protocol {
            Protocol::Rfc8693 { requested_token_type, .. } => requested_token_type,
            Protocol::Template(_) => "",
        };
        [settings.url.as_str(), settings.client.as_ref().map_or("", OauthClient::id), kind]
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
            let answer = self.ask(request, now).await?;
            // The token may be younger than `now`: time went by while the service made it.
            self.accept(request, answer, now + started.elapsed()).await
        };
        tokio::time::timeout(self.settings.timeout, whole)
            .await
            .unwrap_or_else(|_| Err(unavailable("timed out")))
    }

    async fn ask(
        &self,
        request: &ExchangeRequest,
        now: Timestamp,
    ) -> Result<Answer, ExchangeError> {
        let Self { settings, http } = self;
        let (method, content_type, body) = match &settings.protocol {
            Protocol::Rfc8693 { .. } => {
                let form =
                    self.form(request, now).map_err(|error| unavailable(error.to_string()))?;
                (http::Method::POST, "application/x-www-form-urlencoded", form)
            }
            Protocol::Template(template) => {
                let body = template.body(request, settings.client.as_ref().map(OauthClient::id));
                (template.method().clone(), template.content_type(), body)
            }
        };
        let mut call = Call::begin("exchange", &method, settings.url.host_str());
        let mut asking = http
            .request(method, settings.url.clone())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, content_type)
            .body(body);
        if let Some(proof) = settings.client.as_ref().and_then(OauthClient::authorization) {
            asking = asking.header(header::AUTHORIZATION, proof.clone());
        }
        // The address may hold what does not belong into a log.
        let response = call.told(asking).send().await.map_err(|error| {
            call.unanswered(&error);
            unavailable(http_client::describe(&error.without_url()))
        })?;
        let status = response.status();
        let body = read_body(response, BODY_LIMIT).await;
        call.answered(status);
        match status {
            // A service that asks us to slow down has not decided about the caller.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(unavailable(format!("status {status}")))
            }
            _ if status.is_client_error() => {
                let code = body.ok().and_then(|body| answer::error_code(&body));
                Err(ExchangeError::Refused { status, code })
            }
            _ if !status.is_success() => Err(unavailable(format!("status {status}"))),
            _ => {
                let body = body.map_err(|error| unavailable(error.describe()))?;
                match &settings.protocol {
                    Protocol::Rfc8693 { requested_token_type, .. } => {
                        Answer::read(&body, requested_token_type)
                    }
                    Protocol::Template(template) => template
                        .read(&body)
                        .map(|(token, lifetime)| Answer { token, lifetime })
                        .ok_or_else(|| unavailable("the answer has no token at its place")),
                }
            }
        }
    }

    fn form(&self, request: &ExchangeRequest, now: Timestamp) -> Result<String, SigningFailed> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", GRANT_TYPE)
            .append_pair("subject_token", request.subject_token.expose_secret())
            .append_pair("subject_token_type", answer::ACCESS_TOKEN)
            .append_pair("audience", &request.audience);
        if let Some(actor) = &request.actor {
            form.append_pair("actor_token", actor.token.expose_secret())
                .append_pair("actor_token_type", answer::ACCESS_TOKEN);
        }
        if let Some(scope) = &request.scope {
            form.append_pair("scope", scope);
        }
        if let Protocol::Rfc8693 { requested_token_type, resource, parameters } =
            &self.settings.protocol
        {
            form.append_pair("requested_token_type", requested_token_type);
            if let Some(resource) = resource.as_ref().and_then(|each| each.filled(request)) {
                form.append_pair("resource", &resource);
            }
            for (name, value) in parameters.filled(request) {
                form.append_pair(name, &value);
            }
        }
        if let Some(client) = &self.settings.client {
            client.prove(&mut form, &self.settings.url, now)?;
        }
        Ok(form.finish())
    }

    async fn accept(
        &self,
        request: &ExchangeRequest,
        answer: Answer,
        now: Timestamp,
    ) -> Result<Issued, ExchangeError> {
        let Answer { token, lifetime } = answer;
        let audience = Arc::clone(&request.audience);
        let identity =
            (self.settings.verifier)(token.clone(), audience, now).await.map_err(|refusal| {
                match refusal.reason.status() {
                    // The keys to verify it with could not be fetched: nothing is known about it.
                    500.. => unavailable(refusal.to_string()),
                    _ => ExchangeError::Unacceptable(refusal.to_string()),
                }
            })?;
        let expires = match lifetime {
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
    "client_assertion",
    "client_assertion_type",
    "resource",
];

/// No token response comes near it.
const BODY_LIMIT: usize = 64 * 1024;

fn unavailable(why: impl Into<String>) -> ExchangeError {
    ExchangeError::Unavailable(why.into())
}

#[cfg(test)]
mod tests;
