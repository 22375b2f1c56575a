//! The OpenID provider: discovery, the authorization request, the exchange of a code
//! (OpenID Connect Core 1.0, section 3.1; RFC 6749, 4.1; RFC 7636; RFC 8707; RFC 9207).
//!
//! Knows nothing of cookies, sessions or pages: it hands out an [`Authorization`] to send the
//! browser with, and takes the code that comes back for [`Tokens`] whose ID token was verified.
//! Access tokens are not judged here; `bearer` does that.

mod discovery;
#[cfg(test)]
pub(crate) mod fake;
mod id_token;
mod logout;
mod refresh;
pub(crate) mod response;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use openidconnect::{
    AuthorizationCode, CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RequestTokenError, Scope, StandardErrorResponse, TokenResponse,
    core::{CoreAuthenticationFlow, CoreErrorResponseType, CoreJwsSigningAlgorithm},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use self::{
    discovery::Discovered,
    id_token::Binding,
    response::{TokenAnswer, earlier},
    transport::{Failure, Transport},
};
use crate::{
    oauth_client::Assertion,
    refusal::{Reason, Refusal},
    time::Timestamp,
};

pub use self::settings::{Authentication, Settings, SettingsError};
pub use self::{
    logout::Logout,
    refresh::{RefreshError, Refreshed},
};

/// Why the provider did not serve us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not answer, or not as a provider does.
    #[error("the provider is not available: {0}")]
    Unavailable(&'static str),
    /// It says no; with its error code, one of the registered words or `other`.
    #[error("the provider refused what it was shown: {0}")]
    Refused(&'static str),
    /// What it sent is not acceptable as an ID token for this login.
    #[error("the provider's answer is not acceptable: {0}")]
    Unacceptable(&'static str),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Unavailable(_) => {
                Self::new(Reason::IamUnavailable, detail).retry_after(FAILURE_REMEMBERED)
            }
            Error::Refused(_) => Self::new(Reason::InvalidCallback, detail),
            Error::Unacceptable(_) => Self::new(Reason::CredentialInvalid, detail),
        }
    }
}

/// The start of one login: where the browser goes, and what has to be kept until it is back.
pub struct Authorization {
    /// The provider's authorization endpoint with the whole request.
    pub url: Url,
    /// 32 random bytes in base64url.
    pub state: String,
    /// 32 random bytes in base64url, to be found in the ID token.
    pub nonce: SecretString,
    /// What proves at the exchange that we made the request (RFC 7636).
    pub verifier: SecretString,
}

/// What a code was worth, after the ID token was verified.
pub struct Tokens {
    /// Not judged yet.
    pub access_token: SecretString,
    /// As received.
    pub id_token: SecretString,
    /// What renews the access token, when the provider gave one.
    pub refresh_token: Option<SecretString>,
    /// How long the provider says that the access token lasts.
    pub expires_in: Option<Duration>,
    /// `sub` of the ID token.
    pub subject: String,
    /// `name`, else `preferred_username`, else `email` of the ID token.
    pub name: Option<String>,
    /// `sid` of the ID token: the provider's own session.
    pub provider_session: Option<Arc<str>>,
    /// The end of that session or of the refresh token, where the provider names one.
    pub provider_ends: Option<Timestamp>,
}

/// One OpenID provider and our client there. Discovery happens at the first use and hourly
/// after that, in the background.
pub struct Provider {
    settings: Settings,
    issuer: IssuerUrl,
    algorithms: Vec<CoreJwsSigningAlgorithm>,
    transport: Transport,
    current: ArcSwapOption<Discovered>,
    /// Held during a discovery, so that however many wait there is one.
    discovery: tokio::sync::Mutex<()>,
    /// The last discovery that failed, and why.
    failure: Mutex<Option<(Instant, Error)>>,
}

impl Provider {
    /// A provider that has not been asked anything yet. `http` must not follow redirects.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn new(settings: Settings, http: reqwest::Client) -> Result<Self, SettingsError> {
        let issuer = settings.issuer()?;
        let algorithms = settings.algorithms()?;
        let transport = Transport::new(http, issuer.url().scheme() == "https");
        Ok(Self {
            settings,
            issuer,
            algorithms,
            transport,
            current: ArcSwapOption::empty(),
            discovery: tokio::sync::Mutex::new(()),
            failure: Mutex::new(None),
        })
    }

    /// The configured issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Reads the provider's metadata and keys now, unless that is known already.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn warm(self: &Arc<Self>) -> Result<(), Error> {
        self.discovered().await.map(drop)
    }

    /// Begins a login.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn authorize(self: &Arc<Self>) -> Result<Authorization, Error> {
        let discovered = self.discovered().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scopes = self.settings.scopes.iter().filter(|scope| *scope != "openid");
        let mut request = discovered
            .client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || CsrfToken::new_random_len(32),
                || Nonce::new_random_len(32),
            )
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(challenge);
        if let Some(resource) = &self.settings.resource {
            request = request.add_extra_param("resource", resource);
        }
        let (url, state, nonce) = request.url();
        Ok(Authorization {
            url,
            state: state.into_secret(),
            nonce: nonce.secret().clone().into(),
            verifier: verifier.into_secret().into(),
        })
    }

    /// Whether a callback's `iss` is this provider's (RFC 9207, section 2.4): it must be when it
    /// is there, and it must be there when the provider says that it always is.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn is_from_here(self: &Arc<Self>, issuer: Option<&str>) -> Result<bool, Error> {
        match issuer {
            Some(issuer) => Ok(issuer == self.settings.issuer),
            None => Ok(!self.discovered().await?.names_itself),
        }
    }

    /// Takes a code to the token endpoint and verifies the ID token that comes back.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn exchange(
        self: &Arc<Self>,
        code: String,
        verifier: &SecretString,
        nonce: &SecretString,
        now: Timestamp,
    ) -> Result<Tokens, Error> {
        let discovered = self.discovered().await?;
        let mut request = discovered
            .client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| Error::Unavailable("its metadata names no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
        if let Some(resource) = &self.settings.resource {
            request = request.add_extra_param("resource", resource);
        }
        for (name, value) in self.assertion(&discovered, now)?.iter().flat_map(Assertion::fields) {
            request = request.add_extra_param(name, value.to_owned());
        }
        let response =
            request.request_async(&self.transport.client()).await.map_err(exchange_error)?;
        let binding = Binding::Login(nonce);
        let subject = self.verified(&discovered, &response, binding, now).await?;
        let id_token = response.id_token().ok_or(Error::Unacceptable("there is no ID token"))?;
        Ok(Tokens {
            access_token: response.access_token().secret().clone().into(),
            id_token: id_token.to_string().into(),
            refresh_token: response.refresh_token().map(|token| token.secret().clone().into()),
            expires_in: response.expires_in(),
            subject: subject.id,
            name: subject.name,
            provider_session: subject.provider_session,
            provider_ends: earlier(
                subject.session_end,
                response.extra_fields().extra_fields().at(now),
            ),
        })
    }

    /// What proves who we are where a key signs for that.
    fn assertion(
        &self,
        discovered: &Discovered,
        now: Timestamp,
    ) -> Result<Option<Assertion>, Error> {
        let (Some(key), Some(endpoint)) =
            (&self.settings.assertion_key, &discovered.token_endpoint)
        else {
            return Ok(None);
        };
        let assertion = key.assertion(&self.settings.client_id, endpoint, now);
        assertion.map(Some).map_err(|_| Error::Unavailable("our client assertion was not signed"))
    }

    /// Verifies with the keys at hand; when none of them matches, the provider may have a new
    /// one, so its keys are read again once.
    async fn verified(
        &self,
        discovered: &Discovered,
        response: &TokenAnswer,
        binding: Binding<'_>,
        now: Timestamp,
    ) -> Result<id_token::Subject, Error> {
        let rules = id_token::Rules {
            client_id: &self.settings.client_id,
            algorithms: &self.algorithms,
            binding,
            leeway: self.settings.leeway,
            now,
        };
        match id_token::verify(&discovered.client, response, &rules) {
            Err(id_token::Rejection::NoMatchingKey) => {
                let renewed = self.renewed(discovered.at).await?;
                id_token::verify(&renewed.client, response, &rules)
            }
            verdict => verdict,
        }
        .map_err(|rejection| Error::Unacceptable(rejection.word()))
    }

    /// What is known of the provider. Old knowledge serves while it is renewed behind the
    /// request; only the very first callers wait.
    async fn discovered(self: &Arc<Self>) -> Result<Arc<Discovered>, Error> {
        let Some(current) = self.current.load_full() else {
            return self.discover_since(None).await;
        };
        let renew = current.at.elapsed() > REFRESH && self.remembered_failure().is_none();
        // Whoever holds the lock is at it already.
        if renew && self.discovery.try_lock().is_ok() {
            let provider = Arc::clone(self);
            let known = current.at;
            tokio::spawn(async move {
                if let Err(error) = provider.discover_since(Some(known)).await {
                    log::warn!("oidc: keeping what is known of the provider: {error}");
                }
            });
        }
        Ok(current)
    }

    /// Newer knowledge than that of `known`, unless even that is too fresh to ask again: an
    /// ID token with an invented key must not become a request to the provider each time.
    async fn renewed(&self, known: Instant) -> Result<Arc<Discovered>, Error> {
        match self.current.load_full() {
            Some(current) if current.at > known || current.at.elapsed() < RENEW_AT_MOST => {
                Ok(current)
            }
            _ => self.discover_since(Some(known)).await,
        }
    }

    /// Discovers, unless somebody did since `known`.
    async fn discover_since(&self, known: Option<Instant>) -> Result<Arc<Discovered>, Error> {
        let _one_at_a_time = self.discovery.lock().await;
        if let Some(current) = self.current.load_full()
            && known.is_none_or(|known| current.at > known)
        {
            return Ok(current);
        }
        if let Some(error) = self.remembered_failure() {
            return Err(error);
        }
        match discovery::discover(&self.transport, self.issuer.clone(), &self.settings).await {
            Ok(discovered) => {
                let discovered = Arc::new(discovered);
                self.current.store(Some(Arc::clone(&discovered)));
                Ok(discovered)
            }
            Err(error) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn remembered_failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure
            .as_ref()
            .filter(|(at, _)| at.elapsed() < FAILURE_REMEMBERED)
            .map(|(_, error)| error.clone())
    }
}

/// The answer itself may hold tokens, so nothing of it goes into the error.
fn exchange_error(
    error: RequestTokenError<Failure, StandardErrorResponse<CoreErrorResponseType>>,
) -> Error {
    match error {
        RequestTokenError::ServerResponse(response) => Error::Refused(match response.error() {
            CoreErrorResponseType::InvalidClient => "invalid_client",
            CoreErrorResponseType::InvalidGrant => "invalid_grant",
            CoreErrorResponseType::InvalidRequest => "invalid_request",
            CoreErrorResponseType::InvalidScope => "invalid_scope",
            CoreErrorResponseType::UnauthorizedClient => "unauthorized_client",
            CoreErrorResponseType::UnsupportedGrantType => "unsupported_grant_type",
            CoreErrorResponseType::Extension(_) => "other",
        }),
        RequestTokenError::Request(failure) => Error::Unavailable(failure.word()),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Error::Unacceptable("the token endpoint's answer is not a token response")
        }
    }
}

/// How old metadata and keys may get before they are read again.
const REFRESH: Duration = Duration::from_hours(1);

/// Between two readings that unknown keys cause.
const RENEW_AT_MOST: Duration = Duration::from_secs(10);

/// How long a failed discovery answers for the provider, so that a dead one is not hammered.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(2);
