//! What the gateway answers itself, and where a login begins.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::{Browsers, State};
use crate::{
    refusal::{Reason, Refusal},
    session,
    sts::{Sts, issuer::Issuer},
};

/// An endpoint that the gateway answers itself.
pub enum OwnEndpoint<'s> {
    /// The keys of our own token service.
    Keys(&'s Arc<Issuer>),
    /// Login, logout, session.
    Session(&'s Browsers),
}

impl OwnEndpoint<'_> {
    /// What stands for it in records: its path, or the prefix of all of them.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Keys(_) => JWKS_PATH,
            Self::Session(browsers) => browsers.login.prefix(),
        }
    }

    /// The refusal of any method but GET and HEAD.
    #[must_use]
    pub fn only_read() -> Refusal {
        let mut refusal = Refusal::new(Reason::MethodNotAllowed, "the keys are only read");
        refusal.allow = Some("GET, HEAD".into());
        refusal
    }
}

/// Where Core reads the keys of our own token service.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

impl State {
    /// Which of our own endpoints a path is.
    #[must_use]
    pub fn own_endpoint(&self, path: &str) -> Option<OwnEndpoint<'_>> {
        if path == JWKS_PATH
            && let Some(issuer) = self.sts.as_ref().and_then(Sts::issuer)
        {
            return Some(OwnEndpoint::Keys(issuer));
        }
        let browsers = self.browsers.as_ref().filter(|browsers| browsers.login.owns(path));
        browsers.map(OwnEndpoint::Session)
    }

    /// The sessions of a login that is about to begin, and what of them the browser has.
    ///
    /// # Errors
    /// `credential_missing` where nobody can log in, `duplicate_header` for a cookie sent twice.
    pub(crate) fn login_cookies<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> Result<(&Browsers, session::Cookies<'h>), Refusal> {
        let browsers = self.browsers.as_ref().ok_or_else(|| {
            Refusal::new(Reason::CredentialMissing, "no browser login is configured")
        })?;
        let fields = headers.get_all(header::COOKIE);
        let cookies = browsers.sessions.jar().read(fields.iter().map(HeaderValue::as_bytes))?;
        Ok((browsers, cookies))
    }
}
