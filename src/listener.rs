//! Where clients and operators come in: TCP and TLS listeners, the admin listener, start and end
//! of the process.

mod admin;
mod guarded;
mod tls;

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
    server::{
        RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
        configuration::ServerConf,
    },
    services::{
        background::{BackgroundService, background_service},
        listening::Service,
    },
};
use pingora_proxy::http_proxy;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    admin::Admin,
    guarded::{Guard, Guarded},
};
use crate::{
    assembly::Assembly,
    config::Config,
    connection::{Patience, crowd::Crowd},
    gateway::Gateway,
    jwks::Jwks,
    oidc::Provider,
    perimeter::Perimeter,
    sts::issuer::watch::KeyFiles,
    telemetry::record::Records,
    watch::Watch,
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

    let Assembly { state, iam_keys, sts_keys, key_files, provider, perimeter, watches } = assembly;
    let keys: Vec<_> = [("iam", iam_keys), ("sts", sts_keys)]
        .into_iter()
        .filter_map(|(name, keys)| Some((name, keys?)))
        .collect();
    first_keys(&keys, provider.as_ref())?;
    if let Some(sts) = &state.sts {
        let records = Arc::clone(records);
        sts.report_to(move |issuance| records.issued(issuance));
    }
    let draining = Arc::new(AtomicBool::new(false));
    let state = Arc::new(ArcSwap::from_pointee(state));

    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(H2_IDLE);
    let gateway = Gateway::new(Arc::clone(&state), Arc::clone(records));
    let mut proxy = http_proxy(&conf, gateway);
    proxy.server_options = Some(options);
    let guard = guard(config, records);
    let mut proxy = Service::new("gateway".to_owned(), Guarded::new(proxy, guard.clone()));
    proxy.endpoints().set_pre_tls_callback(Arc::new(guard));
    for (at, listener) in config.listeners.iter().enumerate() {
        let mut endpoint = ListenerConfig::tcp(listener.address.to_string())
            .l4_buffer(L4BufferSettings::default().read(READ_BUFFER));
        if let Some(files) = &listener.tls {
            let settings = tls::settings(files).map_err(|message| StartError::Tls {
                key_path: format!("listeners[{at}].tls"),
                message,
            })?;
            endpoint = endpoint.tls(settings);
        }
        proxy.add_listener(endpoint);
    }
    let proxy = server.add_service(proxy);
    // No listener before every upstream has been resolved once.
    for upstream in &state.load().upstreams {
        let name = format!("upstream {}", upstream.name());
        let servers = background_service(&name, Watched(upstream.servers()));
        proxy.add_dependency(server.add_service(servers));
    }
    for (name, keys) in &keys {
        let task = background_service(&format!("{name} keys"), FreshKeys(Arc::clone(keys)));
        server.add_service(task);
    }
    if let Some(files) = key_files {
        server.add_service(background_service("issuer keys", FreshFiles(files)));
    }
    for watch in &watches {
        let name = format!("document of {}", watch.upstream());
        server.add_service(background_service(&name, Watching(Arc::clone(watch))));
    }
    if let Some(perimeter) = &perimeter {
        let guard = Guarding(Arc::clone(perimeter));
        server.add_service(background_service("perimeter", guard));
    }
    if state.load().audit_required {
        let task = Resuming(Arc::clone(records));
        server.add_service(background_service("audit records", task));
    }
    let watched = admin::Watched { keys, watches, perimeter };
    let admin = Admin::new(state, watched, Arc::clone(records), Arc::clone(&draining));
    let mut admin = Service::new("admin".to_owned(), admin);
    admin.add_tcp(&config.admin.address.to_string());
    server.add_service(admin);

    for listener in &config.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        log::info!("listening on {scheme}://{}", listener.address);
    }
    log::info!("admin listener on http://{}", config.admin.address);
    let grace = config.server.grace;
    server.run(RunArgs {
        shutdown_signal: Box::new(Signals { draining, records: Arc::clone(records), grace }),
    });
    records.access.close();
    records.audit.close();
    Ok(())
}

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
/// How long the start waits for keys before it listens without them.
const FIRST_KEYS: Duration = Duration::from_secs(10);

/// What clients may cost before they have asked for anything.
fn guard(config: &Config, records: &Arc<Records>) -> Guard {
    let limits = &config.limits;
    let crowd = Crowd::new(limits.connections_per_client, &config.trusted_proxies);
    let patience = Patience { head: limits.header_timeout, silence: SILENCE };
    Guard::new(Arc::new(crowd), Arc::clone(records), patience)
}

/// Tries of one request at the upstream that allows most; each counts its own.
fn tries(config: &Config) -> usize {
    1 + config.upstreams.values().map(|upstream| upstream.retries).max().unwrap_or_default()
}

fn addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    let listeners = config.listeners.iter().map(|listener| listener.address);
    listeners.chain(std::iter::once(config.admin.address))
}

/// Reads the keys before anything listens, so that the first request finds them. A provider that
/// is down does not keep public routes from being served: after a while the gateway listens all
/// the same, is not ready, and answers 503 where it needs the keys.
fn first_keys(
    keys: &[(&'static str, Arc<Jwks>)],
    provider: Option<&Arc<Provider>>,
) -> Result<(), StartError> {
    // A runtime of its own: Pingora makes its own later and refuses to be inside another.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(async {
        let fetch = async {
            for (name, keys) in keys {
                while let Err(error) = keys.refresh().await {
                    log::warn!("no {name} keys yet: {error}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
            if let Some(provider) = provider {
                // A login will ask again.
                let _ = provider.warm().await;
            }
        };
        if tokio::time::timeout(FIRST_KEYS, fetch).await.is_err() {
            log::error!(
                "listening without the keys of every issuer; not ready until they are read"
            );
        }
    });
    Ok(())
}

/// Keeps a key set fresh until the server stops.
struct FreshKeys(Arc<Jwks>);

#[async_trait]
impl BackgroundService for FreshKeys {
    async fn start(&self, shutdown: ShutdownWatch) {
        Arc::clone(&self.0).keep_fresh(shutdown).await;
    }
}

/// Keeps our own signing keys as their files are.
struct FreshFiles(KeyFiles);

#[async_trait]
impl BackgroundService for FreshFiles {
    async fn start(&self, shutdown: ShutdownWatch) {
        self.0.keep_read(shutdown).await;
    }
}

/// Compares an upstream's document with the routes until the server stops.
struct Watching(Arc<Watch>);

#[async_trait]
impl BackgroundService for Watching {
    async fn start(&self, shutdown: ShutdownWatch) {
        self.0.keep(shutdown).await;
    }
}

/// Looks for ways around the gateway until the server stops.
struct Guarding(Arc<Perimeter>);

#[async_trait]
impl BackgroundService for Guarding {
    async fn start(&self, shutdown: ShutdownWatch) {
        self.0.keep(shutdown).await;
    }
}

/// Finds out when audit records can be written again.
struct Resuming(Arc<Records>);

#[async_trait]
impl BackgroundService for Resuming {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let resuming = async {
            loop {
                tokio::time::sleep(RESUME_EVERY).await;
                self.0.resume().await;
            }
        };
        tokio::select! {
            () = resuming => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// How often it is tried whether audit records can be written again.
const RESUME_EVERY: Duration = Duration::from_secs(1);

/// Keeps a set of servers resolved and checked.
struct Watched(Arc<pingora::lb::LoadBalancer<pingora::lb::selection::RoundRobin>>);

#[async_trait]
impl BackgroundService for Watched {
    async fn start_with_ready_notifier(
        &self,
        shutdown: ShutdownWatch,
        ready: pingora::services::ServiceReadyNotifier,
    ) {
        BackgroundService::start_with_ready_notifier(&*self.0, shutdown, ready).await;
    }
}

/// SIGTERM drains, SIGINT (Ctrl-C) ends at once.
struct Signals {
    draining: Arc<AtomicBool>,
    records: Arc<Records>,
    grace: Duration,
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
        let under_way = self.records.metrics.in_flight();
        log::info!("draining {under_way} requests for at most {:?}", self.grace);
        ShutdownSignal::GracefulTerminate
    }
}
