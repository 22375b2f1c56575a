//! Who asks: the credentials that count on a route, and what a session adds.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::{State, Target};
use crate::{
    authentication::{Accepted, Presented, presented},
    credential::Demand,
    identity::{Identity, Proof},
    policy::Authentication,
    refusal::{Reason, Refusal},
    request::{TrustedRequest, canonical_host},
    session::Shared,
    sessions::{Found, PendingCookies},
    time::Timestamp,
};

/// What authentication found, with what a session adds.
pub(super) struct Caller {
    pub(super) authentication: Authentication,
    pub(super) session: Option<Arc<Shared>>,
}

impl State {
    /// Who asks, by the credentials that count on this route. What the caller put into
    /// `Authorization` comes first: a program that sends a token means it.
    pub(super) async fn authenticate(
        &self,
        target: &Target,
        request: &TrustedRequest,
        headers: &HeaderMap,
        cookies: &mut PendingCookies,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let nobody = |authentication| Caller { authentication, session: None };
        if target.policy.public {
            return Ok(nobody(Authentication::NotPresented));
        }
        if let Some(authentication) = self.recognised(target, request, headers, now).await? {
            return Ok(nobody(authentication));
        }
        let failed = |refusal| Authentication::Failed { refusal, session: false };
        let invalid = |detail| failed(Refusal::new(Reason::CredentialInvalid, detail));
        let accepts = target.policy.accepts;
        match presented(headers.get_all(header::AUTHORIZATION))? {
            Presented::Nothing => {
                let caller = if accepts.session {
                    self.session(request, headers, cookies, now).await?
                } else {
                    nobody(Authentication::NotPresented)
                };
                match caller.authentication {
                    Authentication::NotPresented if accepts.certificate => {
                        self.certificate(request, headers, now).await.map(nobody)
                    }
                    _ => Ok(caller),
                }
            }
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

    /// The technical user whose certificate the client showed as it connected. Browsers show one
    /// unasked, as they send a cookie, so the same holds of where the request was made.
    async fn certificate(
        &self,
        request: &TrustedRequest,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Authentication, Refusal> {
        let Some(certificate) = &request.certificate else {
            return Ok(Authentication::NotPresented);
        };
        let failed = |reason, detail: &'static str| {
            let refusal = Refusal::new(reason, detail);
            Ok(Authentication::Failed { refusal, session: false })
        };
        if !certificate.is_in_time(now) {
            return failed(Reason::CredentialExpired, "the client certificate is not in its time");
        }
        let mut users = certificate.names().filter_map(|name| self.certificates.get(name));
        let Some(user) = users.next() else {
            let detail = "the client certificate has no name of a technical user";
            return failed(Reason::CredentialInvalid, detail);
        };
        if users.any(|other| !Arc::ptr_eq(user, other)) {
            let detail = "the client certificate has names of several technical users";
            return failed(Reason::CredentialInvalid, detail);
        }
        if request.changes_state && !from_our_page(request, headers) {
            return Err(Refusal::new(
                Reason::OriginMismatch,
                "a client certificate was shown for another origin's page",
            ));
        }
        let identity = user.identity(now).await?;
        Ok(Authentication::Authenticated(Arc::new(Identity {
            proof: Proof::Certificate,
            organisation: user.organisation(),
            ..(*identity).clone()
        })))
    }

    /// Whoever's session it is. What the browser is owed for it goes to `pending` first, so that
    /// it is written whatever becomes of the request.
    async fn session(
        &self,
        request: &TrustedRequest,
        headers: &HeaderMap,
        pending: &mut PendingCookies,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let found = match &self.browsers {
            Some(browsers) => {
                let fields = headers.get_all(header::COOKIE);
                let jar = browsers.sessions.jar();
                let cookies = jar.read(fields.iter().map(HeaderValue::as_bytes))?;
                browsers.sessions.find(&cookies, pending, now).await
            }
            None => Found::NotPresented,
        };
        let session = match found {
            Found::Active(session) => session,
            Found::NotPresented => {
                let authentication = Authentication::NotPresented;
                return Ok(Caller { authentication, session: None });
            }
            // Not the caller's fault, so not a 401, and a login would not get far.
            Found::Failed(refusal) if refusal.reason.status() >= 500 => return Err(refusal),
            Found::Failed(refusal) => {
                let authentication = Authentication::Failed { refusal, session: true };
                return Ok(Caller { authentication, session: None });
            }
        };
        if request.changes_state && !from_our_page(request, headers) {
            return Err(Refusal::new(
                Reason::OriginMismatch,
                "a session was sent along by another origin's page",
            ));
        }
        Ok(Caller {
            authentication: Authentication::Authenticated(session.identity()),
            session: Some(session),
        })
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
        .is_some_and(|host| *host == *request.host)
}
