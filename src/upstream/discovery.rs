//! Which servers there are and how they are: names are resolved and servers asked in the
//! background, with Pingora's discovery and health checks.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora::{
    lb::{
        Backend,
        discovery::ServiceDiscovery,
        health_check::{HealthCheck, HttpHealthCheck},
    },
    protocols::l4::socket::SocketAddr as PeerAddress,
};

use super::{
    Health, Settings, peer_options,
    pool::{Moment, Pool},
};

/// Resolves the configured names, off the request's way. A name that cannot be resolved for the
/// moment keeps the addresses that it had.
pub(super) struct Resolver {
    servers: Vec<(String, u16)>,
    known: Mutex<Vec<Vec<SocketAddr>>>,
}

impl Resolver {
    pub(super) fn new(servers: Vec<(String, u16)>) -> Self {
        let known = Mutex::new(vec![Vec::new(); servers.len()]);
        Self { servers, known }
    }
}

#[async_trait]
impl ServiceDiscovery for Resolver {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut failed = None;
        for (at, (host, port)) in self.servers.iter().enumerate() {
            let asking = tokio::net::lookup_host((host.as_str(), *port));
            let found = match tokio::time::timeout(LOOK_UP, asking).await {
                Ok(Ok(found)) => preferred(found.collect()),
                Ok(Err(error)) => {
                    failed = Some(unresolved(host, error));
                    continue;
                }
                Err(late) => {
                    failed = Some(unresolved(host, late));
                    continue;
                }
            };
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.get_mut(at) {
                *known = found;
            }
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).concat();
        match failed {
            Some(error) if known.is_empty() => Err(error),
            _ => {
                let backend = |address: SocketAddr| Backend::new(&address.to_string());
                let backends = known.into_iter().map(backend).collect::<pingora::Result<_>>()?;
                Ok((backends, HashMap::new()))
            }
        }
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "what Pingora's discovery returns")]
fn unresolved(
    host: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Box<pingora::Error> {
    let context = format!("cannot resolve {host}");
    pingora::Error::because(pingora::ErrorType::ConnectError, context, cause)
}

/// The addresses of one name: of one family, so that a server with both is not asked twice as
/// often, and IPv4 first, since that is where services listen that say only `0.0.0.0`.
fn preferred(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    if v4.is_empty() { v6 } else { v4 }
}

/// The address of one of ours.
pub(super) fn address(backend: &Backend) -> Option<SocketAddr> {
    match backend.addr {
        PeerAddress::Inet(address) => Some(address),
        PeerAddress::Unix(_) => None,
    }
}

/// Pingora's health check, whose outcome goes to the pool. It is the pool that counts, since it
/// knows servers for longer than one configuration lasts.
pub(super) struct Watched {
    check: HttpHealthCheck,
    name: Arc<str>,
    pool: Arc<Pool>,
    start: Instant,
}

impl Watched {
    pub(super) fn new(
        settings: &Settings,
        health: &Health,
        pool: Arc<Pool>,
        start: Instant,
    ) -> Result<Self, String> {
        let check = health_check(settings, health)?;
        Ok(Self { check, name: Arc::clone(&settings.name), pool, start })
    }
}

#[async_trait]
impl HealthCheck for Watched {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let outcome = self.check.check(target).await;
        let Some(address) = address(target) else { return Ok(()) };
        let now = Moment::at(Instant::now(), self.start);
        let (upstream, server) = (&self.name, address);
        match (self.pool.checked(address, outcome.is_ok(), now), outcome) {
            (Some(_), Err(error)) => {
                log::warn!(upstream:%, server:%; "the server fails its health check: {error}");
            }
            (Some(_), Ok(())) => {
                log::info!(upstream:%, server:%; "the server passes its health check again");
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn health_threshold(&self, _: bool) -> usize {
        1
    }
}

fn health_check(settings: &Settings, health: &Health) -> Result<HttpHealthCheck, String> {
    let tls = settings.tls.as_ref();
    let host = tls.map_or("localhost", |tls| tls.server_name.0.as_str());
    let mut check = HttpHealthCheck::new(host, tls.is_some());
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
    Ok(check)
}

/// For one name.
const LOOK_UP: Duration = Duration::from_secs(5);
