//! Sessions that requests came with, counted by what was found.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Found;
use crate::refusal::Reason;

/// Counters that only grow.
#[derive(Debug, Default)]
pub(super) struct Checks {
    active: AtomicU64,
    ended: AtomicU64,
    invalid: AtomicU64,
    unavailable: AtomicU64,
}

impl Checks {
    /// The counters by name, in a fixed order.
    pub(super) fn read(&self) -> [(&'static str, u64); 4] {
        [
            ("active", &self.active),
            ("ended", &self.ended),
            ("invalid", &self.invalid),
            ("unavailable", &self.unavailable),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    /// A request that came without one is not counted.
    pub(super) fn count(&self, found: &Found) {
        let counter = match found {
            Found::NotPresented => return,
            Found::Active(_) => &self.active,
            Found::Failed(refusal) => match refusal.reason {
                Reason::SessionExpired => &self.ended,
                reason if reason.status() >= 500 => &self.unavailable,
                _ => &self.invalid,
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
