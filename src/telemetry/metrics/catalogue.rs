//! Makes metrics, and remembers what each is: `conf/metrics.md` is made of it.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// What a metric is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name, with its unit at the end.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it is told apart by.
    pub labels: Vec<String>,
    /// What it counts.
    pub help: String,
}

/// The metrics so far.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    described: Vec<Described>,
}

type Made<T> = Result<T, prometheus::Error>;

impl Catalogue {
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Made<IntCounter> {
        self.take(IntCounter::new(name, help)?, |_| COUNTER)
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Made<IntCounterVec> {
        self.take(IntCounterVec::new(Opts::new(name, help), labels)?, |_| COUNTER)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Made<IntGauge> {
        self.take(IntGauge::new(name, help)?, |_| GAUGE)
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        self.take(IntGaugeVec::new(Opts::new(name, help), labels)?, |_| GAUGE)
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str) -> Made<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.take(Histogram::with_opts(options)?, |_| HISTOGRAM)
    }

    pub(super) fn seconds_by(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Made<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.take(HistogramVec::new(options, labels)?, |_| HISTOGRAM)
    }

    /// What the kernel knows of the process, by the names that Prometheus has for it.
    pub(super) fn process(&mut self) -> Made<()> {
        use prometheus::process_collector::ProcessCollector;
        let kind = |name: &str| if name.ends_with("_total") { COUNTER } else { GAUGE };
        self.register(ProcessCollector::for_self(), kind)
    }

    /// Everything, and what it is.
    pub(super) fn done(self) -> (Registry, Vec<Described>) {
        (self.registry, self.described)
    }

    fn take<T: Collector + Clone + 'static>(
        &mut self,
        metric: T,
        kind: impl Fn(&str) -> &'static str,
    ) -> Made<T> {
        self.register(metric.clone(), kind)?;
        Ok(metric)
    }

    fn register(
        &mut self,
        metric: impl Collector + 'static,
        kind: impl Fn(&str) -> &'static str,
    ) -> Made<()> {
        self.described.extend(metric.desc().into_iter().map(|desc| Described {
            name: desc.fq_name.clone(),
            kind: kind(&desc.fq_name),
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        }));
        self.registry.register(Box::new(metric))
    }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

/// From half a millisecond, which a request from the cache takes, to the longest time-outs.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
