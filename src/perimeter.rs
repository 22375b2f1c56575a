//! Upstreams that check nothing themselves (`UNSAFE_NONE`, `UNSAFE_STATIC`): what this gateway
//! answers for, said in words, and whether somebody can reach such an upstream around it.
//!
//! The second is watched while the gateway runs, as far as it can be known from here: whether
//! this machine itself offers the upstream to others ([`sockets`]), and whether an address that
//! nobody should get an answer from gives one. It tells and closes nothing; that is for the
//! network to do.

mod sockets;
mod words;

use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use url::Url;

use crate::{time::Timestamp, upstream::Upstream};

pub use self::words::responsibility;

/// Watches whether upstreams that check nothing can be reached around the gateway.
pub struct Perimeter {
    settings: Settings,
    client: reqwest::Client,
    found: ArcSwapOption<Findings>,
}

/// What is watched, and how.
pub struct Settings {
    /// Those that check nothing.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Where this gateway itself listens.
    pub own: Vec<SocketAddr>,
    /// URLs that must not answer.
    pub probes: Vec<Url>,
    /// Pause between two checks.
    pub interval: Duration,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// When.
    pub checked: Timestamp,
    /// Every way around the gateway.
    pub breaches: BTreeSet<Breach>,
}

/// A way around the gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// A port of this machine, offered to others.
    Listener {
        /// The upstream's name.
        upstream: Arc<str>,
        /// Where it listens.
        address: SocketAddr,
    },
    /// An address that must not answer, and does.
    Probe {
        /// Host and port of the URL, without what else it may hold.
        host: String,
        /// The answer's status.
        status: u16,
    },
}

impl Breach {
    /// The word in the metric, for each kind.
    pub const WAYS: [&'static str; 2] = ["listener", "probe"];

    /// The word in the metric.
    #[must_use]
    pub const fn way(&self) -> &'static str {
        match self {
            Self::Listener { .. } => "listener",
            Self::Probe { .. } => "probe",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener { upstream, address } => write!(
                f,
                "{upstream} checks nothing itself and listens on {address} of this machine, where \
                 others may reach it around this gateway; let it listen on loopback alone"
            ),
            Self::Probe { host, status } => write!(
                f,
                "{host} answers ({status}), and perimeter.probe says that nobody may get an \
                 answer there: whoever can reach it is around this gateway"
            ),
        }
    }
}

impl Perimeter {
    /// Checks nothing yet.
    ///
    /// # Errors
    /// When the client for the probes cannot be made.
    pub fn new(settings: Settings) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PROBE_TIMEOUT)
            // A server with a bad certificate can be reached no less, and is sent nothing.
            .tls_danger_accept_invalid_certs(true)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { settings, client, found: ArcSwapOption::const_empty() })
    }

    /// What the last check found; `None` while there was none.
    #[must_use]
    pub fn found(&self) -> Option<Arc<Findings>> {
        self.found.load_full()
    }

    /// Checks until `shutdown` turns true or its sender is gone, at once and after each interval.
    pub async fn keep(&self, mut shutdown: tokio::sync::watch::Receiver<bool>) {
        let watching = async {
            loop {
                self.check().await;
                tokio::time::sleep(self.settings.interval).await;
            }
        };
        tokio::select! {
            () = watching => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    /// Checks once; what has changed since the last check is a line in the log.
    async fn check(&self) {
        let mut breaches = self.listeners().await;
        for probe in &self.settings.probes {
            breaches.extend(self.probe(probe).await);
        }
        let before = self.found.load_full().map(|found| found.breaches.clone()).unwrap_or_default();
        for breach in breaches.difference(&before) {
            log::error!("perimeter: {breach}");
        }
        for breach in before.difference(&breaches) {
            log::info!("perimeter: no longer so: {breach}");
        }
        self.found.store(Some(Arc::new(Findings { checked: Timestamp::now(), breaches })));
    }

    /// Where upstreams are offered to others by this very machine. An upstream on another machine
    /// is not seen from here.
    async fn listeners(&self) -> BTreeSet<Breach> {
        let listening = sockets::listening().await;
        let mut breaches = BTreeSet::new();
        for upstream in &self.settings.upstreams {
            for server in upstream.addresses() {
                let offered = sockets::offered(server, &listening, &self.settings.own);
                let found = offered.into_iter().map(|address| Breach::Listener {
                    upstream: Arc::clone(upstream.name()),
                    address,
                });
                breaches.extend(found);
            }
        }
        breaches
    }

    /// Any answer of HTTP is one, whatever it says.
    async fn probe(&self, url: &Url) -> Option<Breach> {
        let answer = self.client.get(url.clone()).send().await.ok()?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        Some(Breach::Probe { host: format!("{host}:{port}"), status: answer.status().as_u16() })
    }
}

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
