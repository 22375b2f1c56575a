//! The end of a session by its user, here and at the provider (OpenID Connect RP-Initiated Logout
//! 1.0), and the rule that keeps other sites from causing it.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Event, Login, LoginRequest, Outcome, with_cookies};
use crate::{
    answer::{Answer, escape},
    oidc,
    refusal::{Reason, Refusal},
    time::Timestamp,
};

/// The page whose button ends the session: a link would let any site end it.
pub(super) fn page(login: &Login) -> Outcome {
    let action = escape(&format!("{}/logout", login.prefix));
    let form = format!("<form method=\"post\" action=\"{action}\"><button>Log out</button></form>");
    let mut page = Answer::page(StatusCode::OK, "Log out", "This ends your session.", &form);
    // Under `no-referrer` browsers post a form with `Origin: null`, which we refuse.
    page.headers.retain(|(name, _)| name != header::REFERRER_POLICY);
    let policy = HeaderValue::from_static("same-origin");
    let page = page.with(header::REFERRER_POLICY, policy);
    // Browsers hold every redirect that follows a form against `form-action`.
    let further = [login.provider.end_session_origin(), origin(&login.after_logout)];
    let further: Vec<String> =
        further.into_iter().flatten().filter(|origin| *origin != login.origin).collect();
    Outcome::answered(page.with_form_targets(&further))
}

/// Ends the session, also one that cannot be read. A person goes on to the provider; a script
/// that asks for JSON is told where.
pub(super) async fn step(
    login: &Login,
    request: &LoginRequest<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    demand_same_origin(login, request.headers)?;
    let cookies = login.jar().read(request.cookie_fields()).unwrap_or_default();
    let session = login.sessions.end(&cookies, now).await?;
    let onward = match &session {
        Some(session) => onward(login, session).await,
        None => login.after_logout.clone(),
    };
    let answer = if wants_json(request.headers) {
        let document = json!({ "location": onward.to_str().unwrap_or_default() });
        Answer::json(StatusCode::OK, "application/json", &document)
    } else {
        Answer::see_other(onward)
    };
    let answer = with_cookies(answer, login.jar().clear());
    Ok(match session {
        Some(session) => Outcome::about(&session, answer, Some(Event::Logout)),
        None => Outcome::answered(answer),
    })
}

/// To the provider, where it has a logout of its own, and from there to `after_logout`.
async fn onward(login: &Login, session: &crate::session::Session) -> HeaderValue {
    let after = login.after_logout.to_str().unwrap_or_default();
    let id_token = session.id_token.as_ref();
    let url = login.provider.end_session(oidc::Logout { id_token, after }).await;
    let url = url.and_then(|url| HeaderValue::try_from(url.as_str()).ok());
    url.unwrap_or_else(|| login.after_logout.clone())
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts
        .is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/html"))
}

fn origin(url: &HeaderValue) -> Option<String> {
    let url = url::Url::parse(url.to_str().ok()?).ok()?;
    Some(url.origin().ascii_serialization())
}

/// `Origin` must be ours; a browser that sends none must say that the request is
/// `same-origin` (Fetch Metadata).
pub(super) fn demand_same_origin(login: &Login, headers: &HeaderMap) -> Result<(), Refusal> {
    let only = |name: &str, wanted: &str| {
        let mut values = headers.get_all(name).iter();
        (values.next().map(|value| value == wanted), values.next().is_none())
    };
    match (only("origin", &login.origin), only("sec-fetch-site", "same-origin")) {
        ((Some(true), true), _) | ((None, _), (Some(true), true)) => Ok(()),
        _ => Err(Refusal::new(Reason::OriginMismatch, "not a request of our own pages")),
    }
}
