//! Where sessions are kept: the boundary between the way of a request and a place.
//!
//! Today that place is the browser itself ([`CookieStore`]); a store outside the process is a
//! second variant. What each has to see to:
//!
//! * **load** gives the newest state that it knows, and says which state the browser's cookie
//!   stands for. A store that cannot be reached gives no session (R12).
//! * **lease** and **commit** go around a refresh, so that of all processes one shows a refresh
//!   token. A lease has a fence; a commit with an older one than the store has seen is lost, so a
//!   process that was away for longer than its lease cannot undo what another did since. Within
//!   one process `renewal` sees to it that there is one attempt at a time, so a store only has to
//!   keep processes apart.
//! * **keep** stores a change that needs no lease; the higher revision wins.
//! * **revoke** ends sessions before their time.
//! * **lines** is what the browser has to hold.

use http::HeaderValue;

use super::cookie_store::CookieStore;
use crate::{
    session::{Cookies, Pieces, Session, cookie::SaveError, revocation::Mark},
    time::Timestamp,
};

/// Where sessions are kept.
pub enum Store {
    /// Sealed in the browser's cookie; memory of this process bridges what a cookie cannot.
    Cookie(CookieStore),
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
}

/// A session as the store has it.
pub(super) struct Held {
    /// The newest state.
    pub(super) session: Session,
    /// The revision that the browser's cookie stands for.
    pub(super) presented: u32,
}

/// The right to show a session's refresh token.
pub(super) enum Lease {
    /// To this process.
    Granted(Fence),
    /// It has been used already, and this is what came of it.
    Newer(Box<Session>),
    /// The session was ended.
    Ended,
}

/// Orders the leases of one session.
pub(super) struct Fence(pub(super) u64);

impl Store {
    pub(super) async fn load(&self, cookies: &Cookies<'_>, now: Timestamp) -> Loaded {
        match self {
            Self::Cookie(store) => store.load(cookies, now),
        }
    }

    /// Asks for the right to show the refresh token of this state of a session.
    pub(super) async fn lease(&self, session: &Session, now: Timestamp) -> Lease {
        match self {
            Self::Cookie(store) => store.lease(session, now),
        }
    }

    /// Keeps what a refresh made of a session. `None` when the session was ended meanwhile, or
    /// the lease was lost; else the state that is kept.
    pub(super) async fn commit(
        &self,
        fence: Fence,
        session: Session,
        now: Timestamp,
    ) -> Option<Session> {
        match self {
            Self::Cookie(store) => store.commit(&fence, session, now),
        }
    }

    /// Keeps a newer state of a session.
    pub(super) async fn keep(&self, session: Session, now: Timestamp) {
        match self {
            Self::Cookie(store) => store.keep(session, now),
        }
    }

    /// The newest state that is known without asking anybody; `None` when the session was ended.
    pub(super) fn newest(&self, session: Session, now: Timestamp) -> Option<Session> {
        match self {
            Self::Cookie(store) => store.newest(session, now),
        }
    }

    pub(super) async fn revoke(
        &self,
        mark: Mark<'_>,
        began_by: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) {
        match self {
            Self::Cookie(store) => store.revoke(mark, began_by, until, now),
        }
    }

    /// Remembers a logout token; whether it is the first time.
    pub(super) async fn first_use(&self, jti: &str, until: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Cookie(store) => store.first_use(jti, until, now),
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
        }
    }
}
