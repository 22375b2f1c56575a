//! Where routes and an upstream's OpenAPI document part.

use prometheus::{IntGaugeVec, Opts, Registry};

use super::number;
use crate::watch::report::Findings;

pub(super) struct DriftMetrics {
    pub(super) kinds: IntGaugeVec,
    pub(super) checked: IntGaugeVec,
}

impl DriftMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let kinds = Opts::new(
            "portcullis_policy_drift",
            "Differences between routes and an upstream's OpenAPI document, by kind.",
        );
        let checked = Opts::new(
            "portcullis_policy_drift_checked_timestamp_seconds",
            "When routes were last compared with an upstream's document; 0: never.",
        );
        let drift = Self {
            kinds: IntGaugeVec::new(kinds, &["upstream", "kind"])?,
            checked: IntGaugeVec::new(checked, &["upstream"])?,
        };
        registry.register(Box::new(drift.kinds.clone()))?;
        registry.register(Box::new(drift.checked.clone()))?;
        Ok(drift)
    }

    pub(super) fn set(&self, upstream: &str, found: Option<&Findings>) {
        let checked = found.map_or(0, |found| number(found.checked.0));
        self.checked.with_label_values(&[upstream]).set(checked);
        for (kind, count) in found.iter().flat_map(|found| found.counts) {
            self.kinds.with_label_values(&[upstream, kind]).set(number(count));
        }
    }
}
