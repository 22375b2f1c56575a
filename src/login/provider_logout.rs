//! Sessions ended by the provider: OpenID Connect Back-Channel Logout 1.0, from server to server,
//! and Front-Channel Logout 1.0, by a frame in the user's browser.

use std::sync::Arc;

use http::{StatusCode, header};
use serde_json::json;
use url::form_urlencoded;

use super::{Event, Login, LoginRequest, Outcome, with_cookies};
use crate::{
    answer::Answer,
    bearer::logout_token::LogoutToken,
    refusal::{Reason, Refusal},
    session::revocation::Mark,
    sessions::BoxFuture,
    time::Timestamp,
};

/// Verifies a logout token, but for whether it came before.
pub type VerifyLogout =
    Arc<dyn Fn(String, Timestamp) -> BoxFuture<Result<LogoutToken, Refusal>> + Send + Sync>;

/// Ends the sessions that a logout token names: those of one session of the provider (`sid`),
/// else all of the subject. 200 when they are ended, 400 when the token is not acceptable
/// (section 2.8); neither may be cached.
pub(super) async fn back(login: &Login, request: &LoginRequest<'_>, now: Timestamp) -> Outcome {
    let ended = match logout_token(request) {
        Ok(token) => end_sessions(login, token, now).await,
        Err(refusal) => Err(refusal),
    };
    match ended {
        Ok(token) => Outcome {
            event: Some(Event::ProviderLogout),
            subject: token.subject.as_deref().map(Into::into),
            ..Outcome::answered(Answer::empty(StatusCode::OK))
        },
        // The provider may try again, and should.
        Err(refusal) if refusal.reason.status() >= 500 => Outcome::refused(refusal),
        Err(refusal) => {
            log::warn!("back-channel logout: {refusal}");
            let document = json!({
                "error": "invalid_request",
                "error_description": "the logout token is not acceptable",
            });
            let answer = Answer::json(StatusCode::BAD_REQUEST, "application/json", &document);
            Outcome { reason: Some(refusal.reason), ..Outcome::answered(answer) }
        }
    }
}

async fn end_sessions(
    login: &Login,
    token: String,
    now: Timestamp,
) -> Result<LogoutToken, Refusal> {
    let token = (login.verify_logout)(token, now).await?;
    if !login.sessions.first_use(&token.id, token.remember_until, now).await? {
        return Err(Refusal::new(Reason::CredentialInvalid, "the logout token was used before"));
    }
    let which = match (&token.provider_session, &token.subject) {
        (Some(sid), _) => Mark::ProviderSession(sid),
        (None, Some(subject)) => Mark::Subject(subject),
        (None, None) => {
            return Err(Refusal::new(Reason::CredentialInvalid, "the logout token names nobody"));
        }
    };
    login.sessions.end_all(which, now).await?;
    Ok(token)
}

/// `logout_token`, there once, of a form (section 2.5).
fn logout_token(request: &LoginRequest<'_>) -> Result<String, Refusal> {
    let malformed = |detail| Refusal::new(Reason::MalformedRequest, detail);
    let content = request.headers.get(header::CONTENT_TYPE);
    let content = content.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content = content.split(';').next().unwrap_or_default().trim();
    if !content.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(malformed("not a form"));
    }
    only(request.body, "logout_token").ok_or_else(|| malformed("not exactly one logout_token"))
}

/// Ends this browser's session when it belongs to the session of the provider that the request
/// names. The answer may be framed by the provider, and by nobody else.
///
/// Browsers send a session's cookie into such a frame only when it is `SameSite=None`, and many
/// not even then; without a cookie there is nothing to end, and nothing wrong.
pub(super) async fn front(
    login: &Login,
    request: &LoginRequest<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let query = request.query.unwrap_or_default().as_bytes();
    let malformed = |detail| Refusal::new(Reason::MalformedRequest, detail);
    let (Some(issuer), Some(sid)) = (only(query, "iss"), only(query, "sid")) else {
        return Err(malformed("iss and sid are not there once each"));
    };
    if issuer != login.provider.issuer() {
        return Err(malformed("not of the configured issuer"));
    }
    let cookies = login.jar().read(request.cookie_fields())?;
    let answer = Answer::page(StatusCode::OK, "Logged out", "", "");
    let answer = match url::Url::parse(&issuer) {
        Ok(issuer) => answer.framed_by(&issuer.origin().ascii_serialization()),
        Err(_) => answer,
    };
    let belongs = login
        .sessions
        .peek(&cookies, now)
        .await
        .ok()
        .filter(|session| session.provider_session.as_deref() == Some(sid.as_str()));
    let Some(session) = belongs else { return Ok(Outcome::answered(answer)) };
    login.sessions.end(&cookies, now).await?;
    let answer = with_cookies(answer, login.jar().clear());
    Ok(Outcome::about(&session, answer, Some(Event::ProviderLogout)))
}

/// A parameter that is there once.
fn only(form: &[u8], name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(form).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(value.into_owned()),
        _ => None,
    }
}
