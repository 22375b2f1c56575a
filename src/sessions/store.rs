//! Where sessions are kept: the boundary between the way of a request and a place.
//!
//! That place is the browser itself ([`CookieStore`]), or Redis ([`RedisStore`]). What each has to
//! see to:
//!
//! * **load** gives the newest state that it knows, and says which state the browser's cookie
//!   stands for. A store that cannot be reached gives no session (R12).
//! * **lease** and **commit** go around a refresh, so that of all processes one shows a refresh
//!   token. A lease has a fence; a commit with an older one than the store has seen is lost, so a
//!   process that was away for longer than its lease cannot undo what another did since. Within
//!   one process `renewal` sees to it that there is one attempt at a time, so a store only has to
//!   keep processes apart.
//!   A lease that brings nothing is **released**.
//! * **begin** stores a new session, and **touch** notes that one was seen.
//! * **keep** stores a change that needs no lease; the higher revision wins.
//! * **revoke** ends sessions before their time.
//! * **lines** is what the browser has to hold.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    cookie_store::CookieStore,
    redis_store::{Holder, RedisStore, Unreachable},
};
use crate::{
    session::{Cookies, Pieces, Session, Shared, cookie::SaveError, revocation::Mark},
    time::Timestamp,
};

/// Where sessions are kept.
pub enum Store {
    /// Sealed in the browser's cookie; memory of this process bridges what a cookie cannot.
    Cookie(CookieStore),
    /// In Redis, for any number of processes.
    Redis(RedisStore),
}

/// What a request's cookies stand for.
pub(super) enum Loaded {
    /// Nothing.
    NotPresented,
    /// A session. Whether it still counts is not asked here.
    Session(Held),
    /// Something that is not ours, or not whole; with what is wrong.
    Failed(&'static str),
    /// A session that was ended before its time.
    Ended,
    /// The store gives no answer.
    Unreachable,
}

/// A session as the store has it.
pub(super) struct Held {
    /// The newest state.
    pub(super) session: Arc<Shared>,
    /// The revision that the browser's cookie stands for.
    pub(super) presented: u32,
}

/// The right to show a session's refresh token.
pub(super) enum Lease {
    /// To this process.
    Granted(Fence),
    /// It has been used already, and this is what came of it.
    Newer(Box<Session>),
    /// It may have been used by somebody who did not live to tell.
    Spent,
    /// The session was ended.
    Ended,
    /// The store gives no answer, or another process takes too long.
    Unreachable,
}

/// Orders the leases of one session.
pub(super) struct Fence {
    pub(super) number: u64,
    /// Who has it, where others could.
    pub(super) holder: Option<Holder>,
}

/// Why a session is not kept.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// It was ended meanwhile.
    #[error("the session was ended")]
    Ended,
    /// There is nowhere to write it.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

impl Store {
    pub(super) async fn load(&self, cookies: &Cookies<'_>, now: Timestamp) -> Loaded {
        match self {
            Self::Cookie(store) => store.load(cookies, now),
            Self::Redis(store) => store.load(cookies, now).await,
        }
    }

    /// Loads a session again.
    pub(super) async fn reload(&self, session: &Session, now: Timestamp) -> Loaded {
        match self {
            Self::Cookie(store) => match store.newest(session.clone(), now) {
                Some(newest) => {
                    let presented = session.revision;
                    Loaded::Session(Held { session: Shared::new(newest), presented })
                }
                None => Loaded::Ended,
            },
            Self::Redis(store) => store.reload(session, now).await,
        }
    }

    /// Asks for the right to show the refresh token of this state of a session.
    pub(super) async fn lease(&self, session: &Session, now: Timestamp) -> Lease {
        match self {
            Self::Cookie(store) => store.lease(session, now),
            Self::Redis(store) => store.lease(session).await,
        }
    }

    /// Keeps what a refresh made of a session. `None` when the session was ended meanwhile, or
    /// the lease was lost; else the state that is kept.
    pub(super) async fn commit(
        &self,
        fence: &Fence,
        session: Session,
        now: Timestamp,
    ) -> Result<Option<Session>, Unreachable> {
        match self {
            Self::Cookie(store) => Ok(store.commit(fence, session, now)),
            Self::Redis(store) => store.commit(fence, session).await,
        }
    }

    /// Gives a lease back that brought nothing; `unused` when the token can be shown again.
    pub(super) async fn release(&self, fence: Fence, session: &Session, unused: bool) {
        match self {
            Self::Cookie(_) => {}
            Self::Redis(store) => store.release(&fence, session, unused).await,
        }
    }

    /// Keeps a new session, and gives the `Set-Cookie` lines for it.
    pub(super) async fn begin(
        &self,
        session: &Session,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, KeepError> {
        match self {
            Self::Cookie(store) => Ok(store.lines(session, replaces, now)?),
            Self::Redis(store) => store.begin(session, replaces, now).await,
        }
    }

    /// Notes that a session was seen, where the next cookie does not say so.
    pub(super) async fn touch(&self, session: &Session) -> Result<(), Unreachable> {
        match self {
            Self::Cookie(_) => Ok(()),
            Self::Redis(store) => store.touch(session).await,
        }
    }

    /// Keeps a newer state of a session, and gives the `Set-Cookie` lines for it.
    pub(super) async fn keep(
        &self,
        session: Session,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, KeepError> {
        match self {
            Self::Cookie(store) => {
                let lines = store.lines(&session, replaces, now)?;
                store.keep(session, now);
                Ok(lines)
            }
            // The ticket stays the same.
            Self::Redis(store) => store.keep(&session).await.map(|()| Vec::new()),
        }
    }

    /// Whether the browser's cookie is the session, and has to be written again when it changes.
    pub(super) const fn is_in_cookie(&self) -> bool {
        matches!(self, Self::Cookie(_))
    }

    /// Whether a store outside the process answers; `None` where there is none, or nobody asked.
    /// Asks the store whether it is there; `None` where it is not outside the process.
    pub(crate) async fn ping(&self) -> Option<Result<(), Unreachable>> {
        match self {
            Self::Cookie(_) => None,
            Self::Redis(store) => Some(store.ping().await),
        }
    }

    pub(super) fn is_up(&self) -> Option<bool> {
        match self {
            Self::Cookie(_) => None,
            Self::Redis(store) => store.is_up(),
        }
    }

    /// The newest state that is known without asking anybody; `None` when the session was ended.
    pub(super) fn newest(&self, session: Session, now: Timestamp) -> Option<Session> {
        match self {
            Self::Cookie(store) => store.newest(session, now),
            Self::Redis(_) => Some(session),
        }
    }

    pub(super) async fn revoke(
        &self,
        mark: Mark<'_>,
        began_by: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Unreachable> {
        match self {
            Self::Cookie(store) => {
                store.revoke(mark, began_by, until, now);
                Ok(())
            }
            Self::Redis(store) => store.revoke(mark, began_by, until, now).await,
        }
    }

    /// Remembers a logout token; whether it is the first time.
    pub(super) async fn first_use(
        &self,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Unreachable> {
        match self {
            Self::Cookie(store) => Ok(store.first_use(jti, until, now)),
            Self::Redis(store) => store.first_use(jti, until, now).await,
        }
    }

    /// The `Set-Cookie` lines for this state of a session.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub(super) fn lines(
        &self,
        session: &Session,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, SaveError> {
        match self {
            Self::Cookie(store) => store.lines(session, replaces, now),
            Self::Redis(_) => Ok(Vec::new()),
        }
    }
}
