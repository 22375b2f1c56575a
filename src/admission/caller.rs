//! Who asks: the credentials that count on a route, and what a session adds.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::{State, Target};
use crate::{
    authentication::{Accepted, Presented, presented},
    credential::Demand,
    policy::Authentication,
    refusal::{Reason, Refusal},
    request::{TrustedRequest, canonical_host},
    session::{self, Opened},
    time::Timestamp,
};

/// What authentication found, with what a session adds.
pub(super) struct Caller {
    pub(super) authentication: Authentication,
    pub(super) session_id: Option<String>,
    pub(super) cookies: Vec<HeaderValue>,
}

impl State {
    /// Who asks, by the credentials that count on this route. What the caller put into
    /// `Authorization` comes first: a program that sends a token means it.
    pub(super) async fn authenticate(
        &self,
        target: &Target,
        request: &TrustedRequest,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let nobody =
            |authentication| Caller { authentication, session_id: None, cookies: Vec::new() };
        if target.policy.public {
            return Ok(nobody(Authentication::NotPresented));
        }
        let failed = |refusal| Authentication::Failed { refusal, session: false };
        let invalid = |detail| failed(Refusal::new(Reason::CredentialInvalid, detail));
        let accepts = target.policy.accepts;
        match presented(headers.get_all(header::AUTHORIZATION))? {
            Presented::Nothing if accepts.session => self.session(request, headers, now),
            Presented::Nothing => Ok(nobody(Authentication::NotPresented)),
            Presented::Unusable(why) => Ok(nobody(invalid(why))),
            Presented::Bearer(_) if !accepts.iam && !accepts.app => {
                Ok(nobody(invalid("a bearer token on a route that takes none")))
            }
            Presented::Bearer(token) => {
                let app = match target.upstream.demand() {
                    Demand::AppToken(audience) if accepts.app => Some(&**audience),
                    _ => None,
                };
                let accept = Accepted { iam: accepts.iam, app };
                let found = self.authenticator.bearer(&token, accept, now).await;
                match found {
                    Ok(identity) => Ok(nobody(Authentication::Authenticated(identity))),
                    // Not the caller's fault, so not a 401.
                    Err(refusal) if refusal.reason.status() >= 500 => Err(refusal),
                    Err(refusal) => Ok(nobody(failed(refusal))),
                }
            }
        }
    }

    fn session(
        &self,
        request: &TrustedRequest,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let mut caller = Caller {
            authentication: Authentication::NotPresented,
            session_id: None,
            cookies: Vec::new(),
        };
        let Some(sessions) = &self.sessions else { return Ok(caller) };
        let fields = headers.get_all(header::COOKIE);
        let cookies = sessions.jar.read(fields.iter().map(HeaderValue::as_bytes))?;
        let failed = |reason, detail| Authentication::Failed {
            refusal: Refusal::new(reason, detail),
            session: true,
        };
        let mut session = match sessions.jar.open(&cookies) {
            Opened::NotPresented => return Ok(caller),
            Opened::Failed(why) => {
                caller.authentication = failed(Reason::CredentialInvalid, why);
                return Ok(caller);
            }
            Opened::Session(session) => *session,
        };
        match session.check(now, sessions.idle, sessions.absolute) {
            session::State::Expired(limit) => {
                let over = match limit {
                    session::Limit::Idle => "the session was idle for too long",
                    session::Limit::Absolute => "the session's absolute time is over",
                    session::Limit::Token => "the session's IAM token is over",
                };
                caller.authentication = failed(Reason::SessionExpired, over);
                return Ok(caller);
            }
            session::State::Active => {}
            session::State::Touch => {
                session = session.seen(now);
                match sessions.jar.save(&session, &cookies, now) {
                    Ok(lines) => caller.cookies = lines,
                    // The session counts as before; only its idle time does not slide.
                    Err(error) => log::warn!("a session cannot be written again: {error}"),
                }
            }
        }
        if request.changes_state && !from_our_page(request, headers) {
            return Err(Refusal::new(
                Reason::OriginMismatch,
                "a session was sent along by another origin's page",
            ));
        }
        caller.session_id = Some(session.public_id());
        caller.authentication = Authentication::Authenticated(Arc::new(session.identity()));
        Ok(caller)
    }
}

/// Whether a request that a session comes with was made by a page of the host that it is for.
///
/// Browsers send cookies along whoever makes the request (CSRF). `SameSite` keeps other sites
/// away but not other hosts of one site, and nobody at all where it is `none`; so `Origin` and
/// `Sec-Fetch-Site` are looked at as well. A program that holds a session sends neither.
fn from_our_page(request: &TrustedRequest, headers: &HeaderMap) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    host.and_then(|(_, authority)| canonical_host(authority))
        .is_some_and(|host| host == request.host)
}
