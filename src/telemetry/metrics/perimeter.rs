//! The perimeter: ways around the gateway, whose resources are, records.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::number;
use crate::perimeter;

pub(super) struct PerimeterMetrics {
    /// Whether records can be written.
    pub(super) records: IntGaugeVec,
    pub(super) breaches: IntGaugeVec,
    pub(super) checked: IntGauge,
    pub(super) lookups: IntCounterVec,
}

impl PerimeterMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let breaches = Opts::new(
            "portcullis_perimeter_breaches",
            "Ways around the gateway to an upstream that checks nothing, by how they were found.",
        );
        let breaches = IntGaugeVec::new(breaches, &["way"])?;
        let checked = IntGauge::new(
            "portcullis_perimeter_checked_timestamp_seconds",
            "When ways around the gateway were last looked for; 0: never.",
        )?;
        let records = Opts::new(
            "portcullis_records_writable",
            "Whether the last record could be written to its target.",
        );
        let records = IntGaugeVec::new(records, &["kind"])?;
        let lookups = Opts::new(
            "portcullis_organisation_lookups_total",
            "Look-ups of the organisation of a resource, by outcome.",
        );
        let lookups = IntCounterVec::new(lookups, &["outcome"])?;
        registry.register(Box::new(records.clone()))?;
        registry.register(Box::new(breaches.clone()))?;
        registry.register(Box::new(checked.clone()))?;
        registry.register(Box::new(lookups.clone()))?;
        Ok(Self { records, breaches, checked, lookups })
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
