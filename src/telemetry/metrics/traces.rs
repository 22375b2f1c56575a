//! What became of spans.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Spans of sampled requests. Clones count together.
#[derive(Clone)]
pub struct TraceMetrics {
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
    rejected: IntCounter,
}

impl TraceMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let spans = IntCounterVec::new(
            Opts::new(
                "portcullis_trace_spans_total",
                "Spans of sampled requests, by outcome: exported, dropped (the queue was full), \
                 failed (the collector could not be reached in time), rejected (by the collector).",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(spans.clone()))?;
        let outcome = |word: &str| spans.get_metric_with_label_values(&[word]);
        Ok(Self {
            exported: outcome("exported")?,
            dropped: outcome("dropped")?,
            failed: outcome("failed")?,
            rejected: outcome("rejected")?,
        })
    }

    /// They have arrived.
    pub fn exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    /// There was no room for them.
    pub fn dropped(&self, spans: u64) {
        self.dropped.inc_by(spans);
    }

    /// They were given up.
    pub fn failed(&self, spans: u64) {
        self.failed.inc_by(spans);
    }

    /// The collector would not have them.
    pub fn rejected(&self, spans: u64) {
        self.rejected.inc_by(spans);
    }
}
