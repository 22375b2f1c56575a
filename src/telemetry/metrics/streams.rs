//! What is counted of streams.

use prometheus::{IntCounter, IntGauge};

use super::catalogue::Catalogue;
use crate::{refusal::Reason, stream::Kind};

/// Answers that last.
pub struct StreamMetrics {
    open: Vec<IntGauge>,
    ended: Vec<IntCounter>,
}

/// A stream that is open until this is dropped.
pub struct OpenStream(Option<IntGauge>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(open) = &self.0 {
            open.dec();
        }
    }
}

/// Why we end streams.
const ENDS: [Reason; 3] =
    [Reason::SessionExpired, Reason::CredentialExpired, Reason::SessionUnavailable];

impl StreamMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        let open = catalogue.gauges(
            "portcullis_streams",
            "Open WebSockets and other long answers, by kind.",
            &["kind"],
        )?;
        let ended = catalogue.counters(
            "portcullis_streams_ended_total",
            "Streams that were ended since what allowed them was over, by reason.",
            &["reason"],
        )?;
        Ok(Self {
            open: Kind::ALL
                .iter()
                .map(|kind| open.get_metric_with_label_values(&[kind.word()]))
                .collect::<Result<_, _>>()?,
            ended: ENDS
                .iter()
                .map(|reason| ended.get_metric_with_label_values(&[reason.word()]))
                .collect::<Result<_, _>>()?,
        })
    }

    /// One more is open.
    #[must_use]
    pub fn open(&self, kind: Kind) -> OpenStream {
        let at = Kind::ALL.iter().position(|known| *known == kind);
        let open = at.and_then(|at| self.open.get(at)).cloned();
        if let Some(open) = &open {
            open.inc();
        }
        OpenStream(open)
    }

    /// One was ended by us.
    pub fn ended(&self, reason: Reason) {
        let at = ENDS.iter().position(|known| *known == reason);
        if let Some(counter) = at.and_then(|at| self.ended.get(at)) {
            counter.inc();
        }
    }
}
