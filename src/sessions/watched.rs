//! Sessions that streams hang on: when others of their requests were last seen.
//!
//! Where a session is its cookie, only a request brings the time of the last one. A stream brings
//! none after its first, so what later requests bring is noted for it, in this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::time::Timestamp;

/// What streams watch.
#[derive(Default)]
pub(super) struct Watched {
    /// How many are watched: nobody takes the lock for nothing.
    count: AtomicUsize,
    sessions: Mutex<HashMap<[u8; 16], Noted>>,
}

struct Noted {
    streams: usize,
    seen: Timestamp,
}

/// One stream's watch over its session.
pub struct Watching {
    watched: Arc<Watched>,
    id: [u8; 16],
}

impl Watched {
    pub(super) fn watch(self: &Arc<Self>, id: [u8; 16], seen: Timestamp) -> Watching {
        let mut sessions = self.sessions();
        let noted = sessions.entry(id).or_insert(Noted { streams: 0, seen });
        noted.streams += 1;
        self.count.store(sessions.len(), Ordering::Relaxed);
        drop(sessions);
        Watching { watched: Arc::clone(self), id }
    }

    /// Notes that a session was seen, if anybody watches it.
    pub(super) fn seen(&self, id: &[u8; 16], now: Timestamp) {
        if self.count.load(Ordering::Relaxed) > 0
            && let Some(noted) = self.sessions().get_mut(id)
        {
            noted.seen = noted.seen.max(now);
        }
    }

    /// When a watched session was last seen.
    pub(super) fn last_seen(&self, id: &[u8; 16]) -> Option<Timestamp> {
        self.sessions().get(id).map(|noted| noted.seen)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 16], Noted>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut sessions = self.watched.sessions();
        if let Entry::Occupied(mut noted) = sessions.entry(self.id) {
            noted.get_mut().streams -= 1;
            if noted.get().streams == 0 {
                noted.remove();
            }
        }
        self.watched.count.store(sessions.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_is_noted_and_nothing_is_kept() {
        let watched = Arc::new(Watched::default());
        let (one, other) = ([1; 16], [2; 16]);
        watched.seen(&one, Timestamp(5));
        assert_eq!(watched.last_seen(&one), None);
        let first = watched.watch(one, Timestamp(10));
        let second = watched.watch(one, Timestamp(10));
        watched.seen(&one, Timestamp(20));
        watched.seen(&one, Timestamp(15));
        watched.seen(&other, Timestamp(20));
        assert_eq!(watched.last_seen(&one), Some(Timestamp(20)));
        assert_eq!(watched.last_seen(&other), None);
        drop(first);
        assert_eq!(watched.last_seen(&one), Some(Timestamp(20)));
        drop(second);
        assert!(watched.sessions().is_empty());
        assert_eq!(watched.count.load(Ordering::Relaxed), 0);
    }
}
