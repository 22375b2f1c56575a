//! What came of the asks for app tokens, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only grow. Each ask that passes the cache is counted once as a hit, a miss, a
/// coalesced wait, a remembered refusal or one at the open breaker; the others count exchanges.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Served from the cache.
    pub hit: AtomicU64,
    /// Exchanged or minted because the cache had nothing.
    pub miss: AtomicU64,
    /// Waited for somebody else's exchange.
    pub coalesced: AtomicU64,
    /// Renewed in the background while the old token served.
    pub refreshed_ahead: AtomicU64,
    /// Refused from memory.
    pub negative: AtomicU64,
    /// Exchanges that the service refused.
    pub refused: AtomicU64,
    /// Exchanges without an answer, or with one that is not acceptable.
    pub failed: AtomicU64,
    /// Exchanges that the open breaker did not let pass.
    pub breaker_open: AtomicU64,
}

impl Outcomes {
    /// The counters by name, in a fixed order, for metrics.
    #[must_use]
    pub fn read(&self) -> [(&'static str, u64); 8] {
        [
            ("hit", &self.hit),
            ("miss", &self.miss),
            ("coalesced", &self.coalesced),
            ("refreshed_ahead", &self.refreshed_ahead),
            ("negative", &self.negative),
            ("refused", &self.refused),
            ("failed", &self.failed),
            ("breaker_open", &self.breaker_open),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
