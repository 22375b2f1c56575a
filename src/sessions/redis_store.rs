//! Sessions in Redis, shared by every process that has the same keys and the same Redis.
//!
//! The browser has a ticket, Redis a sealed [`record`]; every request reads it anew, so what one
//! replica does counts on all of them at their next request. The words of a refresh, which the
//! `model` of the tests checks in every order of events:
//!
//! 1. A process takes the **lease** on a refresh token. With it, in the same step, goes the
//!    **intent** to show that token. Others wait for the record to have another token.
//! 2. It shows the token to the provider; meanwhile the lease is renewed.
//! 3. It **commits** what came of it: tokens, and the end of the intent, in one step, which the
//!    **fence** of its lease allows as long as there was no later lease.
//! 4. Or it **releases** the lease: with the intent gone when the token was certainly not used.
//!
//! When a process dies between 1 and 3, its lease ends by itself and its intent stays. Nobody
//! knows whether the token was used, and to show it a second time may end everything that goes
//! back to the same login (RFC 9700, section 4.14.2). So nobody does: the session lives on with
//! the tokens at hand, and its user logs in again when they are over.
//!
//! What is ended by the provider's `sid` or by its subject gets a **mark**, which is read with
//! every record; a session that is ended by itself loses its record, and no script makes one again.

mod connection;
mod lease;
#[cfg(test)]
mod model;
pub(crate) mod record;
mod script;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use redis::Cmd;

use self::{
    connection::Connections,
    record::{Record, token_digest},
};
use super::{
    Limits,
    store::{Held, KeepError, Loaded},
};
use crate::{
    config::RedisUrl,
    session::{
        Cookies, Jar, Pieces, Session, Shared,
        cookie::{OpenedTicket, SaveError},
        revocation::Mark,
        ticket::Ticket,
    },
    time::Timestamp,
};

pub use self::connection::Unreachable;
pub(super) use self::lease::Holder;

/// Sessions in Redis.
pub struct RedisStore {
    jar: Arc<Jar>,
    limits: Limits,
    redis: Arc<Connections>,
}

/// The URL, or the CA beside it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl RedisStore {
    /// Connects at the first request. `ca` holds certificates in PEM, for TLS with a private CA.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn new(
        jar: Arc<Jar>,
        limits: Limits,
        url: &RedisUrl,
        ca: Option<&[u8]>,
    ) -> Result<Self, Unusable> {
        if ca.is_some_and(|pem| !String::from_utf8_lossy(pem).contains("BEGIN CERTIFICATE")) {
            return Err(Unusable("ca holds no certificate".to_owned()));
        }
        let redis = Connections::new(url, ca).map_err(|error| Unusable(error.to_string()))?;
        Ok(Self { jar, limits, redis: Arc::new(redis) })
    }

    /// Whether Redis answered the last command; `None` before the first.
    #[must_use]
    pub fn is_up(&self) -> Option<bool> {
        self.redis.is_up()
    }

    pub(super) async fn ping(&self) -> Result<(), Unreachable> {
        self.redis.run::<String>(&redis::cmd("PING")).await.map(drop)
    }

    pub(super) async fn load(&self, cookies: &Cookies<'_>, now: Timestamp) -> Loaded {
        let ticket = match self.jar.open_ticket(cookies) {
            OpenedTicket::NotPresented => return Loaded::NotPresented,
            OpenedTicket::Failed(why) => return Loaded::Failed(why),
            OpenedTicket::Ticket(ticket) => ticket,
        };
        self.held(&ticket, now).await
    }

    pub(super) async fn reload(&self, session: &Session, now: Timestamp) -> Loaded {
        self.held(&Ticket::of(session), now).await
    }

    async fn held(&self, ticket: &Ticket, now: Timestamp) -> Loaded {
        if now >= ticket.ends {
            return Loaded::Ended;
        }
        let Ok(record) = Record::of(&ticket.id) else {
            return Loaded::Failed("the session's key cannot be derived");
        };
        let (loaded, marks) = tokio::join!(self.read(&record), self.marks(ticket));
        let (session, marks) = match (loaded, marks) {
            (Ok(Some(Ok(session))), Ok(marks)) => (session, marks),
            (Ok(None), Ok(_)) => return Loaded::Ended,
            (Ok(Some(Err(why))), Ok(_)) => return Loaded::Failed(why),
            _ => return Loaded::Unreachable,
        };
        // A refresh may have brought another session of the provider than the ticket knows.
        let newest = Ticket::of(&session);
        let marks = if newest == *ticket {
            marks
        } else {
            match self.marks(&newest).await {
                Ok(more) => marks.max(more),
                Err(Unreachable) => return Loaded::Unreachable,
            }
        };
        if marks.is_some_and(|began_by| session.began <= began_by) {
            return Loaded::Ended;
        }
        Loaded::Session(Held { presented: session.revision, session: Shared::new(session) })
    }

    /// The record of a new session.
    pub(super) async fn begin(
        &self,
        session: &Session,
        replaces: Pieces,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, KeepError> {
        let lines = self.jar.save_ticket(&Ticket::of(session), replaces, now)?;
        let record = Record::of(&session.id).map_err(SaveError::from)?;
        let sealed = sealed(&record, session)?;
        let mut command = eval(script::BEGIN, &[&record.key]);
        self.expiry(&mut command, session.last_seen.0, session);
        command.arg(session.revision).arg(sealed).arg(token_digest(session));
        self.word(&command).await?;
        Ok(lines)
    }

    /// Notes that a session was seen, and lets its idle time-out slide.
    pub(super) async fn touch(&self, session: &Session) -> Result<(), Unreachable> {
        let Ok(record) = Record::of(&session.id) else { return Ok(()) };
        let mut command = eval(script::TOUCH, &[&record.key]);
        self.expiry(&mut command, session.last_seen.0, session);
        self.word(&command).await.map(drop)
    }

    /// Keeps the organisation that a session acts in.
    pub(super) async fn keep(&self, session: &Session) -> Result<(), KeepError> {
        let record = Record::of(&session.id).map_err(SaveError::from)?;
        let mut session = session.clone();
        for _ in 0..MOST_CONFLICTS {
            let mut command = eval(script::KEEP, &[&record.key]);
            command.arg(session.revision.saturating_sub(1));
            self.expiry_from_seen(&mut command, &session);
            command.arg(session.revision).arg(sealed(&record, &session)?);
            match self.word(&command).await?.as_str() {
                "kept" => return Ok(()),
                "ended" => return Err(KeepError::Ended),
                _ => {}
            }
            // Somebody else was faster: the same again, with what they made of it.
            match self.read(&record).await? {
                Some(Ok(newest)) => {
                    let revision = newest.revision.saturating_add(1);
                    session = Session { organisation: session.organisation, revision, ..newest };
                }
                _ => return Err(KeepError::Ended),
            }
        }
        Err(KeepError::Unreachable(Unreachable))
    }

    pub(super) async fn revoke(
        &self,
        mark: Mark<'_>,
        began_by: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Unreachable> {
        if let Mark::Session(id) = mark {
            let Ok(record) = Record::of(id) else { return Ok(()) };
            let mut command = redis::cmd("DEL");
            command.arg(&record.key).arg(&record.lease);
            return self.redis.run(&command).await;
        }
        let mut command = eval(script::MARK, &[&mark_key(&mark.key())]);
        command.arg(began_by.0).arg(until.since(now).as_secs().max(1));
        self.word(&command).await.map(drop)
    }

    pub(super) async fn first_use(
        &self,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Unreachable> {
        let attempt = random().ok_or(Unreachable)?;
        let mut command = eval(script::FIRST_USE, &[&mark_key(&Mark::LogoutToken(jti).key())]);
        command.arg(attempt).arg(until.since(now).as_secs().max(1));
        self.word(&command).await.map(|word| word == "first")
    }

    /// A record: none, what is wrong with it, or the session.
    async fn read(
        &self,
        record: &Record,
    ) -> Result<Option<Result<Session, &'static str>>, Unreachable> {
        let mut command = eval(script::LOAD, &[&record.key]);
        command.arg(LARGEST);
        let mut parts: Vec<Vec<u8>> = self.redis.run(&command).await?;
        let sealed = parts.pop().unwrap_or_default();
        let mut parts = parts.into_iter().map(String::from_utf8);
        let (Some(Ok(word)), Some(Ok(revision)), Some(Ok(seen))) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Ok((sealed != b"ended").then_some(Err("the session's record is too large")));
        };
        let session = record.open(&revision, &sealed).filter(|_| word == "held");
        let session = session.ok_or("the session's record is not what was kept");
        let seen = Timestamp(seen.parse().unwrap_or(0));
        Ok(Some(session.map(|session| Session { last_seen: seen, ..session })))
    }

    /// The latest moment up to which sessions of this ticket were ended.
    async fn marks(&self, ticket: &Ticket) -> Result<Option<Timestamp>, Unreachable> {
        let mut command = redis::cmd("MGET");
        command.arg(mark_key(&ticket.subject));
        if let Some(provider_session) = &ticket.provider_session {
            command.arg(mark_key(provider_session));
        }
        let marks: Vec<Option<u64>> = self.redis.run(&command).await?;
        Ok(marks.into_iter().flatten().max().map(Timestamp))
    }

    fn expiry(&self, command: &mut Cmd, seen: u64, session: &Session) {
        command.arg(seen);
        self.expiry_from_seen(command, session);
    }

    /// Whether a session counts is decided by its own times; Redis forgets it a little later, so
    /// that clocks may differ.
    fn expiry_from_seen(&self, command: &mut Cmd, session: &Session) {
        command.arg((self.limits.idle + GRACE).as_secs());
        command.arg((session.last_moment(self.limits.absolute) + GRACE).0);
    }

    async fn words(&self, command: &Cmd) -> Result<Vec<String>, Unreachable> {
        self.redis.run(command).await
    }

    async fn word(&self, command: &Cmd) -> Result<String, Unreachable> {
        Ok(self.words(command).await?.into_iter().next().unwrap_or_default())
    }
}

fn sealed(record: &Record, session: &Session) -> Result<Vec<u8>, SaveError> {
    let sealed = record.seal(session)?;
    let size = sealed.len();
    if size > LARGEST { Err(SaveError::TooLarge { size, limit: LARGEST }) } else { Ok(sealed) }
}

fn eval(script: &str, keys: &[&String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    command
}

fn mark_key(name: &[u8; 32]) -> String {
    format!("portcullis:ended:{}", URL_SAFE_NO_PAD.encode(name))
}

fn random() -> Option<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Bytes of one sealed session: several tokens of the largest size that providers give.
const LARGEST: usize = 64 * 1024;
const GRACE: Duration = Duration::from_mins(1);
const MOST_CONFLICTS: usize = 8;
