//! Sessions.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

pub(super) struct SessionMetrics {
    pub(super) store_up: IntGauge,
    pub(super) refreshes: IntCounterVec,
}

impl SessionMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let store_up = IntGauge::new(
            "portcullis_session_store_up",
            "Whether the store of sessions answers; -1: there is none, or it was not asked yet.",
        )?;
        let refreshes = Opts::new(
            "portcullis_session_refreshes_total",
            "Attempts to renew the tokens of a session, by outcome.",
        );
        let refreshes = IntCounterVec::new(refreshes, &["outcome"])?;
        registry.register(Box::new(store_up.clone()))?;
        registry.register(Box::new(refreshes.clone()))?;
        Ok(Self { store_up, refreshes })
    }
}
