//! How upstreams and their servers do.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::catalogue::Catalogue;
use crate::upstream::{NoRetry, pool::Consequence};

/// Upstreams. Servers are told apart only by gauges, which go when the server does: names may
/// resolve to other addresses every day.
pub struct UpstreamMetrics {
    ready: IntGaugeVec,
    up: IntGaugeVec,
    ejected: IntGaugeVec,
    in_flight: IntGaugeVec,
    seconds: HistogramVec,
    retries: IntCounterVec,
    ejections: IntCounterVec,
    /// Upstream and server of the gauges that are shown.
    shown: Mutex<BTreeSet<(String, String)>>,
}

/// What one upstream is counted in; looked up once, since a look-up costs more than a count.
pub struct UpstreamCounters {
    seconds: Histogram,
    retries: Vec<IntCounter>,
    ejections: Vec<IntCounter>,
}

/// How one server is, at the time of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct ServerState<'a> {
    /// Whose it is.
    pub upstream: &'a str,
    /// Where it is.
    pub server: SocketAddr,
    /// Whether it passes its health checks and can be connected to.
    pub up: bool,
    /// Whether it is left out for having failed requests.
    pub ejected: bool,
    /// Requests that it has.
    pub in_flight: u32,
}

/// What came of a try beyond the first, or of the wish for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The other server answered.
    Served,
    /// It failed as well.
    Failed,
    /// It was not made.
    Not(NoRetry),
}

impl UpstreamMetrics {
    pub(super) fn new(catalogue: &mut Catalogue) -> Result<Self, prometheus::Error> {
        Ok(Self {
            ready: catalogue.gauges(
                "portcullis_upstream_ready",
                "Whether requests can go to any server of an upstream.",
                &["upstream"],
            )?,
            up: catalogue.gauges(
                "portcullis_upstream_server_up",
                "Whether a server passes its health checks and can be connected to.",
                &["upstream", "server"],
            )?,
            ejected: catalogue.gauges(
                "portcullis_upstream_server_ejected",
                "Whether a server is left out for having failed requests.",
                &["upstream", "server"],
            )?,
            in_flight: catalogue.gauges(
                "portcullis_upstream_server_requests_in_flight",
                "Requests that a server has.",
                &["upstream", "server"],
            )?,
            seconds: catalogue.seconds_by(
                "portcullis_upstream_response_duration_seconds",
                "Time from the choice of a server to the head of its response.",
                &["upstream"],
            )?,
            retries: catalogue.counters(
                "portcullis_upstream_retries_total",
                "Further tries at another server, by what came of them.",
                &["upstream", "outcome"],
            )?,
            ejections: catalogue.counters(
                "portcullis_upstream_ejections_total",
                "Times that a server was left out, by cause.",
                &["upstream", "cause"],
            )?,
            shown: Mutex::default(),
        })
    }

    /// What an upstream of this name is counted in. One that was counted before is counted on.
    #[must_use]
    pub fn of(&self, upstream: &str) -> UpstreamCounters {
        let counters = |of: &IntCounterVec, words: &[&str]| {
            words.iter().map(|word| of.with_label_values(&[upstream, word])).collect()
        };
        UpstreamCounters {
            seconds: self.seconds.with_label_values(&[upstream]),
            retries: counters(&self.retries, &OUTCOMES),
            ejections: counters(&self.ejections, &CAUSES),
        }
    }

    pub(super) fn show(&self, upstreams: &[(&str, bool)], servers: &[ServerState<'_>]) {
        for (upstream, ready) in upstreams {
            self.ready.with_label_values(&[*upstream]).set(i64::from(*ready));
        }
        let mut present = BTreeSet::new();
        for state in servers {
            let server = state.server.to_string();
            let labels = [state.upstream, &server];
            self.up.with_label_values(&labels).set(i64::from(state.up));
            self.ejected.with_label_values(&labels).set(i64::from(state.ejected));
            self.in_flight.with_label_values(&labels).set(i64::from(state.in_flight));
            present.insert((state.upstream.to_owned(), server));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (upstream, server) in shown.difference(&present) {
            for gauges in [&self.up, &self.ejected, &self.in_flight] {
                // Whoever was here first has taken it out.
                let _ = gauges.remove_label_values(&[upstream, server]);
            }
        }
        *shown = present;
    }
}

impl UpstreamCounters {
    /// A server has answered.
    pub fn answered(&self, after: Duration) {
        self.seconds.observe(after.as_secs_f64());
    }

    /// A further try is over, or is not made.
    pub fn retry(&self, outcome: Retry) {
        let at = match outcome {
            Retry::Served => 0,
            Retry::Failed => 1,
            Retry::Not(NoRetry::OverBudget) => 2,
            Retry::Not(NoRetry::NoServer) => 3,
        };
        self.retries.get(at).iter().for_each(|counter| counter.inc());
    }

    /// A server is left out.
    pub fn ejected(&self, consequence: Consequence) {
        let at = match consequence {
            Consequence::Unreachable => 0,
            Consequence::Ejected(_) => 1,
        };
        self.ejections.get(at).iter().for_each(|counter| counter.inc());
    }
}

const OUTCOMES: [&str; 4] = ["served", "failed", "over_budget", "no_other_server"];
const CAUSES: [&str; 2] = ["unreachable", "failures"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_gone_is_shown_no_more() {
        let mut catalogue = Catalogue::default();
        let metrics = UpstreamMetrics::new(&mut catalogue).unwrap();
        let (registry, _) = catalogue.done();
        let state = |port| ServerState {
            upstream: "core",
            server: SocketAddr::from(([10, 0, 0, 1], port)),
            up: true,
            ejected: false,
            in_flight: 2,
        };
        let text = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        metrics.show(&[("core", true)], &[state(1), state(2)]);
        let line =
            |port| format!("requests_in_flight{{server=\"10.0.0.1:{port}\",upstream=\"core\"}} 2");
        assert!(text().contains(&line(1)) && text().contains(&line(2)), "{}", text());
        metrics.show(&[("core", true)], &[state(2)]);
        assert!(!text().contains("10.0.0.1:1") && text().contains(&line(2)), "{}", text());
    }

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let counters = UpstreamMetrics::new(&mut Catalogue::default()).unwrap().of("core");
        let outcomes = [
            Retry::Served,
            Retry::Failed,
            Retry::Not(NoRetry::OverBudget),
            Retry::Not(NoRetry::NoServer),
        ];
        for outcome in outcomes {
            counters.retry(outcome);
        }
        assert!(counters.retries.iter().all(|counter| counter.get() == 1));
        counters.ejected(Consequence::Unreachable);
        counters.ejected(Consequence::Ejected(Duration::ZERO));
        assert!(counters.ejections.iter().all(|counter| counter.get() == 1));
    }
}
