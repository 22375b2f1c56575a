//! The servers behind the gateway: resolved and checked in the background, chosen for each
//! request, reached within bounded time.

mod websocket;

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    lb::{
        Backend, Backends, LoadBalancer,
        discovery::ServiceDiscovery,
        health_check::{HealthCheck, HttpHealthCheck},
        selection::RoundRobin,
    },
    prelude::HttpPeer,
    protocols::l4::socket::SocketAddr as PeerAddress,
    protocols::tls::CaType,
    upstreams::peer::{HttpUpstreamRequestPolicy, PeerOptions},
    utils::tls::CertKey,
};

use crate::{
    credential::Demand,
    refusal::{Reason, Refusal},
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
    /// Good checks until a server counts as healthy.
    pub healthy: usize,
    /// Bad checks until it does not.
    pub unhealthy: usize,
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
    servers: Arc<LoadBalancer<RoundRobin>>,
    options: PeerOptions,
    /// Keeps connections of upstreams with different trust apart in Pingora's pool, whose key
    /// leaves the CA out.
    group: u64,
}

impl Upstream {
    /// Prepares an upstream. `group` is a number of its own among all upstreams.
    ///
    /// # Errors
    /// When a health check cannot be set up.
    pub fn new(settings: Settings, group: u64) -> Result<Self, String> {
        let discovery = Resolver { servers: settings.servers.clone() };
        let mut servers =
            LoadBalancer::<RoundRobin>::from_backends(Backends::new(Box::new(discovery)));
        servers.update_frequency = Some(RESOLVE_EVERY);
        if let Some(health) = &settings.health {
            servers.set_health_check(health_check(&settings, health)?);
            servers.health_check_frequency = Some(health.interval);
            servers.parallel_health_check = true;
        }
        let options = peer_options(&settings);
        Ok(Self { settings, servers: Arc::new(servers), options, group })
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

    /// The set of servers, for the background service that keeps it current.
    #[must_use]
    pub fn servers(&self) -> Arc<LoadBalancer<RoundRobin>> {
        Arc::clone(&self.servers)
    }

    /// Addresses of its servers, as they were last resolved.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |backend: &Backend| match backend.addr {
            PeerAddress::Inet(address) => Some(address),
            PeerAddress::Unix(_) => None,
        };
        self.servers.backends().get_backend().iter().filter_map(address).collect()
    }

    /// Addresses of its healthy servers.
    #[must_use]
    pub fn healthy(&self) -> Vec<SocketAddr> {
        let backends = self.servers.backends();
        let all = backends.get_backend();
        let healthy = all.iter().filter(|backend| backends.ready(backend));
        let address = |backend: &Backend| match backend.addr {
            PeerAddress::Inet(address) => Some(address),
            PeerAddress::Unix(_) => None,
        };
        healthy.filter_map(address).collect()
    }

    /// Each of its servers as it was last resolved, and whether it is healthy.
    #[must_use]
    pub fn servers_now(&self) -> Vec<(SocketAddr, bool)> {
        let backends = self.servers.backends();
        let all = backends.get_backend();
        let server = |backend: &Backend| match backend.addr {
            PeerAddress::Inet(address) => Some((address, backends.ready(backend))),
            PeerAddress::Unix(_) => None,
        };
        all.iter().filter_map(server).collect()
    }

    /// Whether servers are asked how they are.
    #[must_use]
    pub const fn checks_health(&self) -> bool {
        self.settings.health.is_some()
    }

    /// Whether any server is known and healthy.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let backends = self.servers.backends();
        backends.get_backend().iter().any(|backend| backends.ready(backend))
    }

    /// A healthy server, with the route's own time-outs where it has any.
    ///
    /// # Errors
    /// `upstream_unavailable` at once when no server is healthy.
    pub fn peer(
        &self,
        read: Option<Duration>,
        write: Option<Duration>,
    ) -> Result<HttpPeer, Refusal> {
        let unavailable = || {
            let detail = format!("no healthy server in {}", self.settings.name);
            Refusal::new(Reason::UpstreamUnavailable, detail)
        };
        let backend = self.servers.select(b"", MAX_PROBES).ok_or_else(unavailable)?;
        let PeerAddress::Inet(address) = backend.addr else { return Err(unavailable()) };
        let tls = self.settings.tls.as_ref();
        let sni = tls.map_or_else(String::new, |tls| tls.server_name.0.clone());
        // An address that is resolved already: `HttpPeer::new` would resolve names in place.
        let mut peer = HttpPeer::new(address, tls.is_some(), sni);
        peer.options = self.options.clone();
        peer.options.read_timeout = read.or(peer.options.read_timeout);
        peer.options.write_timeout = write.or(peer.options.write_timeout);
        peer.client_cert_key = tls.and_then(|tls| tls.client.clone());
        peer.group_key = self.group;
        Ok(peer)
    }
}

const RESOLVE_EVERY: Duration = Duration::from_secs(10);
const MAX_PROBES: usize = 256;
/// What servers of HTTP/2 usually allow (RFC 9113, section 6.5.2, recommends no less).
const STREAMS_PER_CONNECTION: usize = 100;

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

fn health_check(
    settings: &Settings,
    health: &Health,
) -> Result<Box<dyn HealthCheck + Send + Sync>, String> {
    let tls = settings.tls.as_ref();
    let host = tls.map_or("localhost", |tls| tls.server_name.0.as_str());
    let mut check = HttpHealthCheck::new(host, tls.is_some());
    check.consecutive_success = health.healthy;
    check.consecutive_failure = health.unhealthy;
    // A new connection says more about the server, and belongs to no runtime that has ended.
    check.reuse_connection = false;
    check.peer_template.options = peer_options(settings);
    check.peer_template.options.total_connection_timeout = Some(health.timeout);
    check.peer_template.options.connection_timeout = Some(health.timeout);
    check.peer_template.options.read_timeout = Some(health.timeout);
    check
        .req
        .set_raw_path(health.path.as_bytes())
        .map_err(|error| format!("health.path: {error}"))?;
    check.validator = Some(Box::new(|response| {
        if response.status.is_success() {
            Ok(())
        } else {
            Err(pingora::Error::explain(
                pingora::ErrorType::CustomCode("health", response.status.as_u16()),
                "the health check's answer is no 2xx",
            ))
        }
    }));
    Ok(Box::new(check))
}

/// Resolves the configured names, off the request's way. A name that cannot be resolved for the
/// moment keeps the addresses it had.
struct Resolver {
    servers: Vec<(String, u16)>,
}

#[async_trait]
impl ServiceDiscovery for Resolver {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut failed = None;
        for (host, port) in &self.servers {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(addresses) => {
                    for address in preferred(addresses.collect()) {
                        backends.insert(Backend::new(&address.to_string())?);
                    }
                }
                Err(error) => failed = Some((host, error)),
            }
        }
        match failed {
            // An error keeps the balancer's set as it was.
            Some((host, error)) => Err(pingora::Error::because(
                pingora::ErrorType::ConnectError,
                format!("cannot resolve {host}"),
                error,
            )),
            None => Ok((backends, HashMap::new())),
        }
    }
}

/// The addresses of one name: of one family, so that a server with both is not asked twice as
/// often, and IPv4 first, since that is where services listen that say only `0.0.0.0`.
fn preferred(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    if v4.is_empty() { v6 } else { v4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(servers: Vec<(String, u16)>) -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            name: "core".into(),
            servers,
            tls: None,
            demand: Demand::Nothing,
            health: None,
            timeouts: Timeouts { connect: second, read: second, write: second, idle: second },
            http2: false,
            retries: 1,
        }
    }

    #[tokio::test]
    async fn servers_take_turns_and_have_bounded_time() {
        let servers = [1, 2].map(|port| ("127.0.0.1".to_owned(), port)).to_vec();
        let upstream = Upstream::new(settings(servers), 7).unwrap();
        assert!(!upstream.is_ready());
        assert_eq!(upstream.peer(None, None).unwrap_err().reason, Reason::UpstreamUnavailable);
        upstream.servers().update().await.unwrap();
        assert!(upstream.is_ready());
        let peers: BTreeSet<String> = (0..4)
            .map(|_| {
                let peer = upstream.peer(Some(Duration::from_secs(9)), None).unwrap();
                let options = &peer.options;
                assert!(options.verify_cert && options.verify_hostname);
                assert_eq!(options.read_timeout, Some(Duration::from_secs(9)));
                for bound in [options.write_timeout, options.total_connection_timeout] {
                    assert_eq!(bound, Some(Duration::from_secs(1)));
                }
                peer._address.to_string()
            })
            .collect();
        assert_eq!(peers.len(), 2);
    }

    /// Pingora verifies nothing at all when the SNI is empty, whatever its options say.
    #[tokio::test]
    async fn r25_pingora_empty_sni_never_turns_verification_off() {
        for empty in ["", " ", "\t"] {
            assert!(ServerName::new(empty).is_none(), "{empty:?}");
        }
        let tls =
            |name| Tls { server_name: ServerName::new(name).unwrap(), ca: None, client: None };
        for name in ["core", " core "] {
            // The name that is configured, whatever the server is called.
            let servers = vec![("127.0.0.1".to_owned(), 1)];
            let settings = Settings { tls: Some(tls(name)), ..settings(servers) };
            let upstream = Upstream::new(settings, 7).unwrap();
            upstream.servers().update().await.unwrap();
            let peer = upstream.peer(None, None).unwrap();
            assert!(peer.is_tls());
            assert_eq!(peer.sni, "core");
            assert!(peer.options.verify_cert && peer.options.verify_hostname);
        }
    }
}
