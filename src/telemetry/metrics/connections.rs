//! What is counted at the listeners.

use prometheus::{IntCounter, IntGauge};

use super::catalogue::Catalogue;
use crate::connection::Cut;

/// Connections of clients.
pub struct ConnectionMetrics {
    open: IntGauge,
    all: IntCounter,
    cut: Vec<IntCounter>,
}

impl ConnectionMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        let open = catalogue.gauge("portcullis_connections", "Connections of clients.")?;
        let all =
            catalogue.counter("portcullis_connections_total", "Connections of clients, ever.")?;
        let cut = catalogue.counters(
            "portcullis_connections_cut_total",
            "Connections closed outside of any request, by reason.",
            &["reason"],
        )?;
        let cut = Cut::ALL
            .iter()
            .map(|cut_for| cut.get_metric_with_label_values(&[cut_for.word()]))
            .collect::<Result<_, _>>()?;
        Ok(Self { open, all, cut })
    }

    /// One more.
    pub fn opened(&self) {
        self.open.inc();
        self.all.inc();
    }

    /// One less.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// One was closed by us, or not let in.
    pub fn cut(&self, cut: Cut) {
        let at = Cut::ALL.iter().position(|known| *known == cut);
        if let Some(counter) = at.and_then(|at| self.cut.get(at)) {
            counter.inc();
        }
    }
}
