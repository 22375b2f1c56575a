//! The extensions of a program, and how they are asked.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    Authentication, Credential, CredentialSource, PolicyCheck, Request, RequestFilter,
    ResponseFilter, Verdict, error, guard, traits::Authenticate,
};
use crate::{
    identity::Identity,
    policy::Permit,
    refusal::{Reason, Refusal},
    time::Timestamp,
};

/// Every extension of a program. A reload keeps them.
#[derive(Default)]
pub struct Extensions {
    pub(super) authenticators: BTreeMap<String, Authenticator>,
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) checks: Vec<Arc<dyn PolicyCheck>>,
    pub(super) request_filters: Vec<Arc<dyn RequestFilter>>,
    pub(super) response_filters: Vec<Arc<dyn ResponseFilter>>,
    /// Of all authenticators.
    pub(super) credential_headers: Vec<HeaderName>,
    pub(super) limit: Option<Duration>,
}

/// An authenticator, by its name.
#[derive(Clone)]
pub(crate) struct Authenticator {
    /// Who vouches for those it knows.
    pub(super) issuer: Arc<str>,
    pub(super) of: Arc<dyn Authenticate>,
}

/// A credential source, by its name.
#[derive(Clone)]
pub struct Source {
    pub(super) name: Arc<str>,
    pub(super) of: Arc<dyn CredentialSource>,
    pub(super) limit: Duration,
}

impl Extensions {
    /// How long one answer may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit.unwrap_or(LIMIT)
    }

    /// The authenticator of this name.
    ///
    /// # Errors
    /// A message that names those there are.
    pub(crate) fn authenticator(&self, name: &str) -> Result<Authenticator, String> {
        let found = self.authenticators.get(name).cloned();
        found.ok_or_else(|| unknown("authenticator", name, self.authenticators.keys()))
    }

    /// The credential source of this name.
    ///
    /// # Errors
    /// A message that names those there are.
    pub(crate) fn source(&self, name: &str) -> Result<Source, String> {
        let found = self.sources.get(name);
        let found = found.map(|source| Source { limit: self.limit(), ..source.clone() });
        found.ok_or_else(|| unknown("credential source", name, self.sources.keys()))
    }

    /// Who asks, by the first of these that recognises a credential; `None` when none was presented
    /// to any of them.
    ///
    /// # Errors
    /// When one of them has no answer: not the caller's fault.
    pub(crate) async fn authenticate(
        &self,
        accepted: &[Authenticator],
        request: Request<'_>,
        now: Timestamp,
    ) -> Result<Option<Result<Arc<Identity>, Refusal>>, Refusal> {
        let request = request.with_credentials();
        for Authenticator { issuer, of: authenticator } in accepted {
            let answer = guard::asked(self.limit(), authenticator.authenticate(&request)).await;
            let failed = |error: error::Error| error.refusal(issuer, Reason::IamUnavailable);
            let subject = match answer.map_err(failed)? {
                Authentication::NotPresented => continue,
                Authentication::Failed(why) => {
                    let detail = error::said(issuer, &why);
                    return Ok(Some(Err(Refusal::new(Reason::CredentialInvalid, detail))));
                }
                Authentication::Authenticated(subject) => subject,
            };
            if subject.is_over(now) {
                let detail = error::said(issuer, "the credential's time is over");
                return Ok(Some(Err(Refusal::new(Reason::CredentialExpired, detail))));
            }
            let identity = subject.identity(issuer, now);
            let identity = identity.map_err(|why| failed(error::Error::new(why)))?;
            return Ok(Some(Ok(Arc::new(identity))));
        }
        Ok(None)
    }

    /// Whether every check lets a request pass that the policy has allowed.
    ///
    /// # Errors
    /// `condition_failed` when one does not, or has no answer.
    pub(crate) async fn check(&self, request: Request<'_>, permit: &Permit) -> Result<(), Refusal> {
        for check in &self.checks {
            let answer = guard::asked(self.limit(), check.check(&request, permit)).await;
            match answer.map_err(|error| error.refusal("check", Reason::ConditionFailed))? {
                Verdict::Pass => {}
                Verdict::Refuse(why) => {
                    return Err(Refusal::new(Reason::ConditionFailed, error::said("check", &why)));
                }
            }
        }
        Ok(())
    }

    /// Whether there is a check at all.
    pub(crate) const fn checks(&self) -> bool {
        !self.checks.is_empty()
    }

    /// Whether anything is done to requests that are forwarded.
    pub(crate) const fn filters_requests(&self) -> bool {
        !self.request_filters.is_empty() || !self.credential_headers.is_empty()
    }

    /// Whether anything is done to responses.
    pub(crate) const fn filters_responses(&self) -> bool {
        !self.response_filters.is_empty()
    }
}

impl Source {
    /// The credential for what a permit allows.
    ///
    /// # Errors
    /// `sts_unavailable` when there is none.
    pub(crate) async fn obtain(&self, permit: &Permit) -> Result<Credential, Refusal> {
        let answer = guard::asked(self.limit, self.of.credential(permit)).await;
        let who = || format!("credential source {}", self.name);
        let credential = answer.map_err(|error| error.refusal(&who(), Reason::StsUnavailable))?;
        if http::HeaderValue::try_from(secrecy::ExposeSecret::expose_secret(&credential.0)).is_err()
        {
            let detail = error::said(&who(), "what it gave is no header value");
            return Err(Refusal::new(Reason::StsUnavailable, detail));
        }
        Ok(credential)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// As long as a person still waits for a page.
const LIMIT: Duration = Duration::from_secs(5);

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.map(|name| format!("{name:?}")).collect();
    let known: Cow<'_, str> = match &*known {
        [] => "it has none; build one with portcullis::extension".into(),
        known => format!("it has {}", known.join(", ")).into(),
    };
    format!("this program has no {what} {name:?}: {known}")
}
