//! Browser sessions at work: what `session` decides on paper, with a store, the provider and many
//! requests at once.
//!
//! [`Sessions`] is the one thing that requests talk to. Behind it a [`Store`](store) keeps
//! sessions, and a [`Renewer`](renewal) has their tokens renewed, once for however many requests
//! wait. What a response owes the browser for it travels in [`PendingCookies`] and is settled when
//! the response is written, whoever writes it: a background refresh may land in between.

mod checks;
mod cookie_store;
mod opened;
pub(crate) mod redis_store;
mod refreshes;
mod renewal;
mod store;
mod watched;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::HeaderValue;
use secrecy::SecretString;

use self::{
    checks::Checks,
    renewal::{Attempt, Landed, Renewer},
    store::Loaded,
    watched::{Watched, Watching},
};
use crate::{
    identity::Identity,
    oidc::Provider,
    refusal::{Reason, Refusal},
    session::{
        Cookies, Jar, Pieces, Session, Shared, State,
        refresh::{self, Plan},
        revocation::Mark,
    },
    time::Timestamp,
};

pub use self::{
    cookie_store::CookieStore,
    redis_store::{RedisStore, Unreachable, Unusable},
    store::{KeepError, Store},
};

/// Judges an access token as an IAM token, the way bearer tokens are judged.
pub type VerifyIam =
    Arc<dyn Fn(SecretString, Timestamp) -> BoxFuture<Result<Identity, Refusal>> + Send + Sync>;

/// What [`VerifyIam`] returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a request for this long, a session ends.
    pub idle: Duration,
    /// So long after its login, a session ends.
    pub absolute: Duration,
}

/// Every browser session of one public origin.
pub struct Sessions {
    jar: Arc<Jar>,
    store: Arc<Store>,
    limits: Limits,
    renewer: Arc<Renewer>,
    watched: Arc<Watched>,
    checks: Checks,
}

/// What a request's session came to.
pub enum Found {
    /// It brought none.
    NotPresented,
    /// It counts, and its tokens serve.
    Active(Arc<Shared>),
    /// It does not; `iam_unavailable` when it would, if the provider answered.
    Failed(Refusal),
}

/// The `Set-Cookie` lines that the next response has to carry, whatever it says.
#[derive(Default)]
pub struct PendingCookies {
    lines: Vec<HeaderValue>,
    session: Option<Ticket>,
}

/// A session as its browser holds it.
struct Ticket {
    session: Arc<Shared>,
    /// What the browser's cookie says.
    revision: u32,
    pieces: Pieces,
    /// Whether it was seen since the cookie was written.
    touched: bool,
}

/// Shows how many there are, and no cookie.
impl fmt::Debug for PendingCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCookies")
            .field("lines", &self.lines.len())
            .field("session", &self.session.is_some())
            .finish()
    }
}

impl PendingCookies {
    /// Adds lines.
    pub fn add(&mut self, lines: impl IntoIterator<Item = HeaderValue>) {
        self.lines.extend(lines);
    }

    /// The lines, as of now. Nothing is left.
    pub fn take(&mut self, sessions: Option<&Sessions>, now: Timestamp) -> Vec<HeaderValue> {
        let mut lines = std::mem::take(&mut self.lines);
        if let (Some(ticket), Some(sessions)) = (self.session.take(), sessions) {
            lines.extend(sessions.settle(ticket, now));
        }
        lines
    }
}

impl Sessions {
    /// Sessions in `store`, whose tokens `provider` renews and `verify_iam` judges.
    #[must_use]
    pub fn new(
        jar: Arc<Jar>,
        store: Store,
        limits: Limits,
        provider: Arc<Provider>,
        verify_iam: VerifyIam,
        before: Option<&Self>,
    ) -> Self {
        let store = Arc::new(store);
        let watched = before.map(|before| Arc::clone(&before.watched)).unwrap_or_default();
        let before = before.map(|before| &*before.renewer);
        let renewer = Renewer::new(Arc::clone(&store), provider, verify_iam, before);
        let checks = Checks::default();
        Self { jar, store, limits, renewer: Arc::new(renewer), watched, checks }
    }

    /// Where they are.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The cookies.
    #[must_use]
    pub fn jar(&self) -> &Jar {
        &self.jar
    }

    /// How long sessions last.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The session of a request that is activity of its user: its idle time-out slides, and its
    /// tokens are renewed. A request whose tokens still serve waits for nobody.
    pub async fn find(
        &self,
        cookies: &Cookies<'_>,
        pending: &mut PendingCookies,
        now: Timestamp,
    ) -> Found {
        let found = self.look(cookies, pending, now).await;
        self.checks.count(&found);
        found
    }

    async fn look(
        &self,
        cookies: &Cookies<'_>,
        pending: &mut PendingCookies,
        now: Timestamp,
    ) -> Found {
        let held = match self.store.load(cookies, now).await {
            Loaded::Session(held) => held,
            Loaded::NotPresented => return Found::NotPresented,
            Loaded::Failed(why) => {
                return Found::Failed(Refusal::new(Reason::CredentialInvalid, why));
            }
            Loaded::Ended => return ended("the session was ended"),
            Loaded::Unreachable => return Found::Failed(unreachable()),
        };
        let mut ticket = Ticket {
            revision: held.presented,
            pieces: cookies.pieces(),
            touched: false,
            session: held.session,
        };
        match self.check(&ticket.session, now) {
            State::Expired(limit) => return ended(limit.detail()),
            State::Touch => {
                ticket.session = Shared::new(ticket.session.to_session().seen(now));
                ticket.touched = true;
                self.watched.seen(&ticket.session.id, now);
                // Failing that, the next request does it.
                let _ = self.store.touch(&ticket.session).await;
            }
            State::Active => {}
        }
        let plan = refresh::plan(&ticket.session, now);
        if plan != Plan::Keep {
            let attempt = self.renewer.attempt(&ticket.session, now);
            if plan == Plan::Due {
                match self.wait(attempt, now).await {
                    Ok(newer) => {
                        let session = ticket.session.to_session().or_newer(&newer);
                        ticket.session = Shared::new(session);
                    }
                    Err(refusal) => return Found::Failed(refusal),
                }
            }
        }
        let session = Arc::clone(&ticket.session);
        // Kept even if there is nothing new: until a slow answer is sent, another request may
        // have had the tokens renewed.
        if self.store.is_in_cookie() {
            pending.session = Some(ticket);
        }
        Found::Active(session)
    }

    /// The session of a request that is no activity.
    ///
    /// # Errors
    /// `credential_missing`, `credential_invalid`, `session_expired`.
    pub async fn peek(&self, cookies: &Cookies<'_>, now: Timestamp) -> Result<Session, Refusal> {
        let session = match self.store.load(cookies, now).await {
            Loaded::Session(held) => held.session.to_session(),
            Loaded::NotPresented => {
                return Err(Refusal::new(Reason::CredentialMissing, "there is no session"));
            }
            Loaded::Failed(why) => return Err(Refusal::new(Reason::CredentialInvalid, why)),
            Loaded::Ended => {
                return Err(Refusal::new(Reason::SessionExpired, "the session was ended"));
            }
            Loaded::Unreachable => return Err(unreachable()),
        };
        match self.check(&session, now) {
            State::Active | State::Touch => Ok(session),
            State::Expired(limit) => Err(Refusal::new(Reason::SessionExpired, limit.detail())),
        }
    }

    /// Whether a session is kept outside of this process.
    #[must_use]
    pub fn are_outside(&self) -> bool {
        !self.store.is_in_cookie()
    }

    /// Notes, until the answer is dropped, when requests of a session are seen.
    #[must_use]
    pub fn watch(&self, session: &Session) -> Watching {
        self.watched.watch(session.id, session.last_seen)
    }

    /// Looks again at a session that a request came with, which is no activity; its state becomes
    /// the newest that is known.
    ///
    /// # Errors
    /// `session_expired`; `session_unavailable` when nobody can say.
    pub async fn recheck(&self, session: &mut Session, now: Timestamp) -> Result<(), Refusal> {
        match self.store.reload(session, now).await {
            Loaded::Session(held) => *session = held.session.to_session(),
            Loaded::Unreachable => return Err(unreachable()),
            Loaded::NotPresented | Loaded::Failed(_) | Loaded::Ended => {
                return Err(Refusal::new(Reason::SessionExpired, "the session was ended"));
            }
        }
        if let Some(seen) = self.watched.last_seen(&session.id) {
            session.last_seen = session.last_seen.max(seen);
        }
        match self.check(session, now) {
            State::Active | State::Touch => Ok(()),
            State::Expired(limit) => Err(Refusal::new(Reason::SessionExpired, limit.detail())),
        }
    }

    /// Whether and how a session counts.
    #[must_use]
    pub fn check(&self, session: &Session, now: Timestamp) -> State {
        session.check(now, self.limits.idle, self.limits.absolute)
    }

    /// Keeps the session of a new login; the one that the browser had is over (R13, R14).
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn begin(
        &self,
        session: &Session,
        replaces: &Cookies<'_>,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, KeepError> {
        let lines = self.store.begin(session, replaces.pieces(), now).await?;
        match self.store.load(replaces, now).await {
            Loaded::Session(old) => {
                self.revoke(Mark::Session(&old.session.id), Timestamp(u64::MAX), now).await?;
            }
            Loaded::Unreachable => return Err(Unreachable.into()),
            Loaded::NotPresented | Loaded::Failed(_) | Loaded::Ended => {}
        }
        Ok(lines)
    }

    /// Keeps a changed state of a session, in place of what `pending` owes for it.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn change(
        &self,
        session: Session,
        browser: &Cookies<'_>,
        pending: &mut PendingCookies,
        now: Timestamp,
    ) -> Result<(), KeepError> {
        let lines = self.store.keep(session, browser.pieces(), now).await?;
        pending.session = None;
        pending.add(lines);
        Ok(())
    }

    /// Ends the session that a browser holds, also one that no longer counts, and gives it back.
    ///
    /// # Errors
    /// `session_unavailable`: it goes on.
    pub async fn end(
        &self,
        cookies: &Cookies<'_>,
        now: Timestamp,
    ) -> Result<Option<Session>, Refusal> {
        let held = match self.store.load(cookies, now).await {
            Loaded::Session(held) => held,
            Loaded::Unreachable => return Err(unreachable()),
            Loaded::NotPresented | Loaded::Failed(_) | Loaded::Ended => return Ok(None),
        };
        let mark = Mark::Session(&held.session.id);
        let revoked = self.revoke(mark, Timestamp(u64::MAX), now).await;
        revoked.map(|()| Some(held.session.to_session())).map_err(|Unreachable| unreachable())
    }

    /// Ends sessions that began by now: those of one session of the provider, or of a subject.
    ///
    /// # Errors
    /// `session_unavailable`: they go on.
    pub async fn end_all(&self, which: Mark<'_>, now: Timestamp) -> Result<(), Refusal> {
        self.revoke(which, now, now).await.map_err(|Unreachable| unreachable())
    }

    /// Whether a logout token of this `jti` comes for the first time; it is remembered to `until`.
    ///
    /// # Errors
    /// `session_unavailable`.
    pub async fn first_use(
        &self,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        self.store.first_use(jti, until, now).await.map_err(|Unreachable| unreachable())
    }

    /// Whether the store outside the process answers; `None` where there is none, or nobody asked.
    #[must_use]
    pub fn is_up(&self) -> Option<bool> {
        self.store.is_up()
    }

    /// Sessions that requests came with since the start, by what was found.
    #[must_use]
    pub fn checks(&self) -> [(&'static str, u64); 4] {
        self.checks.read()
    }

    /// Attempts to renew tokens since the start, by what came of them.
    #[must_use]
    pub fn refreshes(&self) -> [(&'static str, u64); 4] {
        self.renewer.refreshes().read()
    }

    async fn revoke(
        &self,
        mark: Mark<'_>,
        began_by: Timestamp,
        now: Timestamp,
    ) -> Result<(), Unreachable> {
        self.store.revoke(mark, began_by, now + self.limits.absolute, now).await
    }

    /// Waits for new tokens, since the old ones are over.
    async fn wait(&self, attempt: Attempt, now: Timestamp) -> Result<Arc<Session>, Refusal> {
        let unavailable = |why: &'static str, after: Duration| {
            Refusal::new(Reason::IamUnavailable, why).retry_after(after)
        };
        let seat = match attempt {
            Attempt::UnderWay(seat) => seat,
            Attempt::Paused(retry) => {
                return Err(unavailable("the tokens could not be renewed", retry.since(now)));
            }
        };
        let Ok(landed) = tokio::time::timeout(LONGEST_WAIT, seat.landed()).await else {
            return Err(unavailable("the provider takes long to renew the tokens", SOON));
        };
        match landed {
            Some(Landed::Renewed(session)) => match self.check(&session, now) {
                State::Expired(limit) => Err(Refusal::new(Reason::SessionExpired, limit.detail())),
                State::Active | State::Touch => Ok(session),
            },
            Some(Landed::Kept { retry }) => {
                Err(unavailable("the tokens could not be renewed", retry.since(now)))
            }
            Some(Landed::Ended(why)) => Err(Refusal::new(Reason::SessionExpired, why)),
            None => Err(unavailable("the renewal of the tokens broke off", SOON)),
        }
    }

    /// What the browser has to be told of its session now. Nothing of one that has ended: the
    /// response of a slow request must not bring it back.
    fn settle(&self, ticket: Ticket, now: Timestamp) -> Vec<HeaderValue> {
        let Ticket { session, revision, pieces, touched } = ticket;
        let unchanged = !touched && session.revision == revision;
        if unchanged && refresh::plan(&session, now) == Plan::Keep {
            return Vec::new();
        }
        let session = session.to_session();
        let Some(newest) = self.store.newest(session, now) else { return Vec::new() };
        if !touched && newest.revision == revision {
            return Vec::new();
        }
        self.store.lines(&newest, pieces, now).unwrap_or_else(|error| {
            // It goes on from memory, for as long as this process remembers it.
            log::error!(session = newest.public_id(); "a session cannot be written: {error}");
            Vec::new()
        })
    }
}

/// Not the caller's fault: neither a 401, which would log scripts out, nor a login, which could
/// not be kept either.
fn unreachable() -> Refusal {
    Refusal::new(Reason::SessionUnavailable, "the session store gives no answer")
}

/// The browser keeps its cookie: by now it may be that of a new login, which a late answer to an
/// old one must not clear.
fn ended(why: &'static str) -> Found {
    Found::Failed(Refusal::new(Reason::SessionExpired, why))
}

/// A request whose tokens are over waits so long for new ones.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(1);
