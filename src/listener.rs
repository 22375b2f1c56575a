//! Where clients and operators come in: TCP and TLS listeners, the admin listener, start and end
//! of the process.

mod admin;
mod endable;
mod guarded;
mod secured;
mod signals;
mod supervisor;
pub(crate) mod tls;
pub(crate) mod upgrade;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, atomic::AtomicBool, mpsc::channel},
    time::Duration,
};

use arc_swap::ArcSwap;
use pingora::{
    apps::HttpServerOptions,
    listeners::ListenerConfig,
    protocols::l4::stream::L4BufferSettings,
    server::{RunArgs, Server, configuration::ServerConf},
    services::{background::background_service, listening::Service},
};
use pingora_proxy::http_proxy;
use tokio::sync::oneshot;

use self::{
    admin::Admin,
    endable::Endable,
    guarded::{Guard, Guarded},
    signals::Signals,
    tls::Tls,
    upgrade::{End, Opening, Predecessor, Sockets, Succession, Taken, UpgradeError},
};
use crate::{
    assembly::Assembly,
    config::{self, Config, Loaded},
    connection::{Patience, crowd::Crowd},
    gateway::Gateway,
    live::{
        Live,
        reload::{Again, Listeners, Reloading},
    },
    status::{Board, Sampling},
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
    /// Listeners are not taken over, or could not be handed over later.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The runtime for the first fetch cannot be made.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Serves until a signal ends it, or another process takes over, and returns once requests under
/// way had their time. With `upgrade` it takes over itself, from the process that serves.
///
/// # Errors
/// [`StartError`], before anything listens.
pub fn serve(
    loaded: &Arc<Loaded>,
    assembly: Assembly,
    again: Again,
    records: &Arc<Records>,
    upgrade: bool,
) -> Result<(), StartError> {
    let config = &loaded.config;
    let upgrade_socket = config.server.upgrade_socket.as_deref();
    match upgrade_socket {
        None if upgrade => return Err(UpgradeError::NoSocket.into()),
        Some(_) if upgrade => {}
        socket => {
            addresses(config).try_for_each(free)?;
            socket.map_or(Ok(()), upgrade::prepare)?;
        }
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

    let live = Arc::new(Live::new(loaded, assembly, records));
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
    let limits = &config.limits;
    let crowd = Arc::new(Crowd::new(limits.connections_per_client, &config.trusted_proxies));
    let patience = Patience { head: limits.header_timeout, silence: SILENCE };
    let guard = Guard::new(Arc::clone(&crowd), Arc::clone(records), patience);
    let (doors, end) = (doors(config)?, Arc::new(End::default()));
    let guarded = Guarded::new(Endable::new(proxy), guard, Arc::clone(&doors), Arc::clone(&end));
    let mut proxy = Service::new("gateway".to_owned(), guarded);
    for listener in &config.listeners {
        let buffer = L4BufferSettings::default().read(READ_BUFFER);
        proxy.add_listener(ListenerConfig::tcp(listener.address.to_string()).l4_buffer(buffer));
    }
    let (sockets, (opens, opened)) = (Sockets::default(), channel());
    server.add_service(Opening::new(proxy, sockets.clone(), opens.clone()));
    let reloading = Reloading::new(
        Arc::clone(&live),
        Arc::clone(records),
        again,
        Arc::new(Certificates(doors)),
        config,
    );
    server.add_service(background_service("configuration", reloading));
    let board = Arc::new(Board::new(Arc::clone(&live), Arc::clone(records), Arc::clone(&draining)));
    server.add_service(background_service("status", Sampling(Arc::clone(&board))));
    let admin = Admin::new(board, &config.admin);
    let mut admin = Service::new("admin".to_owned(), admin);
    admin.add_tcp(&config.admin.address.to_string());
    server.add_service(Opening::new(admin, sockets.clone(), opens.clone()));

    for listener in &config.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        log::info!("listening on {scheme}://{}", listener.address);
    }
    log::info!("admin listener on http://{}", config.admin.address);
    let predecessor = if upgrade { take_over(config, &sockets)? } else { None };
    let (handed_over, hears) = oneshot::channel();
    let succession = Succession {
        path: config.server.upgrade_socket.clone(),
        sockets,
        opened,
        // Two services, and the signals.
        awaited: 3,
        predecessor,
        handed_over,
    };
    succession.start().map_err(StartError::Runtime)?;
    let signals = Signals {
        draining,
        records: Arc::clone(records),
        live: Arc::clone(&live),
        crowd,
        delay: config.server.drain_delay,
        grace: config.server.grace,
        upgrade_socket: config.server.upgrade_socket.clone(),
        handed_over: Mutex::new(Some(hears)),
        end,
        listening: opens,
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
/// Of each client connection; Pingora's own are 64 KiB, which ten thousand idle clients make
/// 640 MiB of. A larger head or body takes more reads.
const READ_BUFFER: usize = 8 * 1024;
/// Until a new connection's first byte, and between two bytes of an HTTP/2 frame.
const SILENCE: Duration = Duration::from_mins(1);

/// Takes the listeners of the process that serves; those that it has not are opened here.
fn take_over(config: &Config, sockets: &Sockets) -> Result<Option<Predecessor>, StartError> {
    let Some(path) = &config.server.upgrade_socket else { return Ok(None) };
    let Taken { sockets: taken, from } = upgrade::take(path)?;
    let wanted: Vec<_> = addresses(config).map(|address| address.to_string()).collect();
    let taken = taken.of(&wanted);
    let is_new =
        |address: &SocketAddr| !taken.iter().any(|(known, _)| *known == address.to_string());
    addresses(config).filter(is_new).try_for_each(free)?;
    sockets.give(taken);
    Ok(Some(from))
}

/// Whether an address can be had. Pingora would try for half a minute and then live on without the
/// listener (#667).
fn free(address: SocketAddr) -> Result<(), StartError> {
    let bound = TcpListener::bind(address);
    bound.map(drop).map_err(|cause| StartError::Bind { address, cause })
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
