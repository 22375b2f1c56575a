//! Another configuration takes the place of the one at work: on SIGHUP, and when a file of it
//! changes.
//!
//! It is read, checked and put together beside the one at work, gets its keys and addresses, and
//! then takes over between two requests. When anything is wrong with it, every fault is told and
//! the one at work goes on.

mod print;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::{server::ShutdownWatch, services::background::BackgroundService};
use tokio::signal::unix::{SignalKind, signal};

use self::print::{Print, print, print_of, steady};
use super::{Live, Tasks};
use crate::{
    admission::State,
    assembly::Assembly,
    config::{Config, Loaded},
    telemetry::record::Records,
    time::Timestamp,
};

/// Reads the configuration and makes its parts, which take the place of those given.
pub type Read = dyn Fn(Option<&State>) -> Reading + Send + Sync;

/// What came of reading the configuration.
pub struct Reading {
    /// Every file that was looked at.
    pub files: BTreeSet<PathBuf>,
    /// The configuration and its parts, or every fault, one a line.
    pub made: Result<(Loaded, Assembly), Vec<String>>,
}

/// How the configuration is read again, and what it was read from.
pub struct Again {
    read: Arc<Read>,
    files: BTreeSet<PathBuf>,
    /// Of the files, at the start.
    print: Print,
}

impl Again {
    /// `files` were read just now; what changes from here on is another configuration.
    #[must_use]
    pub fn new(read: Arc<Read>, files: BTreeSet<PathBuf>) -> Self {
        let print = print_of(&files);
        Self { read, files, print }
    }
}

/// What the listeners do with a configuration that is about to take over.
pub trait Listeners: Send + Sync {
    /// Makes ready what they take from it, certificates above all. What it returns is called when
    /// it takes over.
    ///
    /// # Errors
    /// Each fault with its key path.
    fn prepare(&self, config: &Config) -> Result<Box<dyn FnOnce() + Send>, Vec<String>>;
}

/// Keeps the configuration at work as its files are.
pub struct Reloading {
    live: Arc<ArcSwap<Live>>,
    records: Arc<Records>,
    again: Again,
    listeners: Arc<dyn Listeners>,
    fixed: Vec<(&'static str, String)>,
}

impl Reloading {
    /// `config` is what is at work.
    #[must_use]
    pub fn new(
        live: Arc<ArcSwap<Live>>,
        records: Arc<Records>,
        again: Again,
        listeners: Arc<dyn Listeners>,
        config: &Config,
    ) -> Self {
        Self { live, records, again, listeners, fixed: fixed(config) }
    }

    async fn keep(&self) {
        self.records.metrics.reloads.began(Timestamp::now());
        let mut _tasks = self.live.load_full().start(&self.records);
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            log::error!("SIGHUP cannot be received; the configuration is read no more");
            return std::future::pending().await;
        };
        let mut files = self.again.files.clone();
        let (mut seen, mut judged) = (self.again.print, self.again.print);
        loop {
            let why = tokio::select! {
                received = hangup.recv() => match received {
                    Some(()) => "on SIGHUP",
                    None => return std::future::pending().await,
                },
                () = tokio::time::sleep(INTERVAL) => {
                    let now = print(&files).await;
                    // Twice the same, so that a file half written is not taken for what was meant.
                    let settled = std::mem::replace(&mut seen, now) == now;
                    if !settled || now == judged {
                        continue;
                    }
                    "since its files changed"
                }
            };
            let read = self.reload(why, &files).await;
            if let Some(started) = read.tasks {
                _tasks = started;
            }
            (files, judged) = (read.watched, read.print);
            seen = judged;
        }
    }

    /// `watched` are the files that the one at work was read from, and those that the last attempt
    /// would have been read from.
    async fn reload(&self, why: &str, watched: &BTreeSet<PathBuf>) -> Reloaded {
        let (read, before) = (Arc::clone(&self.again.read), self.live.load_full());
        let (state, known) = (Arc::clone(&before.state), watched.clone());
        let reading = move || steady(|| read(Some(&state)), known);
        let Ok(reading) = tokio::task::spawn_blocking(reading).await else {
            let watched = watched.clone();
            let refused = Refused { watched, print: Print::default() };
            return self.refuse(why, refused, &["it could not be read".to_owned()]);
        };
        // What is wrong may be put right in a file that is new, or in one that was not read.
        let refused = Refused { watched: reading.looked_at, print: reading.print_of_looked_at };
        let (loaded, assembly) = match reading.made {
            Ok(made) => made,
            Err(faults) => return self.refuse(why, refused, &faults),
        };
        let loaded = Arc::new(loaded);
        let config = &loaded.config;
        let moved: Vec<_> = moved(&self.fixed, &fixed(config)).map(restart_for).collect();
        if !moved.is_empty() {
            return self.refuse(why, refused, &moved);
        }
        let take_over = match self.listeners.prepare(config) {
            Ok(take_over) => take_over,
            Err(faults) => return self.refuse(why, refused, &faults),
        };
        let next = Arc::new(Live::new(&loaded, assembly, &self.records));
        for (name, keys) in &next.keys {
            let known = before.keys.iter().find(|(known, _)| known == name);
            if let Some((_, known)) = known {
                keys.take_over(known);
            }
        }
        next.prepare().await;
        let unknown: Vec<_> =
            next.without_keys().map(|name| format!("no {name} keys can be read")).collect();
        if !unknown.is_empty() {
            return self.refuse(why, refused, &unknown);
        }
        let tasks = next.start(&self.records);
        take_over();
        let before = self.live.swap(next);
        let metrics = &self.records.metrics;
        before.scrape(&self.records, |scrape| metrics.close_generation(scrape));
        metrics.reloads.taken(Timestamp::now());
        for warning in loaded.warnings() {
            log::warn!("{warning}");
        }
        log::info!(
            "read the configuration again {why}: {} routes to {} upstreams are at work",
            config.routes.len(),
            config.upstreams.len(),
        );
        Reloaded { watched: reading.files, print: reading.print, tasks: Some(tasks) }
    }

    fn refuse(&self, why: &str, refused: Refused, faults: &[String]) -> Reloaded {
        for fault in faults {
            log::error!("{fault}");
        }
        log::error!(
            "read the configuration again {why}, and it is of no use ({} faults): the one from \
             before stays at work",
            faults.len(),
        );
        self.records.metrics.reloads.refused();
        let Refused { watched, print } = refused;
        Reloaded { watched, print, tasks: None }
    }
}

/// What is watched after a configuration was of no use.
struct Refused {
    watched: BTreeSet<PathBuf>,
    print: Print,
}

struct Reloaded {
    /// Files whose change is another configuration.
    watched: BTreeSet<PathBuf>,
    /// Of these files as they were read.
    print: Print,
    /// Of the configuration that took over.
    tasks: Option<Tasks>,
}

#[async_trait]
impl BackgroundService for Reloading {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.keep() => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// What is settled when the process starts, as it is written.
fn fixed(config: &Config) -> Vec<(&'static str, String)> {
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| (listener.address, if listener.tls.is_some() { "TLS" } else { "plain" }))
        .collect();
    let session = config.session.as_ref();
    vec![
        ("listeners", format!("{listeners:?}")),
        ("admin", format!("{:?}", config.admin)),
        ("limits.header_timeout", format!("{:?}", config.limits.header_timeout)),
        ("limits.connections_per_client", config.limits.connections_per_client.to_string()),
        ("trusted_proxies", format!("{:?}", config.trusted_proxies)),
        ("session.store", format!("{:?}", session.map(|session| &session.store))),
        ("session.idle_timeout", format!("{:?}", session.map(|session| session.idle_timeout))),
        ("logs", format!("{:?}", config.logs)),
        ("metrics", format!("{:?}", config.metrics)),
        ("server", format!("{:?}", config.server)),
    ]
}

fn moved<'a>(
    before: &'a [(&'static str, String)],
    now: &'a [(&'static str, String)],
) -> impl Iterator<Item = &'static str> {
    before.iter().zip(now).filter(|(before, now)| before != now).map(|((key, _), _)| *key)
}

fn restart_for(key: &'static str) -> String {
    format!("{key}: cannot change while the gateway runs; restart it, or put back what it was")
}

/// How often files are looked at; a change counts after two of these.
const INTERVAL: Duration = Duration::from_secs(1);
