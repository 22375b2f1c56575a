//! What is counted at the listeners.

use prometheus::{IntCounter, IntGauge};

use super::catalogue::Catalogue;
use crate::connection::Cut;

/// Connections of clients.
pub struct ConnectionMetrics {
    open: IntGauge,
    all: IntCounter,
    cut: Vec<IntCounter>,
    handshakes: Vec<IntCounter>,
}

/// How a TLS handshake with a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// In TLS 1.2.
    Tls12,
    /// In TLS 1.3.
    Tls13,
    /// The client left before it said anything, as probes of load balancers do.
    NoHello,
    /// It was broken off, by either side.
    Failed,
    /// It took longer than `limits.header_timeout`.
    TimedOut,
}

impl Handshake {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Tls12, "tls12"),
        (Self::Tls13, "tls13"),
        (Self::NoHello, "no_hello"),
        (Self::Failed, "failed"),
        (Self::TimedOut, "timed_out"),
    ];
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
        let handshakes = catalogue.counters(
            "portcullis_tls_handshakes_total",
            "TLS handshakes of clients, by outcome: the version spoken, no_hello, failed, timed_out.",
            &["outcome"],
        )?;
        let handshakes = Handshake::ALL
            .iter()
            .map(|(_, word)| handshakes.get_metric_with_label_values(&[word]))
            .collect::<Result<_, _>>()?;
        Ok(Self { open, all, cut, handshakes })
    }

    /// One more.
    pub fn opened(&self) {
        self.open.inc();
        self.all.inc();
    }

    /// Those that are open.
    #[must_use]
    pub fn open_now(&self) -> i64 {
        self.open.get()
    }

    /// One less.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// A TLS handshake ended.
    pub fn handshake(&self, ended: Handshake) {
        let at = Handshake::ALL.iter().position(|(known, _)| *known == ended);
        if let Some(counter) = at.and_then(|at| self.handshakes.get(at)) {
            counter.inc();
        }
    }

    /// One was closed by us, or not let in.
    pub fn cut(&self, cut: Cut) {
        let at = Cut::ALL.iter().position(|known| *known == cut);
        if let Some(counter) = at.and_then(|at| self.cut.get(at)) {
            counter.inc();
        }
    }
}
