//! Sessions in their browsers' cookies, and what one process has to remember for them.
//!
//! A cookie that was sent cannot be taken back, and a response with a new one may never arrive.
//! So the newest state of a session that changed is remembered for as long as an older cookie of
//! it could count, and what was ended is remembered until it would have been over. Both are
//! bounded, and both are of this process: behind several replicas, or over a restart, a refresh
//! token that is good for one use may be shown twice, and a cookie of an ended session counts
//! again to its limits. A store outside the process is for those.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use http::HeaderValue;
use moka::{policy::EvictionPolicy, sync::Cache};
use secrecy::ExposeSecret;

use super::{
    opened::OpenedCookies,
    store::{Fence, Held, Lease, Loaded},
};
use crate::{
    session::{
        Cookies, Jar, Opened, Pieces, Session, Shared,
        cookie::SaveError,
        revocation::{Mark, Revocations},
    },
    time::Timestamp,
};

/// Sessions in cookies.
pub struct CookieStore {
    jar: Arc<Jar>,
    /// The newest state of sessions that changed here.
    latest: Cache<[u8; 16], Arc<Shared>>,
    /// Of `jar`, whose keys opened them.
    opened: OpenedCookies,
    ended: Arc<RwLock<Revocations>>,
}

impl CookieStore {
    /// `idle` is the idle time-out: no cookie counts for longer after it was written.
    #[must_use]
    pub fn new(jar: Arc<Jar>, idle: Duration) -> Self {
        let latest = Cache::builder()
            .weigher(|_, session: &Arc<Shared>| weight(session))
            .max_capacity(MOST_REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(idle)
            .build();
        let ended = Arc::new(RwLock::new(Revocations::new(MOST_ENDED)));
        Self { jar, latest, opened: OpenedCookies::new(MOST_OPENED), ended }
    }

    /// A store that takes the place of another in this process: it knows what that one knew, and
    /// each learns what the other learns, for as long as requests are under way at both.
    #[must_use]
    pub fn after(before: &Self, jar: Arc<Jar>) -> Self {
        let (latest, ended) = (before.latest.clone(), Arc::clone(&before.ended));
        Self { jar, latest, opened: OpenedCookies::new(MOST_OPENED), ended }
    }

    pub(super) fn load(&self, cookies: &Cookies<'_>, now: Timestamp) -> Loaded {
        if !cookies.has_session() {
            return Loaded::NotPresented;
        }
        let session = match self.opened.get(cookies) {
            Some(session) => session,
            None => match self.jar.open(cookies) {
                Opened::NotPresented => return Loaded::NotPresented,
                Opened::Failed(why) => return Loaded::Failed(why),
                Opened::Session(session) => {
                    let session = Shared::new(*session);
                    self.opened.keep(cookies, &session);
                    session
                }
            },
        };
        let presented = session.revision;
        let session = match self.latest.get(&session.id) {
            Some(latest) if latest.revision > session.revision => {
                // Most often the cookie was not seen since.
                if latest.last_seen >= session.last_seen {
                    latest
                } else {
                    Shared::new(session.to_session().or_newer(&latest))
                }
            }
            _ => session,
        };
        if self.ended().covers(&session, now) {
            return Loaded::Ended;
        }
        Loaded::Session(Held { session, presented })
    }

    pub(super) fn newest(&self, session: Session, now: Timestamp) -> Option<Session> {
        let session = match self.latest.get(&session.id) {
            Some(latest) => session.or_newer(&latest),
            None => session,
        };
        (!self.ended().covers(&session, now)).then_some(session)
    }

    /// Always granted to who has the newest state: there is no other process to keep away.
    pub(super) fn lease(&self, session: &Session, now: Timestamp) -> Lease {
        match self.newest(session.clone(), now) {
            None => Lease::Ended,
            Some(newest) if newest.revision > session.revision => Lease::Newer(Box::new(newest)),
            Some(newest) => Lease::Granted(Fence { number: newest.revision.into(), holder: None }),
        }
    }

    pub(super) fn commit(
        &self,
        fence: &Fence,
        session: Session,
        now: Timestamp,
    ) -> Option<Session> {
        // The organisation may have been changed since the lease.
        let newest = self.latest.get(&session.id);
        let meanwhile = newest.filter(|newest| u64::from(newest.revision) > fence.number);
        let session = match meanwhile {
            Some(newest) => Session {
                organisation: newest.organisation,
                revision: newest.revision.saturating_add(1),
                ..session
            },
            None => session,
        };
        if self.ended().covers(&session, now) {
            return None;
        }
        self.latest.insert(session.id, Shared::new(session.clone()));
        Some(session)
    }

    pub(super) fn keep(&self, session: Session, now: Timestamp) {
        if !self.ended().covers(&session, now) {
            self.latest.insert(session.id, Shared::new(session));
        }
    }

    pub(super) fn revoke(
        &self,
        mark: Mark<'_>,
        began_by: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) {
        if !self.ended_mut().revoke(mark, began_by, until, now) {
            log::warn!("more sessions were ended than are remembered; a cookie may count again");
        }
        if let Mark::Session(id) = mark {
            self.latest.invalidate(id);
        }
    }

    pub(super) fn first_use(&self, jti: &str, until: Timestamp, now: Timestamp) -> bool {
        let mark = Mark::LogoutToken(jti);
        let mut ended = self.ended_mut();
        if ended.holds(mark, now) {
            return false;
        }
        if !ended.revoke(mark, now, until, now) {
            log::warn!("more logout tokens came than are remembered");
        }
        true
    }

    pub(super) fn lines(
        &self,
        session: &Session,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, SaveError> {
        self.jar.save(session, replaces, now)
    }

    fn ended(&self) -> RwLockReadGuard<'_, Revocations> {
        self.ended.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended_mut(&self) -> RwLockWriteGuard<'_, Revocations> {
        self.ended.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About the bytes that a session takes.
fn weight(session: &Session) -> u32 {
    let secret = |token: &Option<secrecy::SecretString>| {
        token.as_ref().map_or(0, |token| token.expose_secret().len())
    };
    let tokens = session.access_token.expose_secret().len()
        + secret(&session.id_token)
        + secret(&session.refresh_token);
    u32::try_from(tokens + 1_024).unwrap_or(u32::MAX)
}

/// Bytes of cookies that were opened lately, and as much of what they hold: of about 20,000
/// browsers with tokens of 1 KB.
const MOST_OPENED: u64 = 48 * 1024 * 1024;

/// Bytes of sessions that changed: about 15,000 with tokens of 3 KB.
const MOST_REMEMBERED: u64 = 64 * 1024 * 1024;

/// Logouts within one absolute time-out; each takes about 150 bytes.
const MOST_ENDED: usize = 100_000;

#[cfg(test)]
mod tests;
