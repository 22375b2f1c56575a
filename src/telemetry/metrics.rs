//! Prometheus metrics. Labels come from the configuration and from fixed words, never from a
//! request, so their number is bounded.

mod connections;
mod reading;
mod reloads;
mod streams;
mod traces;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use self::{
    connections::{ConnectionMetrics, Handshake},
    reading::{RouteTally, Tally},
    reloads::ReloadMetrics,
    streams::{OpenStream, StreamMetrics},
    traces::TraceMetrics,
};
use super::record::{Facts, Verdict};
use crate::{perimeter, refusal::Reason, watch::report::Findings};

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

struct SessionMetrics {
    store_up: IntGauge,
    refreshes: IntCounterVec,
}

struct PerimeterMetrics {
    /// Whether records can be written.
    records: IntGaugeVec,
    breaches: IntGaugeVec,
    checked: IntGauge,
    lookups: IntCounterVec,
}

struct DriftMetrics {
    kinds: IntGaugeVec,
    checked: IntGaugeVec,
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

    /// Takes over what others count, then writes everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn render(&self, scrape: &Scrape<'_>) -> Result<Vec<u8>, prometheus::Error> {
        self.follow(scrape);
        for (kind, total) in scrape.dropped {
            let counter = self.records_dropped.with_label_values(&[*kind]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        for (kind, written) in scrape.written {
            self.perimeter.records.with_label_values(&[*kind]).set(i64::from(*written));
        }
        if let Some(found) = scrape.perimeter {
            self.perimeter.set(found);
        }
        for (upstream, ready) in scrape.upstreams {
            self.upstream_ready.with_label_values(&[*upstream]).set(i64::from(*ready));
        }
        for (issuer, age) in scrape.jwks {
            self.jwks_age.with_label_values(&[*issuer]).set(age.map_or(-1, number));
        }
        for (upstream, found) in scrape.drift {
            self.drift.set(upstream, found.as_deref());
        }
        self.sessions.store_up.set(scrape.session_store.map_or(-1, i64::from));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Metrics {
    /// Takes over what the parts of the present configuration have counted since last time.
    fn follow(&self, scrape: &Scrape<'_>) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let families = [
            (&self.exchanges, scrape.exchanges),
            (&self.perimeter.lookups, scrape.lookups),
            (&self.sessions.refreshes, scrape.refreshes),
        ];
        for (family, (counters, totals)) in families.into_iter().enumerate() {
            for (label, total) in totals {
                let seen = followed.entry((family, *label)).or_default();
                counters.with_label_values(&[*label]).inc_by(total.saturating_sub(*seen));
                *seen = (*seen).max(*total);
            }
        }
    }

    /// The last look at the parts of a configuration that another takes the place of, whose parts
    /// begin to count at zero. What requests count there that are still under way is lost.
    pub fn close_generation(&self, scrape: &Scrape<'_>) {
        self.follow(scrape);
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl SessionMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let store_up = IntGauge::new(
            "portcullis_session_store_up",
            "Whether the store of sessions answers; -1: there is none, or it was not asked yet.",
        )?;
        let refreshes = Opts::new(
            "portcullis_session_refreshes_total",
            "Attempts to renew the tokens of a session, by outcome.",
        );
        let refreshes = IntCounterVec::new(refreshes, &["outcome"])?;
        registry.register(Box::new(store_up.clone()))?;
        registry.register(Box::new(refreshes.clone()))?;
        Ok(Self { store_up, refreshes })
    }
}

impl PerimeterMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
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

    fn set(&self, found: &perimeter::Findings) {
        for way in perimeter::Breach::WAYS {
            let count = found.breaches.iter().filter(|breach| breach.way() == way).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.breaches.with_label_values(&[way]).set(count);
        }
        self.checked.set(number(found.checked.0));
    }
}

impl DriftMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let kinds = Opts::new(
            "portcullis_policy_drift",
            "Differences between routes and an upstream's OpenAPI document, by kind.",
        );
        let checked = Opts::new(
            "portcullis_policy_drift_checked_timestamp_seconds",
            "When routes were last compared with an upstream's document; 0: never.",
        );
        let drift = Self {
            kinds: IntGaugeVec::new(kinds, &["upstream", "kind"])?,
            checked: IntGaugeVec::new(checked, &["upstream"])?,
        };
        registry.register(Box::new(drift.kinds.clone()))?;
        registry.register(Box::new(drift.checked.clone()))?;
        Ok(drift)
    }

    fn set(&self, upstream: &str, found: Option<&Findings>) {
        let checked = found.map_or(0, |found| number(found.checked.0));
        self.checked.with_label_values(&[upstream]).set(checked);
        for (kind, count) in found.iter().flat_map(|found| found.counts) {
            self.kinds.with_label_values(&[upstream, kind]).set(number(count));
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What other parts count, at the time of a scrape.
#[derive(Debug, Default)]
pub struct Scrape<'a> {
    /// App tokens by outcome, since the start.
    pub exchanges: &'a [(&'static str, u64)],
    /// Look-ups of organisations, by outcome, since the start.
    pub lookups: &'a [(&'static str, u64)],
    /// Attempts to renew the tokens of sessions, by outcome, since the start.
    pub refreshes: &'a [(&'static str, u64)],
    /// Lost records by kind, since the start.
    pub dropped: &'a [(&'static str, u64)],
    /// Kinds of records, and whether the last one was written.
    pub written: &'a [(&'a str, bool)],
    /// What the last look for ways around the gateway found.
    pub perimeter: Option<&'a perimeter::Findings>,
    /// Upstreams and whether each is ready.
    pub upstreams: &'a [(&'a str, bool)],
    /// Issuers and the age of their keys in seconds.
    pub jwks: &'a [(&'a str, Option<u64>)],
    /// Upstreams that are watched, and what the last comparison found.
    pub drift: &'a [(&'a str, Option<Arc<Findings>>)],
    /// Whether the store of sessions answers, where it is outside the process and was asked.
    pub session_store: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every metric that `conf/alerts.yaml` names is one of ours.
    #[test]
    fn alerts_look_at_metrics_that_there_are() {
        let rules: serde_yaml::Value =
            serde_yaml::from_str(include_str!("../../conf/alerts.yaml")).unwrap();
        let source = concat!(
            include_str!("metrics.rs"),
            include_str!("metrics/connections.rs"),
            include_str!("metrics/reloads.rs"),
            include_str!("metrics/streams.rs"),
            include_str!("metrics/traces.rs"),
        );
        let mut found = 0;
        for rule in rules["groups"][0]["rules"].as_sequence().unwrap() {
            assert!(rule["alert"].is_string() && rule["annotations"]["summary"].is_string());
            let expression = rule["expr"].as_str().unwrap();
            let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
            for name in expression.split(word).filter(|it| it.starts_with("portcullis_")) {
                found += 1;
                assert!(source.contains(&format!("\"{name}\",")), "{name} in {expression}");
            }
            for quoted in expression.split("reason=\"").skip(1) {
                let reason = quoted.split('"').next().unwrap();
                assert!(Reason::ALL.iter().any(|known| known.word() == reason), "{reason}");
            }
        }
        assert!(found >= 8, "{found}");
    }

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new(true).unwrap();
        let routes = metrics.routes(&["/a/{id}"]);
        let facts = Facts {
            status: 403,
            decision: Some(Verdict::Refuse),
            reason: Some(Reason::PermissionMissing),
            ..Facts::default()
        };
        metrics.request_began();
        metrics.request_ended(&facts, &routes, Some(0), 0.002);
        let scrape = Scrape { exchanges: &[("hit", 3)], ..Scrape::default() };
        let text = String::from_utf8(metrics.render(&scrape).unwrap()).unwrap();
        for line in [
            "portcullis_requests_total{route=\"/a/{id}\",status=\"4xx\"} 1",
            "portcullis_refusals_total{reason=\"permission_missing\"} 1",
            "portcullis_decisions_total{decision=\"refuse\"} 1",
            "portcullis_requests_in_flight 0",
            "portcullis_app_tokens_total{outcome=\"hit\"} 3",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // Another configuration's parts count from zero, and what is shown goes on.
        metrics.close_generation(&Scrape { exchanges: &[("hit", 5)], ..Scrape::default() });
        let scrape = Scrape { exchanges: &[("hit", 2)], ..Scrape::default() };
        let text = String::from_utf8(metrics.render(&scrape).unwrap()).unwrap();
        assert!(text.contains("portcullis_app_tokens_total{outcome=\"hit\"} 7"), "{text}");
    }
}
