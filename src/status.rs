//! What an operator sees at a glance: the status page of the admin listener, and the same as JSON.
//!
//! Nothing here is on a request's way. What is shown is read where it is anyhow: parts of the
//! configuration at work ([`parts`], [`keys`]), counters that are looked at now and then
//! ([`history`]), and the last refusals, which are remembered by the record of each. No secret and
//! no token is among it, and nothing can be changed by it. [`Status`] is the document that
//! `conf/status.md` describes, [`page`] the same for people, [`question`] asks `explain`.
//!
//! To show one more thing, add a [`Part`] in [`parts`]: the page and the JSON have it then.

mod history;
mod keys;
mod page;
mod parts;
mod question;
mod routes;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::{server::ShutdownWatch, services::background::BackgroundService};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub(crate) use self::page::render;
use self::{
    history::{BIN, Bin, History},
    keys::KeyInUse,
    parts::Part,
    question::{Answered, Desk},
    routes::Routes,
};
use crate::{
    live::Live,
    telemetry::{
        metrics::Tally,
        recent::Refused,
        record::{Records, Verdict},
    },
    time::Timestamp,
};

/// Knows where everything is that is shown.
pub(crate) struct Board {
    live: Arc<ArcSwap<Live>>,
    records: Arc<Records>,
    draining: Arc<AtomicBool>,
    started: Timestamp,
    history: Mutex<History>,
    desk: Desk,
}

/// The document. A field may be added within a version; one that is taken away, or means something
/// else, makes a new one.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    version: u32,
    time: Timestamp,
    gateway: GatewayNow,
    configuration: ConfigurationNow,
    parts: Vec<Part>,
    keys: Vec<KeyInUse>,
    token_cache: Option<TokenCache>,
    decisions: Decisions,
    routes: Routes,
    #[serde(serialize_with = "each")]
    refusals: Vec<Arc<Refused>>,
    /// Where an IAM token has its roles: a JSON pointer.
    #[serde(skip)]
    roles_claim: String,
}

#[derive(Debug, Serialize)]
struct GatewayNow {
    version: &'static str,
    public_url: String,
    started: Timestamp,
    /// Whether `/readyz` says so.
    ready: bool,
    /// What is missing for that.
    missing: Vec<String>,
    requests_in_flight: i64,
    connections: i64,
}

#[derive(Debug, Serialize)]
struct ConfigurationNow {
    /// When it was taken.
    taken: Timestamp,
    /// Whether the files, as they were last read, are at work.
    last_reload_successful: bool,
    reloads_taken: u64,
    reloads_refused: u64,
    files: Vec<String>,
    enforce: bool,
    warnings: usize,
}

#[derive(Debug, Serialize)]
struct TokenCache {
    /// `issuer` for our own tokens, `exchange` for another service's.
    source: &'static str,
    entries: u64,
    capacity: u64,
    /// Asks that the cache served, of all; null while there was none.
    hit_share: Option<f64>,
    /// Since the configuration was taken.
    outcomes: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct Decisions {
    bin_seconds: u64,
    /// Of all bins, by decision.
    totals: Map<String, Value>,
    /// Of all bins, by reason.
    refusals: Map<String, Value>,
    /// The oldest first; the last one is still open.
    bins: Vec<Counted>,
    #[serde(skip)]
    history: Vec<Bin>,
    #[serde(skip)]
    sum: Tally,
}

/// A bin, as it is told.
#[derive(Debug, Serialize)]
struct Counted {
    began: Timestamp,
    #[serde(flatten)]
    decisions: Map<String, Value>,
    refusals: Map<String, Value>,
}

fn each<S: Serializer>(refusals: &[Arc<Refused>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(refusals.iter().map(|refused| &**refused))
}

/// The version of the document.
const VERSION: u32 = 1;

impl Board {
    pub(crate) fn new(
        live: Arc<ArcSwap<Live>>,
        records: Arc<Records>,
        draining: Arc<AtomicBool>,
    ) -> Self {
        let started = Timestamp::now();
        let history = Mutex::new(History::new(records.metrics.tally(), started));
        Self { live, records, draining, started, history, desk: Desk::default() }
    }

    /// What is missing for the gateway to be ready; empty when it is.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            missing.push("draining".to_owned());
        }
        let live = self.live.load();
        missing.extend(live.without_keys().map(|name| format!("no {name} keys")));
        let state = &live.state;
        if state.audit_required && !self.records.audit.writes() {
            missing.push("audit records cannot be written".to_owned());
        }
        for upstream in &state.upstreams {
            if !upstream.is_ready() {
                missing.push(format!("no healthy server in {}", upstream.name()));
            }
        }
        missing
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn metrics(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.live.load().scrape(&self.records, |scrape| self.records.metrics.render(scrape))
    }

    /// Everything as it is now.
    pub(crate) async fn status(&self, now: Timestamp) -> Status {
        let live = self.live.load_full();
        let metrics = &self.records.metrics;
        let missing = self.missing();
        let (taken, [reloads_taken, reloads_refused], last) = metrics.reloads.read();
        let config = &live.loaded.config;
        Status {
            version: VERSION,
            time: now,
            gateway: GatewayNow {
                version: env!("CARGO_PKG_VERSION"),
                public_url: config.public_url.to_string(),
                started: self.started,
                ready: missing.is_empty(),
                missing,
                requests_in_flight: metrics.in_flight(),
                connections: metrics.connections.open_now(),
            },
            configuration: ConfigurationNow {
                taken,
                last_reload_successful: last,
                reloads_taken,
                reloads_refused,
                files: live.loaded.files.iter().map(|file| file.display().to_string()).collect(),
                enforce: config.enforce,
                warnings: live.loaded.warnings().len(),
            },
            parts: parts::of(&live, &self.records, now),
            keys: keys::of(&live, now),
            token_cache: token_cache(&live).await,
            decisions: self.decisions(),
            routes: Routes::of(&live, metrics.is_per_route()),
            refusals: self.records.recent.newest(),
            roles_claim: config.iam.as_ref().map_or_else(String::new, |iam| iam.roles.clone()),
        }
    }

    /// The configuration at work, secrets hidden.
    pub(crate) fn configuration(&self) -> serde_yaml::Value {
        self.live.load().loaded.config.shown()
    }

    /// Asks `explain`. `body` is the question in JSON.
    pub(crate) async fn explain(&self, body: &[u8], now: Timestamp) -> Answered {
        let live = self.live.load_full();
        self.desk.answer((&live.loaded, &live.state), body, now).await
    }

    fn decisions(&self) -> Decisions {
        let tally = self.records.metrics.tally();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).read(&tally);
        let mut sum = Tally::default();
        for bin in &history {
            sum.add(&bin.counts);
        }
        let counted = |bin: &Bin| Counted {
            began: bin.began,
            decisions: by_decision(&bin.counts),
            refusals: by_reason(&bin.counts),
        };
        Decisions {
            bin_seconds: BIN.as_secs(),
            totals: by_decision(&sum),
            refusals: by_reason(&sum),
            bins: history.iter().map(counted).collect(),
            history,
            sum,
        }
    }
}

fn by_decision(counts: &Tally) -> Map<String, Value> {
    let words = Tally::VERDICTS.map(Verdict::word);
    words.iter().zip(counts.decisions).map(|(word, it)| ((*word).to_owned(), it.into())).collect()
}

fn by_reason(counts: &Tally) -> Map<String, Value> {
    let counted = counts.reasons().into_iter();
    counted.map(|(reason, count)| (reason.word().to_owned(), count.into())).collect()
}

async fn token_cache(live: &Live) -> Option<TokenCache> {
    let sts = live.state.sts.as_ref()?;
    let settings = live.loaded.config.sts.as_ref()?;
    let outcomes = sts.outcomes().read();
    let of = |word: &str| outcomes.iter().find(|(name, _)| *name == word).map_or(0, |(_, it)| *it);
    let asked = of("hit") + of("miss") + of("coalesced") + of("negative") + of("breaker_open");
    Some(TokenCache {
        source: if sts.issuer().is_some() { "issuer" } else { "exchange" },
        entries: sts.cached().await,
        capacity: settings.cache.entries,
        hit_share: (asked > 0).then(|| share(of("hit"), asked)),
        outcomes: outcomes.iter().map(|(word, it)| ((*word).to_owned(), (*it).into())).collect(),
    })
}

/// Three decimals are as much as anybody reads.
#[expect(clippy::cast_precision_loss, reason = "a share of counts, for people")]
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64 * 1000.0).round() / 1000.0
}

/// Looks at the counters now and then.
pub(crate) struct Sampling(pub(crate) Arc<Board>);

impl Sampling {
    async fn sample(&self) {
        let mut ticks = tokio::time::interval(BIN);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first one comes at once.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let Board { records, history, .. } = &*self.0;
            let tally = records.metrics.tally();
            let now = Timestamp::now();
            history.lock().unwrap_or_else(PoisonError::into_inner).close(tally, now);
        }
    }
}

#[async_trait]
impl BackgroundService for Sampling {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.sample() => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}
