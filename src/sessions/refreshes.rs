//! What came of attempts to renew tokens, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::renewal::Landed;

/// Counters that only grow; each attempt is counted once, however many requests wait for it.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    renewed: AtomicU64,
    found: AtomicU64,
    failed: AtomicU64,
    ended: AtomicU64,
}

impl Refreshes {
    /// The counters by name, in a fixed order, for metrics: `renewed` by the provider; `found`
    /// renewed by an earlier attempt or another process; `failed`, and the session goes on; and
    /// `ended` with the session.
    pub(super) fn read(&self) -> [(&'static str, u64); 4] {
        [
            ("renewed", &self.renewed),
            ("found", &self.found),
            ("failed", &self.failed),
            ("ended", &self.ended),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    /// An attempt is over. `asked`: the provider has been asked.
    pub(super) fn count(&self, landed: &Landed, asked: bool) {
        let counter = match landed {
            Landed::Renewed(_) if asked => &self.renewed,
            Landed::Renewed(_) => &self.found,
            Landed::Kept { .. } => &self.failed,
            Landed::Ended(_) => &self.ended,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
