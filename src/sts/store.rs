//! What a door remembers: tokens, each for its lease, and for a moment refusals.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache, policy::EvictionPolicy};

use crate::{
    refusal::Refusal,
    sts::{
        cache::{Key, Lease, Lifetimes, round_up},
        token::{AppToken, Issued},
    },
    time::Timestamp,
};

/// Both memories, each bounded.
pub(super) struct Store {
    lifetimes: Lifetimes,
    negative: Duration,
    tokens: Cache<Key, Arc<Kept>>,
    refused: Cache<Key, Refused>,
}

/// A cached token.
pub(super) struct Kept {
    pub(super) token: Arc<AppToken>,
    pub(super) lease: Lease,
    /// The lease's length when it began, for the cache's own clean-up.
    length: Duration,
}

#[derive(Clone)]
struct Refused {
    until: Timestamp,
    refusal: Refusal,
}

impl Store {
    pub(super) fn new(entries: u64, lifetimes: Lifetimes, negative: Duration) -> Self {
        // Least recently used goes first: the newest token has somebody waiting for it, and must
        // not be turned away for those that were popular once.
        let tokens = Cache::builder()
            .max_capacity(entries)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(ByLease)
            .build();
        let refused = Cache::builder()
            .max_capacity(REFUSALS.min(entries))
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(round_up(negative).max(Duration::from_secs(1)))
            .build();
        Self { lifetimes, negative, tokens, refused }
    }

    /// How many tokens there are, about: what has ended is cleared away in its own time.
    pub(super) fn kept(&self) -> u64 {
        self.tokens.entry_count()
    }

    /// The token of this key, if it may still be handed out.
    pub(super) async fn serving(&self, key: &Key, now: Timestamp) -> Option<Arc<Kept>> {
        self.tokens.get(key).await.filter(|kept| kept.lease.serves(now))
    }

    /// The refusal of this key, if it is to be remembered still.
    pub(super) async fn remembered(&self, key: &Key, now: Timestamp) -> Option<Refusal> {
        let refused = self.refused.get(key).await?;
        (now < refused.until).then_some(refused.refusal)
    }

    /// A new token, kept for its lease if it has one. `presented` is the end of what it was
    /// issued for.
    pub(super) async fn keep(
        &self,
        key: Key,
        issued: Issued,
        presented: Timestamp,
        now: Timestamp,
    ) -> Arc<AppToken> {
        let lease = Lease::new(self.lifetimes, &key, issued.expires, presented, now);
        let token = Arc::new(AppToken { issued, key });
        if let Some(lease) = lease {
            let length = lease.remaining(now).min(A_DAY);
            let kept = Kept { token: Arc::clone(&token), lease, length };
            self.tokens.insert(key, Arc::new(kept)).await;
        }
        token
    }

    /// Remembers a refusal. What the service would not issue any more must not serve any more
    /// either (R26).
    pub(super) async fn refuse(&self, key: Key, refusal: Refusal, now: Timestamp) {
        if !self.negative.is_zero() {
            let until = now + round_up(self.negative);
            self.refused.insert(key, Refused { until, refusal }).await;
        }
        self.tokens.invalidate(&key).await;
    }

    /// Tokens that are kept.
    pub(super) async fn entries(&self) -> u64 {
        self.tokens.run_pending_tasks().await;
        self.tokens.entry_count()
    }

    /// Forgets this token, but not one that has taken its place.
    pub(super) async fn forget(&self, token: &Arc<AppToken>) {
        let kept = self.tokens.get(&token.key).await;
        if kept.is_some_and(|kept| Arc::ptr_eq(&kept.token, token)) {
            self.tokens.invalidate(&token.key).await;
        }
    }
}

/// Remembered refusals; somebody with many bad tokens gets no more memory than this.
const REFUSALS: u64 = 10_000;

/// No lease is longer in the cache: how far off `exp` may lie is not for others to say.
const A_DAY: Duration = Duration::from_hours(24);

/// Lets the cache drop what serves nobody any more. Whether a token serves is decided by its
/// lease alone; this only frees memory.
struct ByLease;

impl Expiry<Key, Arc<Kept>> for ByLease {
    fn expire_after_create(&self, _: &Key, kept: &Arc<Kept>, _: Instant) -> Option<Duration> {
        Some(kept.length)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Arc<Kept>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.length)
    }
}
