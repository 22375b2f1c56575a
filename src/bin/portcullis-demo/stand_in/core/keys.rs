//! The issuer's keys as Core holds them: after the lifetime, one request still sees the old set
//! while one task fetches the new one; an unknown `kid` fetches nothing; a failed fetch keeps the
//! old keys for ever.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::super::{
    client,
    jose::{KeySet, fetch_key_set},
};

/// A key set that keeps itself fresh. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Shared>);

struct Shared {
    client: reqwest::Client,
    url: String,
    ttl: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
    fetching: bool,
}

impl Keys {
    /// Starts to ask for the set at `url`, again and again until it is there.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn start(url: String, ttl: Duration) -> io::Result<Self> {
        let client = client(Duration::from_secs(3))?;
        let keys = Self(Arc::new(Shared { client, url, ttl, held: Mutex::default() }));
        tokio::spawn(keys.clone().first_fetch());
        Ok(keys)
    }

    /// The set to check a request's token with; may start a refresh for those after it.
    pub(crate) fn current(&self) -> Arc<KeySet> {
        let mut held = self.held();
        let stale = held.fetched.is_some_and(|at| at.elapsed() > self.0.ttl);
        if stale && !held.fetching {
            held.fetching = true;
            tokio::spawn(self.clone().refresh());
        }
        Arc::clone(&held.keys)
    }

    async fn first_fetch(self) {
        let mut pause = Duration::from_millis(50);
        while !self.fetch().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn refresh(self) {
        self.fetch().await;
        let mut held = self.held();
        held.fetching = false;
        held.fetched = Some(Instant::now());
    }

    async fn fetch(&self) -> bool {
        let Ok(keys) = fetch_key_set(&self.0.client, &self.0.url).await else { return false };
        let mut held = self.held();
        held.keys = Arc::new(keys);
        held.fetched = Some(Instant::now());
        true
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
