//! How many requests one caller may make, and one address of callers who are not known.
//!
//! A bucket fills by the rate and holds the burst: the generic cell rate algorithm, which keeps of
//! each caller one number, the time at which their bucket would be full again. The numbers stand in
//! a table of fixed size, in two rows at places that a secret key decides, and the emptier of a
//! caller's two places counts. So memory is bounded, nobody has to be forgotten, and nobody can
//! choose whose places they share.
//!
//! **Error.** No caller gets more than their rate and burst. Somebody may get less when both of
//! their places are shared with busy callers: with `n` callers at their limit at once, one in
//! `(PLACES / n)²`; for 1,000 of them one in 17,000.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Places in each row.
const PLACES: usize = 1 << 17;
/// Locks; each guards its part of both rows.
const SHARDS: usize = 64;

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// On the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Too many; worth another try after so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub Duration);

/// Everybody's buckets.
pub struct Buckets {
    shards: Box<[Mutex<Shard>]>,
    keys: [RandomState; 2],
}

/// Nanoseconds since the beginning at which the bucket of a place is full again.
type Shard = [Box<[u64]>; 2];

impl Default for Buckets {
    fn default() -> Self {
        let row = || vec![0; PLACES / SHARDS].into_boxed_slice();
        let shards = (0..SHARDS).map(|_| Mutex::new([row(), row()]));
        Self { shards: shards.collect(), keys: [RandomState::new(), RandomState::new()] }
    }
}

impl Buckets {
    /// Takes one request out of the bucket of `who`. `now` is the time since some moment, the same
    /// for all calls.
    ///
    /// # Errors
    /// [`TooMany`] when it is empty; then nothing was taken.
    pub fn take(&self, who: &impl Hash, rate: Rate, now: Duration) -> Result<(), TooMany> {
        let [one, other] = self.keys.each_ref().map(|key| {
            usize::try_from(key.hash_one(who) & u64::from(u32::MAX)).unwrap_or_default()
        });
        let Some(shard) = self.shards.get(one % SHARDS) else { return Ok(()) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut *shard;
        let (at, also) = ((one / SHARDS) % first.len(), (other / SHARDS) % second.len());
        let (Some(first), Some(second)) = (first.get_mut(at), second.get_mut(also)) else {
            return Ok(());
        };
        let full = taken((*first).min(*second), rate, nanoseconds(now))?;
        *first = (*first).max(full);
        *second = (*second).max(full);
        Ok(())
    }
}

/// When the bucket is full again after one more request, by when it would be without.
fn taken(full: u64, rate: Rate, now: u64) -> Result<u64, TooMany> {
    let each = 1_000_000_000 / u64::from(rate.per_second.get());
    let burst = each.saturating_mul(u64::from(rate.burst.get()));
    let full = full.max(now).saturating_add(each);
    match (full - now).checked_sub(burst) {
        None | Some(0) => Ok(full),
        Some(wait) => Err(TooMany(Duration::from_nanos(wait))),
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let count = |count| NonZeroU32::new(count).unwrap();
        Rate { per_second: count(per_second), burst: count(burst) }
    }

    #[test]
    fn a_burst_at_once_and_then_the_rate() {
        let (buckets, rate) = (Buckets::default(), rate(10, 3));
        let at = Duration::from_millis;
        for _ in 0..3 {
            assert_eq!(buckets.take(&"alice", rate, at(0)), Ok(()));
        }
        assert_eq!(buckets.take(&"alice", rate, at(0)), Err(TooMany(at(100))));
        assert_eq!(buckets.take(&"alice", rate, at(60)), Err(TooMany(at(40))));
        assert_eq!(buckets.take(&"bob", rate, at(60)), Ok(()), "has a bucket of his own");
        assert_eq!(buckets.take(&"alice", rate, at(100)), Ok(()));
        assert!(buckets.take(&"alice", rate, at(100)).is_err());
        for _ in 0..3 {
            assert_eq!(
                buckets.take(&"alice", rate, at(9_000)),
                Ok(()),
                "never more than the burst"
            );
        }
        assert!(buckets.take(&"alice", rate, at(9_000)).is_err());
    }

    #[test]
    fn busy_callers_leave_the_others_alone() {
        let (buckets, rate) = (Buckets::default(), rate(1, 1));
        for busy in 0..1_000 {
            buckets.take(&("busy", busy), rate, Duration::ZERO).unwrap();
        }
        let refused =
            (0..10_000).filter(|one| buckets.take(&("calm", one), rate, Duration::ZERO).is_err());
        // Each calm one is busy from then on, so the last meets 11,000.
        assert!(refused.count() < 100);
    }

    proptest! {
        /// However requests come, in no span of time are more let through than the burst and what
        /// the rate gives for the span.
        #[test]
        fn nobody_gets_more(
            per_second in 1_u32..2_000, burst in 1_u32..50,
            pauses in proptest::collection::vec(0_u64..50, 1..300),
        ) {
            let (buckets, rate) = (Buckets::default(), rate(per_second, burst));
            let mut now = Duration::ZERO;
            let mut passed = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                match buckets.take(&"alice", rate, now) {
                    Ok(()) => passed.push(now),
                    Err(TooMany(wait)) => {
                        prop_assert!(!wait.is_zero());
                        let soon = now + wait;
                        prop_assert!(taken(0, rate, nanoseconds(soon)).is_ok());
                    }
                }
            }
            for (from, start) in passed.iter().enumerate() {
                for (to, end) in passed.iter().enumerate().skip(from) {
                    let span = nanoseconds(end.saturating_sub(*start));
                    let given = span / (1_000_000_000 / u64::from(per_second));
                    let passed = u64::try_from(to - from).unwrap();
                    prop_assert!(passed < u64::from(burst) + given + 1);
                }
            }
        }

        #[test]
        fn no_numbers_overflow(full: u64, now: u64, per_second in 1_u32.., burst in 1_u32..) {
            let _ = taken(full, rate(per_second, burst), now);
        }
    }
}
