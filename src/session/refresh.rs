//! When a session's tokens are renewed, and what the attempt makes of the session.
//!
//! Decisions only: `sessions` asks the provider, once for however many requests wait. A refresh
//! token may be good for one use (rotation), and a second use may end the session at the provider
//! (RFC 9700, section 4.14.2), so an attempt whose answer was lost is not repeated while the
//! tokens at hand still serve.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use super::Session;
use crate::{identity::Identity, time::Timestamp};

/// What a request has to do about its session's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// Have them renewed, and go on with those at hand.
    Ahead,
    /// Have them renewed, and wait: those at hand are over.
    Due,
}

/// Tokens that the provider gave for a refresh token, verified.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The new IAM token's identity.
    pub identity: Identity,
    /// A new ID token, where the provider gave one.
    pub id_token: Option<SecretString>,
    /// A new refresh token, where the provider rotates them.
    pub refresh_token: Option<SecretString>,
    /// `sid` of the new ID token.
    pub provider_session: Option<Arc<str>>,
    /// The end that the provider names now.
    pub provider_ends: Option<Timestamp>,
}

/// What an attempt came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// New tokens.
    Renewed(Box<Renewal>),
    /// The provider says that the refresh token is not good (`invalid_grant`).
    Refused,
    /// There are tokens, and they are not acceptable.
    Unacceptable {
        /// The refresh token that replaces the one that was used.
        refresh_token: Option<SecretString>,
        /// Whether another attempt may bring better ones.
        for_now: bool,
    },
    /// There is no answer, or none that decides anything.
    Unavailable {
        /// Whether the refresh token may have been used up all the same.
        may_be_used: bool,
    },
}

/// What becomes of the session.
pub enum Next {
    /// It has new tokens.
    Renewed(Box<Session>),
    /// It has those that it had, and there is to be no attempt before `retry`.
    Kept {
        /// A newer state to keep, where the refresh token was replaced.
        session: Option<Box<Session>>,
        /// The next attempt.
        retry: Timestamp,
    },
    /// It is over; with why.
    Ended(&'static str),
}

/// What to do about a session's tokens at `now`.
///
/// They are renewed ahead of their end by a quarter of their life, a minute at most. A session
/// takes some part of the last quarter of that time off, always the same for one state of it, so
/// that sessions that began together do not all ask together.
#[must_use]
pub fn plan(session: &Session, now: Timestamp) -> Plan {
    if session.refresh_token.is_none() {
        Plan::Keep
    } else if now >= session.token_expires {
        Plan::Due
    } else if now >= session.token_expires - lead(session) {
        Plan::Ahead
    } else {
        Plan::Keep
    }
}

fn lead(session: &Session) -> Duration {
    let life = session.token_expires.since(session.token_since);
    let most = (life / 4).min(LONGEST_LEAD);
    let [first, ..] = session.id;
    let spread = first.wrapping_add(session.revision.to_le_bytes()[0].wrapping_mul(101));
    let lead = most.saturating_sub(most * u32::from(spread) / (4 * 256));
    Duration::from_secs(lead.as_secs() + u64::from(lead.subsec_nanos() > 0))
}

/// What an attempt with this session's refresh token makes of it. `failures` counts the attempts
/// before this one that brought nothing, in a row.
///
/// Only the provider's definite refusal ends a session whose tokens still serve, and tokens that
/// are about somebody else.
#[must_use]
pub fn conclude(session: &Session, outcome: Outcome, failures: u32, now: Timestamp) -> Next {
    let lives = now < session.token_expires;
    match outcome {
        Outcome::Renewed(renewal) => {
            let identity = &renewal.identity;
            if identity.issuer != session.issuer || identity.subject != session.subject {
                return Next::Ended("the provider's new tokens are about somebody else");
            }
            if identity.expires <= now {
                let refresh_token = renewal.refresh_token;
                let over = Outcome::Unacceptable { refresh_token, for_now: false };
                return conclude(session, over, failures, now);
            }
            Next::Renewed(Box::new(renewed(session, *renewal, now)))
        }
        Outcome::Refused => Next::Ended("the provider refused to renew the tokens"),
        Outcome::Unacceptable { for_now: false, .. } if !lives => {
            Next::Ended("the provider's new tokens are not acceptable, and the old ones are over")
        }
        Outcome::Unacceptable { refresh_token, .. } => Next::Kept {
            session: refresh_token.map(|token| {
                Box::new(Session {
                    refresh_token: Some(token),
                    revision: session.revision.saturating_add(1),
                    ..session.clone()
                })
            }),
            retry: now + pause(failures),
        },
        Outcome::Unavailable { may_be_used } => Next::Kept {
            session: None,
            retry: if may_be_used && lives { session.token_expires } else { now + pause(failures) },
        },
    }
}

/// A refresh answer need bring neither a new refresh token (RFC 6749, section 6) nor an ID token
/// (OpenID Connect Core 1.0, section 12.2); what it leaves out stays.
fn renewed(session: &Session, renewal: Renewal, now: Timestamp) -> Session {
    let Renewal { identity, id_token, refresh_token, provider_session, provider_ends } = renewal;
    let old = session.clone();
    Session {
        roles: identity.roles,
        access_token: identity.token,
        token_since: now,
        token_expires: identity.expires,
        id_token: id_token.or(old.id_token),
        refresh_token: refresh_token.or(old.refresh_token),
        provider_session: provider_session.or(old.provider_session),
        provider_ends,
        revision: old.revision.saturating_add(1),
        ..old
    }
}

/// Doubles with each failure.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(LONGEST_PAUSE)
}

const LONGEST_LEAD: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
