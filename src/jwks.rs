//! Where the keys come from: fetches an issuer's JWKS document, keeps it fresh in the background,
//! and asks once more when a token names a key that is not in it yet.
//!
//! A fetch never stands between a request and a key that is already known: readers take the
//! current set without a lock. A failed fetch keeps the old keys. What a document means is
//! decided in [`crate::bearer::keys`].

pub(crate) mod discovery;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jsonwebtoken::Algorithm;
use reqwest::StatusCode;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use url::Url;

use crate::{
    bearer::keys::{KeySet, KeySetError, MAX_DOCUMENT},
    http_client::BodyError,
    time::Timestamp,
};

/// The least time between two fetches that tokens with unknown keys can cause. A caller can write
/// any `kid` into a token; this is what keeps that from becoming load on the provider.
pub const COOLDOWN: Duration = Duration::from_secs(30);

/// The longest pause after a failed background refresh.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Where an issuer's keys are.
#[derive(Clone)]
pub enum KeySource {
    /// At a URL of the issuer.
    Remote(Arc<Jwks>),
    /// Here: the gateway is the issuer, and swaps the set when its keys change.
    Local(Arc<ArcSwap<KeySet>>),
}

impl KeySource {
    /// The keys known now; `None` when none were ever fetched.
    #[must_use]
    pub fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Remote(jwks) => jwks.current(),
            Self::Local(keys) => Some(keys.load_full()),
        }
    }

    /// The keys after one more look, for a token whose key is unknown; see
    /// [`Jwks::keys_for_unknown_kid`].
    pub async fn keys_for_unknown_kid(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Remote(jwks) => jwks.keys_for_unknown_kid().await,
            Self::Local(keys) => Some(keys.load_full()),
        }
    }
}

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this URL.
    Fixed(Url),
    /// Where the issuer's discovery document says (OpenID Connect Discovery 1.0, section 4). It is
    /// asked before each fetch, since a provider may move its keys.
    Discovered {
        /// Issuer identifier; the document has to name the same, byte for byte.
        issuer: String,
    },
}

/// The key set of one issuer.
pub struct Jwks {
    place: Place,
    algorithms: Vec<Algorithm>,
    client: reqwest::Client,
    refresh: Duration,
    cooldown: Duration,
    current: ArcSwapOption<KeySet>,
    /// Seconds since 1970; 0: never.
    last_success: AtomicU64,
    /// Whether the last fetch failed.
    failing: AtomicBool,
    /// Held across a fetch, so there is one at a time and the others wait for its result.
    flight: Mutex<Flight>,
}

#[derive(Default)]
struct Flight {
    /// When the last fetch of any kind ended, well or not.
    landed: Option<Instant>,
    /// When an unknown key last caused a fetch.
    unknown_kid: Option<Instant>,
}

/// Why a key set was not fetched. Names no URL: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, no answer in time, or no HTTP.
    #[error("the key set cannot be reached: {0}")]
    Unreachable(reqwest::Error),
    /// The answer is no 200. A redirect is not followed: it would move the trust elsewhere.
    #[error("the key set is answered with status {}", .0.as_u16())]
    Status(StatusCode),
    /// The answer is larger than [`MAX_DOCUMENT`] or broke off.
    #[error("the key set cannot be read: {0}")]
    Body(BodyError),
    /// The discovery document is of no use; says why.
    #[error("the discovery document {0}")]
    Discovery(&'static str),
    /// The answer is no key set of use.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

impl Jwks {
    /// Fetches nothing yet. `client` comes from [`crate::http_client::build`], which bounds the
    /// time of a fetch and follows no redirect; `refresh` is the longest pause between two
    /// background fetches.
    #[must_use]
    pub fn new(
        place: Place,
        algorithms: Vec<Algorithm>,
        client: reqwest::Client,
        refresh: Duration,
    ) -> Self {
        Self {
            place,
            algorithms,
            client,
            refresh,
            cooldown: COOLDOWN,
            current: ArcSwapOption::empty(),
            last_success: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            flight: Mutex::default(),
        }
    }

    /// Takes over what another set knows of the same place and for the same algorithms. Whether
    /// there was anything.
    pub fn take_over(&self, other: &Self) -> bool {
        let same = self.place == other.place && self.algorithms == other.algorithms;
        let Some(keys) = other.current().filter(|_| same) else { return false };
        self.last_success.store(other.last_success.load(Ordering::Relaxed), Ordering::Relaxed);
        self.current.store(Some(keys));
        true
    }

    /// The keys known now. Never waits.
    #[must_use]
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.current.load_full()
    }

    /// When the document was last fetched and of use; for readiness and metrics.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        match self.last_success.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(Timestamp(seconds)),
        }
    }

    /// Whether the last fetch failed; for the status page.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Fetches now.
    ///
    /// # Errors
    /// See [`FetchError`]; the keys known before stay in use.
    pub async fn refresh(&self) -> Result<(), FetchError> {
        let mut flight = self.flight.lock().await;
        self.fetch(&mut flight).await
    }

    /// The keys after one more look, for a token whose `kid` is not in the current set.
    ///
    /// At most one fetch in [`COOLDOWN`], failed ones included; whoever asks while a fetch is
    /// under way waits for that one. The fetch is a task of its own: a caller who hangs up
    /// neither ends it for the others nor frees the way for the next one.
    pub async fn keys_for_unknown_kid(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let asked = Instant::now();
        let cooling = self.flight.try_lock().is_ok_and(|flight| self.is_cooling(&flight));
        if !cooling {
            let jwks = Arc::clone(self);
            let look = tokio::spawn(async move {
                let mut flight = jwks.flight.lock().await;
                let landed_meanwhile = flight.landed.is_some_and(|landed| landed >= asked);
                if !landed_meanwhile && !jwks.is_cooling(&flight) {
                    flight.unknown_kid = Some(Instant::now());
                    // The cause is in the log; the caller learns it from the keys.
                    let _ = jwks.fetch(&mut flight).await;
                }
            });
            let _ = look.await;
        }
        self.current()
    }

    /// Refreshes until `shutdown` turns true or its sender is gone. The first fetch is at once;
    /// then one within each refresh interval, at a random point of its last fifth, so that the
    /// replicas of a gateway do not ask in chorus. After a failure: 1 s,
    /// doubling to 30 s, and never later than after a success.
    pub async fn keep_fresh(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let refreshing = async {
            let mut failures = 0;
            loop {
                failures = if self.refresh().await.is_ok() { 0 } else { failures + 1 };
                tokio::time::sleep(pause(self.refresh, failures, random_byte())).await;
            }
        };
        tokio::select! {
            () = refreshing => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    fn is_cooling(&self, flight: &Flight) -> bool {
        flight.unknown_kid.is_some_and(|last| last.elapsed() < self.cooldown)
    }

    async fn fetch(&self, flight: &mut Flight) -> Result<(), FetchError> {
        let fetched = self.document().await;
        flight.landed = Some(Instant::now());
        self.failing.store(fetched.is_err(), Ordering::Relaxed);
        match fetched {
            Ok(keys) => {
                self.last_success.store(Timestamp::now().0, Ordering::Relaxed);
                self.adopt(keys);
                Ok(())
            }
            Err(error) => {
                let kept = self.current().map_or(0, |keys| keys.len());
                log::warn!(host = self.host(), kept; "key set not refreshed: {error}");
                Err(error)
            }
        }
    }

    async fn document(&self) -> Result<KeySet, FetchError> {
        let url = match &self.place {
            Place::Fixed(url) => url.clone(),
            Place::Discovered { issuer } => {
                discovery::endpoints(&self.client, issuer).await?.jwks_uri
            }
        };
        let accept = "application/jwk-set+json, application/json";
        let body = discovery::read(&self.client, url, accept).await?;
        Ok(KeySet::parse(&body, &self.algorithms)?)
    }

    /// Keeps the old set when nothing changed, and with it whatever is cached under its name.
    fn adopt(&self, keys: KeySet) {
        let known = self.current().map(|keys| keys.generation());
        if known != Some(keys.generation()) {
            let (usable, skipped) = (keys.len(), keys.skipped());
            log::info!(host = self.host(), usable, skipped; "key set changed");
            self.current.store(Some(Arc::new(keys)));
        }
    }

    /// For the log: path and query of a URL may be secret.
    fn host(&self) -> String {
        let url = match &self.place {
            Place::Fixed(url) => Some(url.clone()),
            Place::Discovered { issuer } => Url::parse(issuer).ok(),
        };
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// How long to wait after the last of `failures` failures in a row, or after a success.
pub(crate) fn pause(refresh: Duration, failures: u32, random: u8) -> Duration {
    match failures {
        0 => refresh.mul_f64(1.0 - 0.2 * f64::from(random) / 255.0),
        1.. => Duration::from_secs(1 << (failures - 1).min(16)).min(LONGEST_RETRY).min(refresh),
    }
}

/// Without randomness there is no jitter, and no harm.
pub(crate) fn random_byte() -> u8 {
    let mut byte = [0];
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    byte
}

#[cfg(test)]
pub(crate) mod provider;
#[cfg(test)]
mod tests;
