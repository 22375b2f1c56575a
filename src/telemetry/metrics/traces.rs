//! What became of spans.

use prometheus::IntCounter;

use super::catalogue::Catalogue;

/// Spans of sampled requests. Clones count together.
#[derive(Clone)]
pub struct TraceMetrics {
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
    rejected: IntCounter,
}

impl TraceMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        let spans = catalogue.counters(
            "portcullis_trace_spans_total",
            "Spans of sampled requests, by outcome: exported; dropped, since the queue was full; \
             failed, since the collector could not be reached in time; rejected by the collector.",
            &["outcome"],
        )?;
        let outcome = |word: &str| spans.get_metric_with_label_values(&[word]);
        Ok(Self {
            exported: outcome("exported")?,
            dropped: outcome("dropped")?,
            failed: outcome("failed")?,
            rejected: outcome("rejected")?,
        })
    }

    /// That nobody shows.
    #[cfg(test)]
    pub(crate) fn unseen() -> Result<Self, prometheus::Error> {
        Self::new(&mut Catalogue::default())
    }

    /// Those that found no room so far.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.dropped.get()
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
