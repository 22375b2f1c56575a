//! The perimeter: ways around the gateway, whose resources are, records.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::{catalogue::Catalogue, number};
use crate::perimeter;

pub(super) struct PerimeterMetrics {
    /// Whether records can be written.
    pub(super) records: IntGaugeVec,
    pub(super) breaches: IntGaugeVec,
    pub(super) checked: IntGauge,
    pub(super) lookups: IntCounterVec,
}

impl PerimeterMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        Ok(Self {
            breaches: catalogue.gauges(
                "portcullis_perimeter_breaches",
                "Ways around the gateway to an upstream that checks nothing, by how they were \
                 found.",
                &["way"],
            )?,
            checked: catalogue.gauge(
                "portcullis_perimeter_checked_timestamp_seconds",
                "When ways around the gateway were last looked for; 0: never.",
            )?,
            records: catalogue.gauges(
                "portcullis_records_writable",
                "Whether the last record could be written to its target.",
                &["kind"],
            )?,
            lookups: catalogue.counters(
                "portcullis_organisation_lookups_total",
                "Look-ups of the organisation of a resource, by outcome: hit in memory, asked at \
                 the upstream, coalesced with another's question, unknown there, failed.",
                &["outcome"],
            )?,
        })
    }

    pub(super) fn set(&self, found: &perimeter::Findings) {
        for way in perimeter::Breach::WAYS {
            let count = found.breaches.iter().filter(|breach| breach.way() == way).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.breaches.with_label_values(&[way]).set(count);
        }
        self.checked.set(number(found.checked.0));
    }
}
