//! What became of configurations that were read again.

use prometheus::{IntCounterVec, IntGauge};

use super::catalogue::Catalogue;
use crate::time::Timestamp;

/// Reloads.
pub struct ReloadMetrics {
    outcomes: IntCounterVec,
    taken: IntGauge,
    good: IntGauge,
}

impl ReloadMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        let outcomes = catalogue.counters(
            "portcullis_reloads_total",
            "Configurations read again, by outcome: taken, or refused for their faults.",
            &["outcome"],
        )?;
        let taken = catalogue.gauge(
            "portcullis_config_taken_timestamp_seconds",
            "When the configuration at work was read.",
        )?;
        let good = catalogue.gauge(
            "portcullis_config_last_reload_successful",
            "Whether the files, as they were last read, are at work.",
        )?;
        for outcome in [TAKEN, REFUSED] {
            outcomes.get_metric_with_label_values(&[outcome])?;
        }
        good.set(1);
        Ok(Self { outcomes, taken, good })
    }

    /// The configuration of the start.
    pub fn began(&self, now: Timestamp) {
        self.taken.set(i64::try_from(now.0).unwrap_or(i64::MAX));
    }

    /// Another is at work from now on.
    pub fn taken(&self, now: Timestamp) {
        self.began(now);
        self.outcomes.with_label_values(&[TAKEN]).inc();
        self.good.set(1);
    }

    /// When the configuration at work was taken; how many were taken and refused since the start;
    /// whether the last one that was read is at work.
    #[must_use]
    pub fn read(&self) -> (Timestamp, [u64; 2], bool) {
        let taken = Timestamp(u64::try_from(self.taken.get()).unwrap_or_default());
        let counts =
            [TAKEN, REFUSED].map(|outcome| self.outcomes.with_label_values(&[outcome]).get());
        (taken, counts, self.good.get() == 1)
    }

    /// Another was of no use; the one before goes on.
    pub fn refused(&self) {
        self.outcomes.with_label_values(&[REFUSED]).inc();
        self.good.set(0);
    }
}

const TAKEN: &str = "taken";
const REFUSED: &str = "refused";
