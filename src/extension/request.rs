//! What an extension sees of a request, and of whom it is for.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};
use serde_json::Value;

use super::error::Error;
use crate::{
    identity::Identity,
    policy::Permit,
    refusal::Reason,
    request::{TrustedRequest, header::is_dropped},
};

/// A request as the gateway reads it: the trusted view, and headers that no client can use to pass
/// for somebody.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    view: &'a TrustedRequest,
    headers: &'a HeaderMap,
    route: &'a str,
    credentials: bool,
}

impl<'a> Request<'a> {
    /// For whoever has no business with the caller's credential.
    pub(crate) const fn new(
        view: &'a TrustedRequest,
        headers: &'a HeaderMap,
        route: &'a str,
    ) -> Self {
        Self { view, headers, route, credentials: false }
    }

    /// For an authenticator.
    pub(crate) const fn with_credentials(self) -> Self {
        Self { credentials: true, ..self }
    }

    /// The method, as sent.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.view.method.as_str()
    }

    /// One of the configured hosts, in lower case.
    #[must_use]
    pub fn host(&self) -> &'a str {
        &self.view.host
    }

    /// The canonical path.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.view.path()
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.view.query()
    }

    /// The pattern of the route, as the file has it.
    #[must_use]
    pub const fn route(&self) -> &'a str {
        self.route
    }

    /// The id that records, the client and the upstream know it by.
    #[must_use]
    pub fn id(&self) -> &'a str {
        &self.view.request_id
    }

    /// The client's address: the socket's, or what a trusted proxy says.
    #[must_use]
    pub const fn client(&self) -> Option<IpAddr> {
        self.view.client
    }

    /// Whether the client spoke TLS, here or at a trusted proxy.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.view.https
    }

    /// A header that is sent once: its value, `None` when it is not there. Identity and forwarding
    /// headers, which are dropped, are never there; `Authorization` and cookies are for
    /// authenticators alone.
    ///
    /// # Errors
    /// When it was sent more than once or is no visible ASCII, which readers take for different
    /// things. Passed on with `?` it refuses the request with 400.
    pub fn header(&self, name: &str) -> Result<Option<&'a str>, Error> {
        let Ok(name) = HeaderName::try_from(name) else { return Ok(None) };
        if is_dropped(&name) || (!self.credentials && SECRET.contains(&name)) {
            return Ok(None);
        }
        let mut lines = self.headers.get_all(&name).iter();
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(Error::request(Reason::DuplicateHeader, name.to_string()));
        }
        let malformed =
            |_| Error::request(Reason::MalformedRequest, format!("{name} is not ASCII"));
        line.to_str().map(Some).map_err(malformed)
    }
}

/// Headers that hold credentials.
pub(super) const SECRET: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// Whom a permit is for.
#[derive(Clone, Copy)]
pub struct Caller<'a>(&'a Identity);

impl Permit {
    /// Whom it is for; `None` on a public route.
    #[must_use]
    pub fn caller(&self) -> Option<Caller<'_>> {
        self.identity().map(|identity| Caller(identity))
    }
}

impl<'a> Caller<'a> {
    /// The subject; together with the issuer it tells one caller from all others.
    #[must_use]
    pub fn subject(&self) -> &'a str {
        &self.0.subject
    }

    /// Who vouches for them: the IAM provider, the token service or `authenticator:NAME`.
    #[must_use]
    pub fn issuer(&self) -> &'a str {
        &self.0.issuer
    }

    /// What proved it: `session`, `iam_token`, `app_token` or `extension`.
    #[must_use]
    pub const fn proof(&self) -> &'static str {
        self.0.proof.word()
    }

    /// Their IAM roles; none with an app token.
    pub fn roles(&self) -> impl Iterator<Item = &'a str> {
        self.0.roles.iter().map(|role| &**role)
    }

    /// The service that acts for them, in a delegated app token.
    #[must_use]
    pub fn actor(&self) -> Option<&'a str> {
        self.0.actor.as_deref()
    }

    /// A verified claim.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&'a Value> {
        self.0.claims.get(name)
    }
}
