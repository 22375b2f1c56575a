//! Cookies that were opened a moment ago, so that a browser's next request costs a comparison and
//! not decryption and parsing.
//!
//! What is remembered is what a cookie holds. Whether that counts (time-outs, logout, a newer state)
//! is asked with every request. A cookie is found by its bytes, each compared: the hash says where
//! to look, and is believed in nothing. Keys that seal cookies change with the configuration, and
//! then with the memory of them.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use equivalent::Equivalent;
use moka::sync::Cache;

use crate::session::{
    Cookies, Shared,
    cookie::{Chunks, MAX_CHUNKS},
};

/// What cookies hold.
pub(super) struct OpenedCookies {
    /// The hash has a key of this process, so nobody can choose cookies that collide.
    entries: Cache<Kept, Arc<Shared>, ahash::RandomState>,
}

impl OpenedCookies {
    /// Remembers up to `bytes` of cookies, and as much again of what they hold.
    pub(super) fn new(bytes: u64) -> Self {
        let entries = Cache::builder()
            .weigher(|kept: &Kept, _| u32::try_from(kept.size() + OVERHEAD).unwrap_or(u32::MAX))
            .max_capacity(bytes)
            .time_to_live(LONGEST)
            .build_with_hasher(ahash::RandomState::new());
        Self { entries }
    }

    pub(super) fn get(&self, cookies: &Cookies<'_>) -> Option<Arc<Shared>> {
        self.entries.get(&Pieces(cookies.chunks()))
    }

    /// Remembers what a cookie holds that was opened just now.
    pub(super) fn keep(&self, cookies: &Cookies<'_>, session: &Arc<Shared>) {
        let kept = Kept(cookies.chunks().map(|piece| piece.map(Into::into)));
        self.entries.insert(kept, Arc::clone(session));
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }
}

/// The pieces of a cookie as a request brings them.
struct Pieces<'a>(Chunks<'a>);

/// The same, kept.
#[derive(PartialEq, Eq)]
struct Kept([Option<Box<[u8]>>; MAX_CHUNKS]);

impl Kept {
    fn pieces(&self) -> Pieces<'_> {
        Pieces(self.0.each_ref().map(Option::as_deref))
    }

    fn size(&self) -> usize {
        self.0.iter().flatten().map(|piece| piece.len()).sum()
    }
}

impl Hash for Pieces<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for piece in self.0.iter().flatten() {
            state.write(piece);
        }
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pieces().hash(state);
    }
}

impl Equivalent<Kept> for Pieces<'_> {
    fn equivalent(&self, kept: &Kept) -> bool {
        self.0 == kept.pieces().0
    }
}

/// Frees the memory of browsers that have left.
const LONGEST: Duration = Duration::from_mins(5);
/// Bytes of an entry beside the cookie.
const OVERHEAD: usize = 512;
