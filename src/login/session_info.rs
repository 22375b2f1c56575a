//! What a page may know of its session, and the organisation that it acts in.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{
    Event, Found, Login, LoginRequest, Outcome, PendingCookies, StandingOf,
    logout::demand_same_origin, unsaved,
};
use crate::{
    answer::Answer,
    organisation::Organisation,
    refusal::{Reason, Refusal},
    time::Timestamp,
};

/// Who is logged in, as JSON. Reading this is no activity, so a page may poll it and still see
/// its session end.
pub(super) async fn show(
    login: &Login,
    request: &LoginRequest<'_>,
    standing: StandingOf<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let cookies = login.jar().read(request.cookie_fields())?;
    let session = match login.sessions.peek(&cookies, now).await {
        Ok(session) => session,
        Err(refusal) => return Ok(no_session(login, &refusal, request)),
    };
    let standing = standing(&session.identity());
    let limits = login.sessions.limits();
    let document = json!({
        "subject": &*session.subject,
        "name": session.name,
        "organisation": session.organisation,
        "organisations": standing.organisations,
        "permissions": standing.permissions,
        "expires": rfc3339(session.last_moment(limits.absolute)),
        "idle_expires": rfc3339(session.last_seen + limits.idle),
    });
    let answer = Answer::json(StatusCode::OK, "application/json", &document);
    Ok(Outcome::about(&session, answer, None))
}

/// The refusal's document, and where to log in.
fn no_session(login: &Login, refusal: &Refusal, request: &LoginRequest<'_>) -> Outcome {
    let url = login.url_for(request.headers);
    let answer = Answer::refusal(refusal, request.request_id, false).with_login(&url);
    Outcome { reason: Some(refusal.reason), ..Outcome::answered(answer) }
}

/// Answers 204 and rewrites the session cookie.
pub(super) async fn choose_organisation(
    login: &Login,
    request: &LoginRequest<'_>,
    standing: StandingOf<'_>,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    demand_same_origin(login, request.headers)?;
    let cookies = login.jar().read(request.cookie_fields())?;
    let mut pending = PendingCookies::default();
    let session = match login.sessions.find(&cookies, &mut pending, now).await {
        Found::Active(session) => session.to_session(),
        Found::NotPresented => {
            return Err(Refusal::new(Reason::CredentialMissing, "there is no session"));
        }
        Found::Failed(refusal) => return Err(refusal),
    };
    // From here on the browser may be owed a renewed session, also with a refusal.
    let chosen = wanted(request.body).and_then(|wanted| {
        let choices = standing(&session.identity()).organisations;
        if choices.iter().any(|choice| choice.id == wanted) {
            return Ok(wanted);
        }
        let detail = format!("{} may not act in {wanted}", session.subject);
        Err(Refusal::new(Reason::OrganisationMismatch, detail))
    });
    let chosen = match chosen {
        Ok(wanted) => {
            let session = session.acting_in(wanted).seen(now);
            let changed = login.sessions.change(session.clone(), &cookies, &mut pending, now).await;
            changed.map(|()| session).map_err(unsaved)
        }
        Err(refusal) => Err(refusal),
    };
    let outcome = chosen.map_or_else(Outcome::refused, |session| {
        let answer = Answer::empty(StatusCode::NO_CONTENT);
        Outcome::about(&session, answer, Some(Event::OrganisationChosen))
    });
    Ok(Outcome { cookies: pending, ..outcome })
}

fn wanted(body: &[u8]) -> Result<Organisation, Refusal> {
    if body.len() > LARGEST_BODY {
        return Err(Refusal::new(Reason::BodyTooLarge, "an organisation's name is short"));
    }
    let wanted: ChooseOrganisation = serde_json::from_slice(body).map_err(|_| {
        Refusal::new(Reason::MalformedRequest, "the body is not {\"organisation\": UUID}")
    })?;
    Organisation::parse(&wanted.organisation)
        .ok_or_else(|| Refusal::new(Reason::OrganisationInvalid, "not a UUID"))
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
