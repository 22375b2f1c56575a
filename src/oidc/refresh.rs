//! New tokens for a refresh token (RFC 6749, section 6; OpenID Connect Core 1.0, section 12).
//!
//! The token may be good for one use, so what matters of a failure is whether it was used up.

use std::{sync::Arc, time::Duration};

use openidconnect::{
    OAuth2TokenResponse, RefreshToken, RequestTokenError, TokenResponse,
    core::CoreErrorResponseType,
};
use secrecy::{ExposeSecret, SecretString};

use super::{Error, Provider, exchange_error, id_token::Binding, response::earlier};
use crate::{oauth_client::Assertion, time::Timestamp};

/// What a refresh token was worth.
pub struct Refreshed {
    /// Not judged yet.
    pub access_token: SecretString,
    /// Verified, where there is one.
    pub id_token: Option<SecretString>,
    /// The one that replaces the one that was used, where the provider rotates them.
    pub refresh_token: Option<SecretString>,
    /// `sid` of the ID token.
    pub provider_session: Option<Arc<str>>,
    /// The end that the provider names.
    pub provider_ends: Option<Timestamp>,
}

/// Why there are no new tokens.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RefreshError {
    /// `invalid_grant`: the refresh token is not good, and will not be.
    #[error("the provider refused the refresh token")]
    Refused,
    /// It does not answer, or says that it cannot.
    #[error("{why}")]
    Unavailable {
        /// What went wrong.
        why: Error,
        /// Whether the request may have been served all the same.
        may_be_used: bool,
    },
    /// There are tokens, and the ID token among them is not acceptable.
    #[error("{why}")]
    Unacceptable {
        /// What is wrong with it.
        why: Error,
        /// The refresh token that came along.
        refresh_token: Option<SecretString>,
    },
}

impl Provider {
    /// Shows a refresh token to the token endpoint and verifies the ID token that comes back, if
    /// one does: it has to be about `subject`.
    ///
    /// Waits longer than for other answers, because one that is given up is a refresh token lost.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(
        self: &Arc<Self>,
        refresh_token: &SecretString,
        subject: &str,
        now: Timestamp,
    ) -> Result<Refreshed, RefreshError> {
        let not_asked = |why| RefreshError::Unavailable { why, may_be_used: false };
        let discovered = self.discovered().await.map_err(not_asked)?;
        let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let mut request = discovered
            .client
            .exchange_refresh_token(&token)
            .map_err(|_| not_asked(Error::Unavailable("its metadata names no token endpoint")))?;
        if let Some(resource) = &self.settings.resource {
            request = request.add_extra_param("resource", resource);
        }
        let assertion = self.assertion(&discovered, now).map_err(not_asked)?;
        for (name, value) in assertion.iter().flat_map(Assertion::fields) {
            request = request.add_extra_param(name, value.to_owned());
        }
        let transport = self.transport.patient_client(PATIENCE);
        let answer = request.request_async(&transport).await.map_err(|error| match &error {
            RequestTokenError::ServerResponse(response)
                if *response.error() == CoreErrorResponseType::InvalidGrant =>
            {
                RefreshError::Refused
            }
            RequestTokenError::ServerResponse(_) => not_asked(exchange_error(error)),
            RequestTokenError::Request(failure) => {
                let may_be_used = failure.may_have_been_served();
                RefreshError::Unavailable { may_be_used, why: exchange_error(error) }
            }
            // It answered, and not as a token endpoint does.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                RefreshError::Unavailable { may_be_used: true, why: exchange_error(error) }
            }
        })?;
        let refresh_token: Option<SecretString> =
            answer.refresh_token().map(|token| token.secret().clone().into());
        let (mut provider_session, mut session_end) = (None, None);
        if answer.id_token().is_some() {
            let verified = self.verified(&discovered, &answer, Binding::Subject(subject), now);
            match verified.await {
                Ok(subject) => {
                    provider_session = subject.provider_session;
                    session_end = subject.session_end;
                }
                Err(why) => return Err(RefreshError::Unacceptable { why, refresh_token }),
            }
        }
        Ok(Refreshed {
            access_token: answer.access_token().secret().clone().into(),
            id_token: answer.id_token().map(|token| token.to_string().into()),
            refresh_token,
            provider_session,
            provider_ends: earlier(session_end, answer.extra_fields().extra_fields().at(now)),
        })
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
