//! Where routes and an upstream's OpenAPI document part.

use prometheus::IntGaugeVec;

use super::{catalogue::Catalogue, number};
use crate::watch::report::Findings;

pub(super) struct DriftMetrics {
    pub(super) kinds: IntGaugeVec,
    pub(super) checked: IntGaugeVec,
}

impl DriftMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        Ok(Self {
            kinds: catalogue.gauges(
                "portcullis_policy_drift",
                "Differences between routes and an upstream's OpenAPI document, by kind.",
                &["upstream", "kind"],
            )?,
            checked: catalogue.gauges(
                "portcullis_policy_drift_checked_timestamp_seconds",
                "When routes were last compared with an upstream's document; 0: never.",
                &["upstream"],
            )?,
        })
    }

    pub(super) fn set(&self, upstream: &str, found: Option<&Findings>) {
        let checked = found.map_or(0, |found| number(found.checked.0));
        self.checked.with_label_values(&[upstream]).set(checked);
        for (kind, count) in found.iter().flat_map(|found| found.counts) {
            self.kinds.with_label_values(&[upstream, kind]).set(number(count));
        }
    }
}
