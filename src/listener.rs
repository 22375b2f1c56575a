//! Where clients and operators come in: TCP and TLS listeners, the admin listener, start and end
//! of the process.

mod admin;
mod guarded;
mod secured;
pub(crate) mod tls;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    listeners::ListenerConfig,
    protocols::l4::stream::L4BufferSettings,
    server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, configuration::ServerConf},
    services::{background::background_service, listening::Service},
};
use pingora_proxy::http_proxy;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    admin::Admin,
    guarded::{Guard, Guarded},
    tls::Tls,
};
use crate::{
    assembly::Assembly,
    config::{self, Config},
    connection::{Patience, crowd::Crowd},
    gateway::Gateway,
    live::{
        Live,
        reload::{Again, Listeners, Reloading},
    },
    telemetry::record::Records,
};

/// Why the gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A listener's TLS files are of no use.
    #[error("{key_path}: {message}")]
    Tls {
        /// Which listener.
        key_path: String,
        /// Why.
        message: String,
    },
    /// The runtime for the first fetch cannot be made.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Serves until a signal ends it, and returns once requests under way had their time.
///
/// # Errors
/// [`StartError`], before anything listens.
pub fn serve(
    config: &Config,
    assembly: Assembly,
    again: Again,
    records: &Arc<Records>,
) -> Result<(), StartError> {
    for address in addresses(config) {
        // Pingora would try for half a minute and then live on without the listener (#667).
        TcpListener::bind(address).map_err(|cause| StartError::Bind { address, cause })?;
    }
    let threads = config
        .server
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1);
    let conf = ServerConf {
        threads,
        max_retries: tries(config),
        grace_period_seconds: Some(config.server.grace.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);

    let live = Arc::new(Live::new(config, assembly, records));
    prepare(&live)?;
    let live = Arc::new(ArcSwap::new(live));
    let draining = Arc::new(AtomicBool::new(false));

    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(H2_IDLE);
    let gateway = Gateway::new(Arc::clone(&live), Arc::clone(records));
    let mut proxy = http_proxy(&conf, gateway);
    proxy.server_options = Some(options);
    let guard = guard(config, records);
    let doors = doors(config)?;
    let guarded = Guarded::new(proxy, guard, Arc::clone(&doors));
    let mut proxy = Service::new("gateway".to_owned(), guarded);
    for listener in &config.listeners {
        let buffer = L4BufferSettings::default().read(READ_BUFFER);
        proxy.add_listener(ListenerConfig::tcp(listener.address.to_string()).l4_buffer(buffer));
    }
    server.add_service(proxy);
    let reloading = Reloading::new(
        Arc::clone(&live),
        Arc::clone(records),
        again,
        Arc::new(Certificates(doors)),
        config,
    );
    server.add_service(background_service("configuration", reloading));
    let admin = Admin::new(Arc::clone(&live), Arc::clone(records), Arc::clone(&draining));
    let mut admin = Service::new("admin".to_owned(), admin);
    admin.add_tcp(&config.admin.address.to_string());
    server.add_service(admin);

    for listener in &config.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        log::info!("listening on {scheme}://{}", listener.address);
    }
    log::info!("admin listener on http://{}", config.admin.address);
    let signals = Signals {
        draining,
        records: Arc::clone(records),
        live: Arc::clone(&live),
        delay: config.server.drain_delay,
        grace: config.server.grace,
    };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    close(records, &live);
    Ok(())
}

/// Writes and sends what is queued.
fn close(records: &Records, live: &ArcSwap<Live>) {
    records.access.close();
    records.audit.close();
    if let Some(tracer) = &live.load().tracer {
        tracer.close();
    }
}

/// Pingora's bound of tries, however few are configured at the start.
const MOST_TRIES: usize = 16;
/// Idle upstream connections kept, for each thread.
const KEPT_CONNECTIONS: usize = 512;
/// Closing a connection now and then frees what it has gathered, and lets balancers balance.
const REQUESTS_PER_CONNECTION: u32 = 10_000;
/// Pingora keeps idle HTTP/2 connections for ever (#563).
const H2_IDLE: Duration = Duration::from_mins(2);
/// For a request that was on its way when its listener closed.
const LAST_ARRIVALS: Duration = Duration::from_millis(300);
/// Of each client connection; Pingora's own are 64 KiB, which ten thousand idle clients make
/// 640 MiB of. A larger head or body takes more reads.
const READ_BUFFER: usize = 8 * 1024;
/// Until a new connection's first byte, and between two bytes of an HTTP/2 frame.
const SILENCE: Duration = Duration::from_mins(1);

/// What clients may cost before they have asked for anything.
fn guard(config: &Config, records: &Arc<Records>) -> Guard {
    let limits = &config.limits;
    let crowd = Crowd::new(limits.connections_per_client, &config.trusted_proxies);
    let patience = Patience { head: limits.header_timeout, silence: SILENCE };
    Guard::new(Arc::new(crowd), Arc::clone(records), patience)
}

/// Tries of one request at the upstream that allows most; each counts its own. A reload may allow
/// more than the start did.
fn tries(config: &Config) -> usize {
    let most = config.upstreams.values().map(|upstream| upstream.retries).max();
    (1 + most.unwrap_or_default()).max(MOST_TRIES)
}

fn addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    let listeners = config.listeners.iter().map(|listener| listener.address);
    listeners.chain(std::iter::once(config.admin.address))
}

/// Gets keys and addresses before anything listens, so that the first request finds them.
fn prepare(live: &Live) -> Result<(), StartError> {
    // A runtime of its own: Pingora makes its own later and refuses to be inside another.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(live.prepare());
    Ok(())
}

/// The listeners, in their order: where, and what they encrypt with.
type Doors = Arc<[(SocketAddr, Option<Tls>)]>;

fn doors(config: &Config) -> Result<Doors, StartError> {
    let door = |(at, listener): (usize, &config::Listener)| {
        let Some(files) = &listener.tls else { return Ok((listener.address, None)) };
        let tls = tls::read(files).and_then(|material| {
            Tls::new(material).map_err(|message| ("certificate".to_owned(), message))
        });
        let tls = tls.map_err(|(key, message)| StartError::Tls {
            key_path: format!("listeners[{at}].tls.{key}"),
            message,
        })?;
        Ok((listener.address, Some(tls)))
    };
    config.listeners.iter().enumerate().map(door).collect()
}

/// What a reload replaces of them.
struct Certificates(Doors);

impl Listeners for Certificates {
    fn prepare(&self, config: &Config) -> Result<Box<dyn FnOnce() + Send>, Vec<String>> {
        let (mut next, mut faults) = (Vec::new(), Vec::new());
        for (at, listener) in config.listeners.iter().enumerate() {
            let Some(files) = &listener.tls else { continue };
            let read = tls::read(files).and_then(|material| {
                material.acceptor().map_err(|message| ("certificate".to_owned(), message))
            });
            match read {
                Ok(acceptor) => next.push((at, acceptor)),
                Err((key, why)) => faults.push(format!("listeners[{at}].tls.{key}: {why}")),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let listeners = Arc::clone(&self.0);
        Ok(Box::new(move || {
            for (at, acceptor) in next {
                if let Some((_, Some(tls))) = listeners.get(at) {
                    tls.replace(acceptor);
                }
            }
        }))
    }
}

/// SIGTERM drains, SIGINT (Ctrl-C) ends at once.
struct Signals {
    draining: Arc<AtomicBool>,
    records: Arc<Records>,
    live: Arc<ArcSwap<Live>>,
    /// Between telling that we are not ready and taking no more connections.
    delay: Duration,
    grace: Duration,
}

impl Signals {
    /// Ends the process once the last request is answered. Pingora would sleep through the whole
    /// grace (its `grace_period_seconds` has no condition), and is the one that ends it then.
    fn end_when_idle(&self) {
        let (records, live) = (Arc::clone(&self.records), Arc::clone(&self.live));
        std::thread::spawn(move || {
            // What a listener had accepted when it closed is a request a moment later.
            std::thread::sleep(LAST_ARRIVALS);
            while records.metrics.in_flight() > 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            log::info!("drained");
            close(&records, &live);
            std::process::exit(0);
        });
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            log::error!("signals cannot be received; stopping");
            return ShutdownSignal::FastShutdown;
        };
        tokio::select! {
            _ = interrupt.recv() => {
                log::info!("interrupted; stopping at once");
                return ShutdownSignal::FastShutdown;
            }
            _ = terminate.recv() => {}
        }
        self.draining.store(true, Ordering::Relaxed);
        if !self.delay.is_zero() {
            log::info!("not ready any more; listening for another {:?}", self.delay);
            tokio::select! {
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
                () = tokio::time::sleep(self.delay) => {}
            }
        }
        let under_way = self.records.metrics.in_flight();
        log::info!("draining {under_way} requests for at most {:?}", self.grace);
        self.end_when_idle();
        ShutdownSignal::GracefulTerminate
    }
}
