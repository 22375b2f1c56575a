//! Prometheus metrics. Labels come from the configuration and from fixed words, never from a
//! request, so their number is bounded.

mod connections;
mod drift;
mod perimeter;
mod reading;
mod reloads;
mod scrape;
mod sessions;
mod streams;
mod traces;

use std::{collections::HashMap, sync::Mutex};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

pub use self::{
    connections::{ConnectionMetrics, Handshake},
    reading::{RouteTally, Tally},
    reloads::ReloadMetrics,
    scrape::Scrape,
    streams::{OpenStream, StreamMetrics},
    traces::TraceMetrics,
};
use self::{drift::DriftMetrics, perimeter::PerimeterMetrics, sessions::SessionMetrics};
use super::record::{Facts, Verdict};
use crate::refusal::Reason;

/// Every metric of the gateway.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    per_route: bool,
    decisions: Vec<IntCounter>,
    refusals: Vec<IntCounter>,
    trial_refusals: IntCounterVec,
    in_flight: IntGauge,
    sessions: SessionMetrics,
    exchanges: IntCounterVec,
    events: IntCounterVec,
    upstream_ready: IntGaugeVec,
    records_dropped: IntCounterVec,
    perimeter: PerimeterMetrics,
    jwks_age: IntGaugeVec,
    drift: DriftMetrics,
    /// Of the listeners.
    pub connections: ConnectionMetrics,
    /// Of answers that last.
    pub streams: StreamMetrics,
    /// Of the configuration.
    pub reloads: ReloadMetrics,
    /// Of traces.
    pub traces: TraceMetrics,
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
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let requests = counters(
            "portcullis_requests_total",
            "Requests by route and status class; none: the client left before an answer.",
            &["route", "status"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "portcullis_request_duration_seconds",
                "Time from the end of the request's head to the end of the response.",
            )
            .buckets(vec![
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                10.0,
            ]),
            &["route"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let decisions = counters("portcullis_decisions_total", "Decisions.", &["decision"])?;
        let refusals =
            counters("portcullis_refusals_total", "Requests refused, by reason.", &["reason"])?;
        let in_flight = IntGauge::new("portcullis_requests_in_flight", "Requests under way.")?;
        registry.register(Box::new(in_flight.clone()))?;
        let build = gauges("portcullis_build_info", "Always 1.", &["version"])?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        Ok(Self {
            requests,
            seconds,
            per_route,
            reloads: ReloadMetrics::new(&registry)?,
            traces: TraceMetrics::new(&registry)?,
            followed: Mutex::default(),
            decisions: VERDICTS
                .iter()
                .map(|verdict| decisions.get_metric_with_label_values(&[verdict.word()]))
                .collect::<Result<_, _>>()?,
            refusals: Reason::ALL
                .iter()
                .map(|reason| refusals.get_metric_with_label_values(&[reason.word()]))
                .collect::<Result<_, _>>()?,
            trial_refusals: counters(
                "portcullis_trial_refusals_total",
                "Requests let pass that would have been refused, by reason.",
                &["reason"],
            )?,
            in_flight,
            sessions: SessionMetrics::new(&registry)?,
            exchanges: counters(
                "portcullis_app_tokens_total",
                "App tokens asked for, by outcome.",
                &["outcome"],
            )?,
            events: counters(
                "portcullis_login_events_total",
                "What happened at our own endpoints: logins, logouts, token exchanges.",
                &["event"],
            )?,
            upstream_ready: gauges(
                "portcullis_upstream_ready",
                "Whether an upstream has a healthy server.",
                &["upstream"],
            )?,
            records_dropped: counters(
                "portcullis_records_dropped_total",
                "Records lost because their target was too slow or broken.",
                &["kind"],
            )?,
            perimeter: PerimeterMetrics::new(&registry)?,
            jwks_age: gauges(
                "portcullis_jwks_age_seconds",
                "Time since the keys of an issuer were last read; -1: never.",
                &["issuer"],
            )?,
            drift: DriftMetrics::new(&registry)?,
            connections: ConnectionMetrics::new(&registry)?,
            streams: StreamMetrics::new(&registry)?,
            registry,
        })
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
            self.events.with_label_values(&[event]).inc();
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
