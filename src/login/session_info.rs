//! What a page may know of its session, and the organisation that it acts in.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{
    Event, Login, LoginRequest, Outcome, StandingOf, logout::demand_same_origin, unsaved,
    with_cookies,
};
use crate::{
    answer::Answer,
    organisation::Organisation,
    refusal::{Reason, Refusal},
    session::Session,
    time::Timestamp,
};

/// Who is logged in, as JSON. Reading this is no activity, so a page may poll it and still see
/// its session end.
pub(super) fn show(
    login: &Login,
    request: &LoginRequest<'_>,
    standing: StandingOf<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let cookies = login.jar.read(request.cookie_fields())?;
    let session = match login.current(&cookies, now) {
        Ok(session) => session,
        Err(refusal) => return Ok(no_session(login, &refusal, request)),
    };
    let standing = standing(&session.identity());
    let document = json!({
        "subject": &*session.subject,
        "name": session.name,
        "organisation": session.organisation,
        "organisations": standing.organisations,
        "permissions": standing.permissions,
        "expires": rfc3339(session.ends.min(session.token_expires)),
        "idle_expires": rfc3339(session.last_seen + login.idle),
    });
    let answer = Answer::json(StatusCode::OK, "application/json", &document);
    Ok(Outcome::about(&session, answer, None))
}

/// The refusal's document, and where to log in.
fn no_session(login: &Login, refusal: &Refusal, request: &LoginRequest<'_>) -> Outcome {
    let mut answer = Answer::refusal(refusal, request.request_id, false);
    let document = json!({
        "status": refusal.reason.status(),
        "title": refusal.reason.title(),
        "reason": refusal.reason.word(),
        "request_id": request.request_id,
        "login": format!("{}{}/login", login.origin, login.prefix),
    });
    answer.body = document.to_string().into();
    Outcome { reason: Some(refusal.reason), ..Outcome::answered(answer) }
}

/// Answers 204 and rewrites the session cookie.
pub(super) fn choose_organisation(
    login: &Login,
    request: &LoginRequest<'_>,
    standing: StandingOf<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    demand_same_origin(login, request.headers)?;
    let cookies = login.jar.read(request.cookie_fields())?;
    let session = login.current(&cookies, now)?;
    if request.body.len() > LARGEST_BODY {
        return Err(Refusal::new(Reason::BodyTooLarge, "an organisation's name is short"));
    }
    let wanted: ChooseOrganisation = serde_json::from_slice(request.body).map_err(|_| {
        Refusal::new(Reason::MalformedRequest, "the body is not {\"organisation\": UUID}")
    })?;
    let wanted = Organisation::parse(&wanted.organisation)
        .ok_or_else(|| Refusal::new(Reason::OrganisationInvalid, "not a UUID"))?;
    let choices = standing(&session.identity()).organisations;
    if !choices.iter().any(|choice| choice.id == wanted) {
        let detail = format!("{} may not act in {wanted}", session.subject);
        return Err(Refusal::new(Reason::OrganisationMismatch, detail));
    }
    let session = Session { organisation: Some(wanted), ..session.seen(now) };
    let lines = login.jar.save(&session, &cookies, now).map_err(unsaved)?;
    let answer = with_cookies(Answer::empty(StatusCode::NO_CONTENT), lines);
    Ok(Outcome::about(&session, answer, Some(Event::OrganisationChosen)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChooseOrganisation {
    organisation: String,
}

/// `null` for a time that no calendar has.
fn rfc3339(time: Timestamp) -> Option<String> {
    let seconds = i64::try_from(time.0).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

const LARGEST_BODY: usize = 1_024;
