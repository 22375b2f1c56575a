//! The way to Redis: one connection that all requests share, made anew when it breaks.
//!
//! Every wait is bounded: one for a connection, one for a command. While Redis is away, attempts
//! to connect keep a growing distance, and requests in between fail at once.

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind,
    TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use secrecy::ExposeSecret;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::config::{RedisTopology, RedisUrl};

/// The store outside the process gives no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session store gives no answer")]
pub struct Unreachable;

/// The connection, and how to get another one.
pub(super) struct Connections {
    place: Place,
    current: RwLock<Option<Numbered>>,
    /// Held while somebody connects.
    attempts: Mutex<Attempts>,
    health: AtomicU8,
}

enum Place {
    Single(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

#[derive(Clone)]
struct Numbered {
    number: u64,
    connection: Connection,
}

#[derive(Default)]
struct Attempts {
    made: u64,
    failed_in_a_row: u32,
    not_before: Option<Instant>,
}

impl Connections {
    /// Connects to nothing yet. `ca` holds certificates in PEM, for TLS with a private CA.
    ///
    /// # Errors
    /// When `ca` holds none.
    pub(super) fn new(url: &RedisUrl, ca: Option<&[u8]>) -> RedisResult<Self> {
        let certificates =
            ca.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) });
        let place = match &url.topology {
            RedisTopology::Single => Place::Single(Box::new(single(url, certificates)?)),
            RedisTopology::Sentinel { service } => {
                Place::Sentinel(Box::new(Mutex::new(sentinel(url, service, certificates)?)))
            }
            RedisTopology::Cluster => Place::Cluster(Box::new(cluster(url, certificates)?)),
        };
        Ok(Self {
            place,
            current: RwLock::default(),
            attempts: Mutex::default(),
            health: AtomicU8::new(UNKNOWN),
        })
    }

    /// Whether the last command was answered; `None` before the first.
    pub(super) fn is_up(&self) -> Option<bool> {
        match self.health.load(Ordering::Relaxed) {
            UNKNOWN => None,
            health => Some(health == UP),
        }
    }

    /// Runs a command. One whose connection turns out to be broken runs once more, on a new one:
    /// it may have run already.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unreachable> {
        let mut again = true;
        loop {
            let Numbered { number, connection } = self.connection().await?;
            let error = match timeout(LONGEST_COMMAND, connection.run(command)).await {
                Ok(Ok(value)) => {
                    self.note(UP, "");
                    return Ok(value);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.drop_connection(number);
                    self.note(DOWN, "a command was not answered in time");
                    return Err(Unreachable);
                }
            };
            let broken = error.is_io_error() || error.is_unrecoverable_error();
            // A master that became a replica: a Sentinel knows the new one.
            let moved = error.kind() == redis::ErrorKind::Server(ServerErrorKind::ReadOnly);
            if broken || moved {
                self.drop_connection(number);
            }
            if !(again && (broken || moved)) {
                self.note(DOWN, &error.to_string());
                return Err(Unreachable);
            }
            again = false;
        }
    }

    async fn connection(&self) -> Result<Numbered, Unreachable> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut attempts = self.attempts.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if attempts.not_before.is_some_and(|moment| Instant::now() < moment) {
            return Err(Unreachable);
        }
        match timeout(LONGEST_CONNECT, self.place.connect()).await {
            Ok(Ok(connection)) => {
                let made = attempts.made + 1;
                *attempts = Attempts { made, ..Attempts::default() };
                let current = Numbered { number: made, connection };
                let mut slot = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(current.clone());
                Ok(current)
            }
            failed => {
                let pause = SHORTEST_PAUSE * 2_u32.pow(attempts.failed_in_a_row.min(5));
                attempts.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
                attempts.failed_in_a_row = attempts.failed_in_a_row.saturating_add(1);
                match failed {
                    Ok(Err(error)) => self.note(DOWN, &error.to_string()),
                    _ => self.note(DOWN, "no connection in time"),
                }
                Err(Unreachable)
            }
        }
    }

    fn current(&self) -> Option<Numbered> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one may be there by now, which stays.
    fn drop_connection(&self, number: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.number == number) {
            *current = None;
        }
    }

    /// One line in the log for each change, however many requests there are.
    fn note(&self, health: u8, why: &str) {
        if self.health.load(Ordering::Relaxed) == health {
            return;
        }
        match (self.health.swap(health, Ordering::Relaxed), health) {
            (before, now) if before == now => {}
            (DOWN, UP) => log::info!("session store: Redis answers again"),
            (_, UP) => log::info!("session store: Redis answers"),
            _ => log::error!(
                "session store: Redis gives no answer, sessions are refused until it does: {why}"
            ),
        }
    }
}

impl Place {
    async fn connect(&self) -> RedisResult<Connection> {
        // Bounded by ours, which say so in the log.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        Ok(match self {
            Self::Single(client) => Connection::Single(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            ),
            Self::Sentinel(client) => Connection::Single(
                client.lock().await.get_async_connection_with_config(&config).await?,
            ),
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

impl Connection {
    async fn run<T: FromRedisValue>(self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Single(mut connection) => command.query_async(&mut connection).await,
            Self::Cluster(mut connection) => command.query_async(&mut connection).await,
        }
    }
}

fn single(url: &RedisUrl, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
    let address = addresses(url).next().unwrap_or_else(|| ConnectionAddr::Tcp(String::new(), 0));
    let mut login = RedisConnectionInfo::default().set_db(url.database);
    if let Some(username) = &url.username {
        login = login.set_username(username);
    }
    if let Some(password) = &url.password {
        login = login.set_password(password.expose_secret());
    }
    let info: ConnectionInfo = address.into_connection_info()?.set_redis_settings(login);
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

/// The credentials are those of the servers; Sentinels are asked without any.
fn sentinel(
    url: &RedisUrl,
    service: &str,
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let mut builder =
        SentinelClientBuilder::new(addresses(url), service, SentinelServerType::Master)?
            .set_client_to_redis_db(url.database);
    if url.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(username) = &url.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &url.password {
        builder = builder.set_client_to_redis_password(password.expose_secret());
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}

fn cluster(url: &RedisUrl, certificates: Option<TlsCertificates>) -> RedisResult<ClusterClient> {
    let nodes = addresses(url).map(IntoConnectionInfo::into_connection_info);
    let nodes = nodes.collect::<RedisResult<Vec<_>>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(LONGEST_CONNECT)
        .response_timeout(LONGEST_COMMAND)
        .retries(1);
    if let Some(username) = &url.username {
        builder = builder.username(username);
    }
    if let Some(password) = &url.password {
        builder = builder.password(password.expose_secret());
    }
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    builder.build()
}

fn addresses(url: &RedisUrl) -> impl Iterator<Item = ConnectionAddr> + '_ {
    url.hosts.iter().map(|(host, port)| {
        let (host, port) = (host.clone(), *port);
        if url.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    })
}

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

const LONGEST_COMMAND: Duration = Duration::from_secs(1);
const LONGEST_CONNECT: Duration = Duration::from_secs(2);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
