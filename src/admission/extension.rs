//! What extensions say on the way to a decision.

use std::sync::Arc;

use http::HeaderMap;

use super::{Allowed, State, Target};
use crate::{
    extension::Request, policy::Authentication, refusal::Refusal, request::TrustedRequest,
    telemetry::record::Facts, time::Timestamp,
};

impl State {
    /// Who asks, as an authenticator of an extension says; `None` when none of those that count on
    /// this route was presented anything.
    ///
    /// # Errors
    /// When one of them has no answer.
    pub(super) async fn recognised(
        &self,
        target: &Target,
        request: &TrustedRequest,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Option<Authentication>, Refusal> {
        let Some(accepted) = &target.authenticators else { return Ok(None) };
        let seen = Request::new(request, headers, &target.label);
        // Boxed, so that those who have none carry none.
        let found = Box::pin(self.extensions.authenticate(accepted, seen, now)).await?;
        Ok(found.map(|found| match found {
            Ok(identity) => Authentication::Authenticated(Arc::clone(&identity)),
            Err(refusal) => Authentication::Failed { refusal, session: false },
        }))
    }

    /// Whether the checks of extensions let pass what the policy has allowed. On a route that is on
    /// trial that is only noted.
    ///
    /// # Errors
    /// `condition_failed`.
    pub(crate) async fn check(
        &self,
        allowed: &Allowed,
        request: &TrustedRequest,
        headers: &HeaderMap,
        facts: &mut Facts,
    ) -> Result<(), Refusal> {
        if !self.extensions.checks() {
            return Ok(());
        }
        let Target { label, policy, .. } = &*allowed.target;
        let seen = Request::new(request, headers, label);
        match Box::pin(self.extensions.check(seen, &allowed.permit)).await {
            Err(refusal) if !policy.enforce && refusal.reason.status() == 403 => {
                facts.would_refuse(&refusal);
                Ok(())
            }
            checked => checked,
        }
    }
}
