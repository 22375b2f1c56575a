//! The end of a session, and the rule that keeps other sites from causing it.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Event, Login, LoginRequest, Outcome, with_cookies};
use crate::{
    answer::{Answer, escape},
    refusal::{Reason, Refusal},
    session::Opened,
};

/// The page whose button ends the session: a link would let any site end it.
pub(super) fn page(login: &Login) -> Outcome {
    let action = escape(&format!("{}/logout", login.prefix));
    let form = format!("<form method=\"post\" action=\"{action}\"><button>Log out</button></form>");
    let mut page = Answer::page(StatusCode::OK, "Log out", "This ends your session here.", &form);
    // Under `no-referrer` browsers post a form with `Origin: null`, which we refuse.
    page.headers.retain(|(name, _)| name != header::REFERRER_POLICY);
    let policy = HeaderValue::from_static("same-origin");
    Outcome::answered(page.with(header::REFERRER_POLICY, policy))
}

/// Ends the session in the browser, also one that cannot be read.
pub(super) fn step(login: &Login, request: &LoginRequest<'_>) -> Result<Outcome, Refusal> {
    demand_same_origin(login, request.headers)?;
    let cookies = login.jar.read(request.cookie_fields()).unwrap_or_default();
    let answer = with_cookies(Answer::see_other(login.after_logout.clone()), login.jar.clear());
    Ok(match login.jar.open(&cookies) {
        Opened::Session(session) => Outcome::about(&session, answer, Some(Event::Logout)),
        Opened::NotPresented | Opened::Failed(_) => Outcome::answered(answer),
    })
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
