//! Which sessions were ended before their time: by their user, or by the provider.
//!
//! A sealed cookie cannot be taken back, so what has been ended is remembered until it would have
//! been over anyhow. Bounded, in memory, and so of this one process.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest::{self, SHA256};

use super::Session;
use crate::time::Timestamp;

/// What an ending names.
#[derive(Clone, Copy, Debug)]
pub enum Mark<'a> {
    /// One session of ours.
    Session(&'a [u8; 16]),
    /// Every session that belongs to this session of the provider (`sid`).
    ProviderSession(&'a str),
    /// Every session of this subject (`sub`).
    Subject(&'a str),
    /// A logout token (`jti`), which counts once.
    LogoutToken(&'a str),
}

/// What was ended.
pub struct Revocations {
    marks: HashMap<Key, Entry>,
    /// The first to go comes first.
    order: BTreeSet<(Timestamp, Key)>,
    most: usize,
}

type Key = [u8; 32];

struct Entry {
    /// Sessions that began later are others.
    began_by: Timestamp,
    until: Timestamp,
}

impl Revocations {
    /// Remembers `most` at once, one at least.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { marks: HashMap::new(), order: BTreeSet::new(), most: most.max(1) }
    }

    /// Whether nothing was ever ended, or all of it is over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Ends what `mark` names, as far as it began by `began_by`. It is remembered to `until`.
    ///
    /// False when something else had to be forgotten for it before its time: what is the nearest
    /// to its end goes first.
    #[must_use]
    pub fn revoke(
        &mut self,
        mark: Mark<'_>,
        began_by: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> bool {
        let key = mark.key();
        let until = match self.marks.get(&key) {
            Some(known) if known.began_by >= began_by && known.until >= until => return true,
            Some(known) => {
                self.order.remove(&(known.until, key));
                known.until.max(until)
            }
            None => until,
        };
        self.marks.insert(key, Entry { began_by, until });
        self.order.insert((until, key));
        while let Some((first, key)) = self.order.first().copied()
            && first <= now
        {
            self.forget(first, &key);
        }
        let whole = self.marks.len() <= self.most;
        while self.marks.len() > self.most
            && let Some((first, key)) = self.order.first().copied()
        {
            self.forget(first, &key);
        }
        whole
    }

    /// Whether a session was ended.
    #[must_use]
    pub fn covers(&self, session: &Session, now: Timestamp) -> bool {
        if self.marks.is_empty() {
            return false;
        }
        let covers = |mark: Mark<'_>| {
            self.marks
                .get(&mark.key())
                .is_some_and(|entry| session.began <= entry.began_by && now < entry.until)
        };
        covers(Mark::Session(&session.id))
            || session
                .provider_session
                .as_deref()
                .is_some_and(|sid| covers(Mark::ProviderSession(sid)))
            || covers(Mark::Subject(&session.subject))
    }

    /// Whether a mark is remembered.
    #[must_use]
    pub fn holds(&self, mark: Mark<'_>, now: Timestamp) -> bool {
        self.marks.get(&mark.key()).is_some_and(|entry| now < entry.until)
    }

    fn forget(&mut self, until: Timestamp, key: &Key) {
        self.order.remove(&(until, *key));
        self.marks.remove(key);
    }
}

impl Mark<'_> {
    /// Names from outside have any length; this has one.
    pub(crate) fn key(self) -> Key {
        let (kind, name) = match self {
            Self::Session(id) => (1, id.as_slice()),
            Self::ProviderSession(sid) => (2, sid.as_bytes()),
            Self::Subject(subject) => (3, subject.as_bytes()),
            Self::LogoutToken(id) => (4, id.as_bytes()),
        };
        let mut context = digest::Context::new(&SHA256);
        context.update(&[kind]);
        context.update(name);
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }
}
