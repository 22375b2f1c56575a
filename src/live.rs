//! The configuration at work: what requests are decided by, and the tasks that run for it.
//!
//! A request takes the present [`Live`] when its head is whole and keeps it to its end, so that
//! nothing is decided by two configurations. Another one takes its place whole ([`reload`]); the
//! tasks of the one before end then, and its parts when the last request has left them.

pub mod reload;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    admission::State,
    assembly::Assembly,
    config::Loaded,
    jwks::Jwks,
    oidc::Provider,
    perimeter::Perimeter,
    sts::issuer::watch::KeyFiles,
    telemetry::{
        metrics::{Door, RouteCounters, Scrape},
        record::Records,
        trace::{self, Exporter, Tracer},
    },
    time::Timestamp,
    watch::Watch,
};

/// A configuration at work.
pub struct Live {
    /// As it was read.
    pub loaded: Arc<Loaded>,
    /// What requests are decided by.
    pub state: Arc<State>,
    /// Where they are counted.
    pub routes: Arc<RouteCounters>,
    /// The keys of issuers, by what they are issuers of.
    pub keys: Vec<(&'static str, Arc<Jwks>)>,
    /// Upstreams whose documents are compared with the routes.
    pub watches: Vec<Arc<Watch>>,
    /// The watch over ways around the gateway.
    pub perimeter: Option<Arc<Perimeter>>,
    /// Where requests are traced.
    pub tracer: Option<Arc<Tracer>>,
    provider: Option<Arc<Provider>>,
    key_files: Option<KeyFiles>,
}

/// The tasks of a configuration; they end when this is dropped.
pub struct Tasks(watch::Sender<bool>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Live {
    /// Puts a configuration's parts together. Nothing runs yet.
    #[must_use]
    pub fn new(loaded: &Arc<Loaded>, assembly: Assembly, records: &Arc<Records>) -> Self {
        let Assembly {
            state,
            iam_keys,
            sts_keys,
            key_files,
            provider,
            perimeter,
            watches,
            tracing,
        } = assembly;
        if let Some(sts) = &state.sts {
            let seconds = records.metrics.exchanges.seconds.clone();
            sts.time_to(move |taken| seconds.observe(taken.as_secs_f64()));
            let records = Arc::clone(records);
            sts.report_to(move |issuance| records.issued(issuance));
        }
        for upstream in &state.upstreams {
            upstream.count_in(records.metrics.upstreams.of(upstream.name()));
        }
        let routes = &loaded.config.routes;
        let labels: Vec<&str> = routes.iter().map(|route| route.path.as_str()).collect();
        let keys = [("iam", iam_keys), ("sts", sts_keys)];
        Self {
            loaded: Arc::clone(loaded),
            state: Arc::new(state),
            routes: Arc::new(records.metrics.routes(&labels)),
            keys: keys.into_iter().filter_map(|(name, keys)| Some((name, keys?))).collect(),
            watches,
            perimeter,
            tracer: tracing.and_then(|tracing| tracer(*tracing, records)),
            provider,
            key_files,
        }
    }

    /// Gets what the first request needs: addresses of every upstream, whether they answer, and
    /// the keys. An issuer that is down does not keep public routes from being served: after a
    /// while it goes on without, and says so. Keys that are known already are not waited for.
    pub async fn prepare(&self) {
        let fetch = async {
            for upstream in &self.state.upstreams {
                if let Err(error) = upstream.resolve().await {
                    log::warn!(upstream:% = upstream.name(); "no server yet: {error}");
                }
                upstream.check().await;
            }
            for (name, keys) in &self.keys {
                while let Err(error) = keys.refresh().await {
                    log::warn!("no {name} keys yet: {error}");
                    if keys.current().is_some() {
                        // Those of the configuration before.
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
            if let Some(provider) = &self.provider {
                // A login will ask again.
                let _ = provider.warm().await;
            }
        };
        if tokio::time::timeout(PREPARATION, fetch).await.is_err() {
            log::error!("without the keys of every issuer; not ready until they are read");
        }
    }

    /// Issuers whose keys are not known.
    pub fn without_keys(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|(_, keys)| keys.current().is_none()).map(|(name, _)| *name)
    }

    /// Keeps everything fresh until the answer is dropped. Called once, inside a runtime.
    #[must_use]
    pub fn start(self: &Arc<Self>, records: &Arc<Records>) -> Tasks {
        let (tasks, stop) = watch::channel(false);
        for upstream in &self.state.upstreams {
            let (upstream, stop) = (Arc::clone(upstream), stop.clone());
            tokio::spawn(async move { upstream.keep(stop).await });
        }
        for (_, keys) in &self.keys {
            tokio::spawn(Arc::clone(keys).keep_fresh(stop.clone()));
        }
        for watch in &self.watches {
            let (watch, stop) = (Arc::clone(watch), stop.clone());
            tokio::spawn(async move { watch.keep(stop).await });
        }
        if let Some(perimeter) = &self.perimeter {
            let (perimeter, stop) = (Arc::clone(perimeter), stop.clone());
            tokio::spawn(async move { perimeter.keep(stop).await });
        }
        if self.key_files.is_some() {
            let (live, stop) = (Arc::clone(self), stop.clone());
            tokio::spawn(async move {
                if let Some(files) = &live.key_files {
                    files.keep_read(stop).await;
                }
            });
        }
        if self.state.audit_required {
            tokio::spawn(resume(Arc::clone(records), stop));
        }
        Tasks(tasks)
    }

    /// What its parts have counted, and how they are, handed to `to`.
    pub fn scrape<T>(&self, records: &Records, to: impl FnOnce(&Scrape<'_>) -> T) -> T {
        let state = &self.state;
        let upstreams: Vec<_> = state
            .upstreams
            .iter()
            .map(|upstream| (&**upstream.name(), upstream.is_usable()))
            .collect();
        let servers: Vec<_> = state.upstreams.iter().flat_map(|it| it.states()).collect();
        let now = Timestamp::now();
        let age = |keys: &Jwks| keys.last_success().map(|read| now.since(read).as_secs());
        let jwks: Vec<_> = self.keys.iter().map(|(name, keys)| (*name, age(keys))).collect();
        let drift: Vec<_> =
            self.watches.iter().map(|watch| (watch.upstream(), watch.found())).collect();
        let perimeter = self.perimeter.as_ref().and_then(|perimeter| perimeter.found());
        let exchanges = state.sts.as_ref().map(|sts| sts.outcomes().read());
        let sessions = state.browsers.as_ref().map(|browsers| &browsers.sessions);
        let refreshes = sessions.map(|sessions| sessions.refreshes());
        let checks = sessions.map(|sessions| sessions.checks());
        let door = state
            .sts
            .as_ref()
            .map(|sts| Door { entries: sts.kept(), breaker_open: !sts.breaker_is_closed() });
        let lookups = state.lookups.outcomes();
        to(&Scrape {
            lookups: &lookups,
            exchanges: exchanges.as_ref().map_or(&[], |outcomes| &outcomes[..]),
            refreshes: refreshes.as_ref().map_or(&[], |outcomes| &outcomes[..]),
            checks: checks.as_ref().map_or(&[], |outcomes| &outcomes[..]),
            door,
            dropped: &[("access", records.access.dropped()), ("audit", records.audit.dropped())],
            written: &[("access", records.access.writes()), ("audit", records.audit.writes())],
            upstreams: &upstreams,
            servers: &servers,
            perimeter: perimeter.as_deref(),
            jwks: &jwks,
            drift: &drift,
            session_store: sessions.and_then(|sessions| sessions.is_up()),
        })
    }
}

/// Another exporter for each configuration: that of the one before sends what it has and ends when
/// the last of its requests is over.
fn tracer((sample, settings): (f64, trace::Settings), records: &Records) -> Option<Arc<Tracer>> {
    let exporter = Exporter::start(settings, records.metrics.traces.clone());
    // Without traces rather than not at all.
    let failed = |error: &_| log::error!("nothing is traced: {error}");
    Some(Arc::new(Tracer::new(sample, exporter.inspect_err(failed).ok()?)))
}

/// Finds out when audit records can be written again.
async fn resume(records: Arc<Records>, mut stop: watch::Receiver<bool>) {
    let resuming = async {
        loop {
            tokio::time::sleep(RESUME_EVERY).await;
            records.resume().await;
        }
    };
    tokio::select! {
        () = resuming => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// How long a configuration waits for keys before it goes on without them.
const PREPARATION: Duration = Duration::from_secs(10);
/// How often it is tried whether audit records can be written again.
const RESUME_EVERY: Duration = Duration::from_secs(1);
