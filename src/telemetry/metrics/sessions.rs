//! Logins and sessions.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::catalogue::Catalogue;
use crate::{login::Event, refusal::Reason, telemetry::record::Facts};

pub(super) struct SessionMetrics {
    pub(super) store_up: IntGauge,
    pub(super) refreshes: IntCounterVec,
    pub(super) checks: IntCounterVec,
    events: IntCounterVec,
    /// One for each reason.
    failures: Vec<IntCounter>,
}

impl SessionMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        let failures = catalogue.counters(
            "portcullis_login_failures_total",
            "Logins from which a browser came back without a session, by reason.",
            &["reason"],
        )?;
        Ok(Self {
            store_up: catalogue.gauge(
                "portcullis_session_store_up",
                "Whether the store of sessions answers; -1: there is none, or it was not asked \
                 yet.",
            )?,
            refreshes: catalogue.counters(
                "portcullis_session_refreshes_total",
                "Attempts to renew the tokens of a session, by outcome: renewed, found renewed \
                 already, failed while the session goes on, ended with it.",
                &["outcome"],
            )?,
            checks: catalogue.counters(
                "portcullis_session_checks_total",
                "Sessions that requests came with, by outcome: active, ended, invalid, \
                 unavailable (the store or the provider does not say).",
                &["outcome"],
            )?,
            events: catalogue.counters(
                "portcullis_login_events_total",
                "What happened at our own endpoints: logins started there, completed and failed, \
                 logouts, other organisations chosen, token exchanges. A page that leads to the \
                 login by itself counts as a decision.",
                &["event"],
            )?,
            failures: Reason::ALL
                .iter()
                .map(|reason| failures.get_metric_with_label_values(&[reason.word()]))
                .collect::<Result<_, _>>()?,
        })
    }

    /// What happened at one of our own endpoints.
    pub(super) fn happened(&self, event: &str, facts: &Facts) {
        self.events.with_label_values(&[event]).inc();
        if event == Event::LoginFailed.word() {
            let reason = Reason::ALL.iter().position(|reason| Some(*reason) == facts.reason);
            if let Some(counter) = reason.and_then(|at| self.failures.get(at)) {
                counter.inc();
            }
        }
    }
}
