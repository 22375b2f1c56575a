//! The servers behind the gateway: resolved and checked in the background, chosen for each
//! request ([`pool`]), reached within bounded time.

mod discovery;
pub mod pool;

mod websocket;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use pingora::{
    connectors::TransportConnector,
    lb::Backends,
    prelude::HttpPeer,
    protocols::l4::socket::SocketAddr as PeerAddress,
    protocols::tls::CaType,
    upstreams::peer::{HttpUpstreamRequestPolicy, PeerOptions},
    utils::tls::CertKey,
};
use tokio::{sync::watch, task::JoinSet};

use self::{
    discovery::{Resolver, Watched},
    pool::{
        Balance, Consequence, Failure, InFlight, Moment, Pool, Rules, Server, Thresholds, Tried,
        Unavailable,
    },
};
use crate::{
    credential::Demand,
    refusal::{Reason, Refusal},
    telemetry::metrics::{ServerState, UpstreamCounters},
};

/// How an upstream is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in configuration and records.
    pub name: Arc<str>,
    /// `(host, port)` of each server.
    pub servers: Vec<(String, u16)>,
    /// TLS, when it is spoken.
    pub tls: Option<Tls>,
    /// What the upstream demands.
    pub demand: Demand,
    /// Active health check; without one a server counts as healthy while it is in the list.
    pub health: Option<Health>,
    /// Bounds of each step.
    pub timeouts: Timeouts,
    /// Whether HTTP/2 is spoken to it, and nothing else.
    pub http2: bool,
    /// Further servers that are tried when one cannot be reached.
    pub retries: usize,
    /// How servers are chosen, and when not.
    pub rules: Rules,
}

/// TLS towards an upstream.
#[derive(Clone)]
pub struct Tls {
    /// SNI and the name in the certificate; never empty (an empty one would switch Pingora's
    /// verification off).
    pub server_name: ServerName,
    /// A private CA.
    pub ca: Option<Arc<CaType>>,
    /// How the gateway introduces itself.
    pub client: Option<Arc<CertKey>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// A name that is not empty.
#[derive(Clone, Debug)]
pub struct ServerName(String);

impl ServerName {
    /// `None` for an empty name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (!name.trim().is_empty()).then(|| Self(name.trim().to_owned()))
    }
}

/// An active health check.
#[derive(Clone, Debug)]
pub struct Health {
    /// GET this path; 2xx is healthy.
    pub path: String,
    /// Time between checks.
    pub interval: Duration,
    /// Bound of one check.
    pub timeout: Duration,
    /// How many of them count.
    pub thresholds: Thresholds,
}

/// Bounds of each step.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// Between two reads; also until the first byte.
    pub read: Duration,
    /// Between two writes.
    pub write: Duration,
    /// An idle connection is kept this long.
    pub idle: Duration,
}

/// An upstream at work.
pub struct Upstream {
    settings: Settings,
    pool: Arc<Pool>,
    backends: Backends,
    /// A peer of this upstream, but for its address and the route's time-outs.
    peer: HttpPeer,
    /// Of every [`Moment`].
    start: Instant,
    counters: OnceLock<UpstreamCounters>,
}

impl Upstream {
    /// Prepares an upstream. `group` is a number of its own among all upstreams; it keeps
    /// connections of upstreams with different trust apart in Pingora's pool, whose key leaves the
    /// CA out. What the one `before` knows of servers goes on.
    ///
    /// # Errors
    /// When a health check cannot be set up.
    pub fn new(settings: Settings, group: u64, before: Option<&Self>) -> Result<Self, String> {
        let start = before.map_or_else(Instant::now, |before| before.start);
        let mut rules = settings.rules;
        rules.health = settings.health.as_ref().map(|health| health.thresholds);
        let pool = Arc::new(Pool::new(rules, before.map(|before| &*before.pool)));
        let mut backends = Backends::new(Box::new(Resolver::new(settings.servers.clone())));
        if let Some(health) = &settings.health {
            let watched = Watched::new(&settings, health, Arc::clone(&pool), start)?;
            backends.set_health_check(Box::new(watched));
        }
        let peer = peer(&settings, group);
        Ok(Self { settings, pool, backends, peer, start, counters: OnceLock::new() })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What it demands of a request.
    #[must_use]
    pub const fn demand(&self) -> &Demand {
        &self.settings.demand
    }

    /// Further tries when a server cannot be reached.
    #[must_use]
    pub const fn retries(&self) -> usize {
        self.settings.retries
    }

    /// How long it may be silent, where a route says nothing else.
    #[must_use]
    pub const fn read_timeout(&self) -> Duration {
        self.settings.timeouts.read
    }

    /// Whether HTTP/2 is spoken to it.
    #[must_use]
    pub const fn speaks_http2(&self) -> bool {
        self.settings.http2
    }

    /// Lets a request become a WebSocket, which no other request can.
    pub fn for_websocket(&self, peer: &mut HttpPeer) {
        websocket::prepare(peer, self.settings.timeouts.connect);
    }

    /// Counts in these from now on.
    pub fn count_in(&self, counters: UpstreamCounters) {
        // One configuration has one set of them.
        let _ = self.counters.set(counters);
    }

    /// What it is counted in, where it serves.
    #[must_use]
    pub fn counters(&self) -> Option<&UpstreamCounters> {
        self.counters.get()
    }

    /// Whether a server is chosen by the request's key.
    #[must_use]
    pub fn wants_key(&self) -> bool {
        self.pool.rules().balance == Balance::Hash
    }

    /// Its servers, and how they are.
    #[must_use]
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.pool.servers()
    }

    /// This moment, as its servers count.
    #[must_use]
    pub fn moment(&self, now: Instant) -> Moment {
        Moment::at(now, self.start)
    }

    /// Addresses of its servers, as they were last resolved.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers().iter().map(|server| server.address()).collect()
    }

    /// Addresses of the servers to which requests may go.
    #[must_use]
    pub fn healthy(&self) -> Vec<SocketAddr> {
        let now = self.moment(Instant::now());
        let servers = self.servers();
        servers.iter().filter(|it| it.is_usable(now)).map(|it| it.address()).collect()
    }

    /// How its servers are just now.
    #[must_use]
    pub fn states(&self) -> Vec<ServerState<'_>> {
        let now = self.moment(Instant::now());
        let state = |server: &Arc<Server>| ServerState {
            upstream: self.name(),
            server: server.address(),
            up: server.is_up() && !server.is_unreachable(),
            ejected: server.is_ejected(now),
            in_flight: server.in_flight(),
        };
        self.servers().iter().map(state).collect()
    }

    /// Whether servers are asked how they are.
    #[must_use]
    pub const fn checks_health(&self) -> bool {
        self.settings.health.is_some()
    }

    /// Whether any server is known and passes its health check.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.servers().iter().any(|server| server.is_up())
    }

    /// Whether requests can go to any server just now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.pool.is_usable(self.moment(Instant::now()))
    }

    /// Chooses a server for a request with this key, other than those it has been to, and counts
    /// the request there until the answer is dropped.
    ///
    /// # Errors
    /// `upstream_unavailable` at once when no server can be had.
    pub fn choose(
        &self,
        now: Instant,
        key: Option<u64>,
        tried: &Tried,
    ) -> Result<InFlight, Refusal> {
        self.pool.choose(self.moment(now), key, tried).map_err(|why| self.unavailable(why))
    }

    /// How a server is reached, with the route's own time-outs where it has any.
    #[must_use]
    pub fn peer(
        &self,
        server: &Server,
        read: Option<Duration>,
        write: Option<Duration>,
    ) -> HttpPeer {
        let mut peer = self.peer.clone();
        peer._address = PeerAddress::Inet(server.address());
        peer.options.read_timeout = read.or(peer.options.read_timeout);
        peer.options.write_timeout = write.or(peer.options.write_timeout);
        peer
    }

    /// Takes one further try out of the budget, if it has one and there is a server for it.
    ///
    /// # Errors
    /// What is missing.
    pub fn take_retry(&self, now: Instant, tried: &Tried) -> Result<(), NoRetry> {
        let now = self.moment(now);
        if !self.pool.has_another(now, tried) {
            return Err(NoRetry::NoServer);
        }
        self.pool.may_retry(now).then_some(()).ok_or(NoRetry::OverBudget)
    }

    /// A server answered a request; whether that was no failure.
    pub fn answered(&self, server: &Server, status: u16, now: Instant) -> bool {
        let failed = matches!(status, 502..=504);
        if failed {
            self.failed(server, Failure::Status, now);
        } else {
            Pool::served(server, self.moment(now));
        }
        !failed
    }

    /// A server failed a request.
    pub fn failed(&self, server: &Server, failure: Failure, now: Instant) {
        let Some(consequence) = self.pool.failed(server, failure, self.moment(now)) else { return };
        let (upstream, address) = (self.name(), server.address());
        match consequence {
            Consequence::Unreachable => {
                log::warn!(upstream:%, server:% = address; "the server cannot be connected to: it gets no requests until it can");
            }
            Consequence::Ejected(time) => {
                log::warn!(upstream:%, server:% = address; "the server fails requests: it gets none for {time:?}");
            }
        }
        if let Some(counters) = self.counters() {
            counters.ejected(consequence);
        }
    }

    /// Resolves its names once.
    ///
    /// # Errors
    /// When no name resolves; the servers stay those that they were.
    pub async fn resolve(&self) -> Result<(), String> {
        let now = || self.moment(Instant::now());
        let set = |found: Arc<std::collections::BTreeSet<_>>| {
            self.pool.set(found.iter().filter_map(discovery::address), now());
        };
        self.backends.update(set).await.map_err(|error| error.to_string())
    }

    /// Asks every server once how it is.
    pub async fn check(&self) {
        self.backends.run_health_check(true).await;
    }

    /// Keeps what is known of servers fresh until it is told to stop.
    pub async fn keep(&self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.keep_resolved() => {}
            () = self.keep_checked() => {}
            () = self.keep_trying() => {}
        }
    }

    async fn keep_resolved(&self) {
        loop {
            let known = self.addresses();
            tokio::time::sleep(if known.is_empty() { RESOLVE_AGAIN } else { RESOLVE_EVERY }).await;
            if let Err(error) = self.resolve().await {
                log::debug!(upstream:% = self.name(); "names cannot be resolved: {error}");
            }
            if self.addresses() != known {
                self.check().await;
            }
        }
    }

    async fn keep_checked(&self) {
        let Some(health) = &self.settings.health else { return std::future::pending().await };
        loop {
            self.check().await;
            tokio::time::sleep(health.interval).await;
        }
    }

    /// Tries to connect to servers that could not be connected to, so that no client has to. Looks
    /// for them all the time and is not told of them: a request that began under the configuration
    /// before this one may be who finds out, and tells it to the upstream of that one.
    async fn keep_trying(&self) {
        let connector = Arc::new(TransportConnector::new(None));
        loop {
            let mut tries = JoinSet::new();
            for server in self.servers().iter().filter(|server| server.is_unreachable()) {
                let (server, peer) = (Arc::clone(server), self.peer(server, None, None));
                let connector = Arc::clone(&connector);
                tries.spawn(
                    async move { connector.new_stream(&peer).await.is_ok().then_some(server) },
                );
            }
            while let Some(tried) = tries.join_next().await {
                if let Ok(Some(server)) = tried
                    && server.reached(self.moment(Instant::now()))
                {
                    let (upstream, server) = (self.name(), server.address());
                    log::info!(upstream:%, server:%; "the server can be connected to again");
                }
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    fn unavailable(&self, why: Unavailable) -> Refusal {
        let name = self.name();
        let (detail, after) = match why {
            Unavailable::Unknown => (format!("no server of {name} is known"), None),
            Unavailable::Unwell(after) => (format!("no healthy server in {name}"), after),
            Unavailable::Full => {
                let detail = format!("every server of {name} has as many requests as it may");
                (detail, Some(Duration::from_secs(1)))
            }
        };
        let refusal = Refusal::new(Reason::UpstreamUnavailable, detail);
        after.into_iter().fold(refusal, Refusal::retry_after)
    }
}

/// What servers of HTTP/2 usually allow (RFC 9113, section 6.5.2, recommends no less).
const STREAMS_PER_CONNECTION: usize = 100;

/// Why a request is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRetry {
    /// Too many were of late.
    OverBudget,
    /// There is no other server.
    NoServer,
}

fn peer(settings: &Settings, group: u64) -> HttpPeer {
    let tls = settings.tls.as_ref();
    let sni = tls.map_or_else(String::new, |tls| tls.server_name.0.clone());
    // An address that is resolved already: `HttpPeer::new` would resolve names in place.
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut peer = HttpPeer::new(nowhere, tls.is_some(), sni);
    peer.options = peer_options(settings);
    peer.client_cert_key = tls.and_then(|tls| tls.client.clone());
    peer.group_key = group;
    peer
}

fn peer_options(settings: &Settings) -> PeerOptions {
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(settings.timeouts.connect);
    options.total_connection_timeout = Some(settings.timeouts.connect);
    options.read_timeout = Some(settings.timeouts.read);
    options.write_timeout = Some(settings.timeouts.write);
    options.idle_timeout = Some(settings.timeouts.idle);
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    if settings.http2 {
        options.set_http_version(2, 2);
        options.max_h2_streams = STREAMS_PER_CONNECTION;
    }
    options.ca = settings.tls.as_ref().and_then(|tls| tls.ca.clone());
    options
}

/// How often names are resolved.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// The same while no server is known.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// How often a server is tried that could not be connected to.
const TRY_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
