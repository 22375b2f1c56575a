//! Prometheus metrics. Labels come from the configuration and from fixed words, never from a
//! request, so their number is bounded.

mod catalogue;
mod connections;
mod drift;
mod exchanges;
mod perimeter;
mod reading;
mod reloads;
mod scrape;
mod sessions;
mod streams;
mod traces;
mod upstreams;

use std::{collections::HashMap, sync::Mutex};

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use self::{
    catalogue::Catalogue, drift::DriftMetrics, perimeter::PerimeterMetrics,
    sessions::SessionMetrics,
};
pub use self::{
    catalogue::Described,
    connections::{ConnectionMetrics, Handshake},
    exchanges::{Door, ExchangeMetrics},
    reading::{RouteTally, Tally},
    reloads::ReloadMetrics,
    scrape::Scrape,
    streams::{OpenStream, StreamMetrics},
    traces::TraceMetrics,
    upstreams::{Retry, ServerState, UpstreamCounters, UpstreamMetrics},
};
use super::record::{Facts, Verdict};
use crate::refusal::Reason;

/// Every metric of the gateway.
pub struct Metrics {
    registry: Registry,
    described: Vec<Described>,
    requests: IntCounterVec,
    seconds: HistogramVec,
    per_route: bool,
    decisions: Vec<IntCounter>,
    refusals: Vec<IntCounter>,
    trial_refusals: IntCounterVec,
    in_flight: IntGauge,
    sessions: SessionMetrics,
    records_dropped: IntCounterVec,
    perimeter: PerimeterMetrics,
    jwks_age: IntGaugeVec,
    drift: DriftMetrics,
    /// Of the token service.
    pub exchanges: ExchangeMetrics,
    /// Of the listeners.
    pub connections: ConnectionMetrics,
    /// Of answers that last.
    pub streams: StreamMetrics,
    /// Of the configuration.
    pub reloads: ReloadMetrics,
    /// Of traces.
    pub traces: TraceMetrics,
    /// Of upstreams.
    pub upstreams: UpstreamMetrics,
    /// How far the counters of the present configuration's parts were taken over.
    followed: Mutex<HashMap<(usize, &'static str), u64>>,
}

/// Counters of each route of one configuration, by status class; looked up once, since a look-up
/// costs more than a count.
pub struct RouteCounters {
    routes: Vec<RouteMetrics>,
    no_route: RouteMetrics,
}

struct RouteMetrics {
    classes: Vec<IntCounter>,
    seconds: Histogram,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const VERDICTS: [Verdict; 4] = [Verdict::Forward, Verdict::Login, Verdict::Refuse, Verdict::Own];

impl Metrics {
    /// Registers everything. Requests are told apart by route where `per_route` says so.
    ///
    /// # Errors
    /// Only when two metrics share a name, which is a mistake in this file.
    pub fn new(per_route: bool) -> Result<Self, prometheus::Error> {
        let mut catalogue = Catalogue::default();
        let requests = catalogue.counters(
            "portcullis_requests_total",
            "Requests by route and status class; none: the client left before an answer.",
            &["route", "status"],
        )?;
        let seconds = catalogue.seconds_by(
            "portcullis_request_duration_seconds",
            "Time from the end of the request's head to the end of the response.",
            &["route"],
        )?;
        let in_flight = catalogue.gauge("portcullis_requests_in_flight", "Requests under way.")?;
        let decisions = catalogue.counters(
            "portcullis_decisions_total",
            "Decisions: forward, login, refuse, own (answered by one of our own endpoints).",
            &["decision"],
        )?;
        let refusals = catalogue.counters(
            "portcullis_refusals_total",
            "Requests refused, by reason.",
            &["reason"],
        )?;
        let trial_refusals = catalogue.counters(
            "portcullis_trial_refusals_total",
            "Requests let pass that would have been refused, by reason.",
            &["reason"],
        )?;
        let upstreams = UpstreamMetrics::new(&mut catalogue)?;
        let sessions = SessionMetrics::new(&mut catalogue)?;
        let exchanges = ExchangeMetrics::new(&mut catalogue)?;
        let jwks_age = catalogue.gauges(
            "portcullis_jwks_age_seconds",
            "Time since the keys of an issuer were last read; -1: never.",
            &["issuer"],
        )?;
        let perimeter = PerimeterMetrics::new(&mut catalogue)?;
        let drift = DriftMetrics::new(&mut catalogue)?;
        let records_dropped = catalogue.counters(
            "portcullis_records_dropped_total",
            "Records lost because their target was too slow or broken.",
            &["kind"],
        )?;
        let traces = TraceMetrics::new(&mut catalogue)?;
        let connections = ConnectionMetrics::new(&mut catalogue)?;
        let streams = StreamMetrics::new(&mut catalogue)?;
        let reloads = ReloadMetrics::new(&mut catalogue)?;
        let build = catalogue.gauges("portcullis_build_info", "Always 1.", &["version"])?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        catalogue.process()?;
        let decisions = VERDICTS
            .iter()
            .map(|verdict| decisions.get_metric_with_label_values(&[verdict.word()]))
            .collect::<Result<_, _>>()?;
        let refusals = Reason::ALL
            .iter()
            .map(|reason| refusals.get_metric_with_label_values(&[reason.word()]))
            .collect::<Result<_, _>>()?;
        let (registry, described) = catalogue.done();
        Ok(Self {
            registry,
            described,
            requests,
            seconds,
            per_route,
            decisions,
            refusals,
            trial_refusals,
            in_flight,
            sessions,
            exchanges,
            records_dropped,
            perimeter,
            jwks_age,
            drift,
            connections,
            streams,
            reloads,
            traces,
            upstreams,
            followed: Mutex::default(),
        })
    }

    /// What each metric is, in the order of the list.
    #[must_use]
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// Counters for the routes of a configuration; `labels` are their patterns, in the order of
    /// its table. A pattern that was counted before is counted on.
    #[must_use]
    pub fn routes(&self, labels: &[&str]) -> RouteCounters {
        let route = |label: &str| RouteMetrics {
            classes: CLASSES
                .iter()
                .map(|class| self.requests.with_label_values(&[label, class]))
                .collect(),
            seconds: self.seconds.with_label_values(&[label]),
        };
        let told_apart = if self.per_route { labels } else { &[] };
        RouteCounters {
            routes: told_apart.iter().map(|label| route(label)).collect(),
            no_route: route("-"),
        }
    }

    /// A request's head has been read.
    pub fn request_began(&self) {
        self.in_flight.inc();
    }

    /// A request is over.
    pub fn request_ended(
        &self,
        facts: &Facts,
        routes: &RouteCounters,
        route: Option<usize>,
        seconds: f64,
    ) {
        self.in_flight.dec();
        let metrics = route.and_then(|at| routes.routes.get(at)).unwrap_or(&routes.no_route);
        if let Some(class) = metrics.classes.get(usize::from(facts.status / 100)) {
            class.inc();
        }
        metrics.seconds.observe(seconds);
        let verdict = VERDICTS.iter().position(|verdict| Some(*verdict) == facts.decision);
        if let Some(counter) = verdict.and_then(|at| self.decisions.get(at)) {
            counter.inc();
        }
        let reason = Reason::ALL.iter().position(|reason| Some(*reason) == facts.reason);
        if let Some(counter) = reason.and_then(|at| self.refusals.get(at)) {
            counter.inc();
        }
        if let Some(reason) = facts.would_refuse {
            self.trial_refusals.with_label_values(&[reason.word()]).inc();
        }
        if let Some(event) = facts.event {
            self.sessions.happened(event, facts);
        }
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
