//! Which asks share a token, and for how long: keys and lifetimes, without storage or clock.
//!
//! A key is a SHA-256 over everything that could make the token service answer differently, each
//! part behind its length, so that no two different asks ever write the same bytes (R20).

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};

use crate::{organisation::Organisation, permission::PermissionSet, time::Timestamp};

/// What a cached token is found by. One-way: it may be kept and shown where a token may not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// A share of `whole`, between none and a quarter of it, that is the same for each use of
    /// this key and spread evenly over all keys.
    fn jitter(&self, whole: Duration) -> Duration {
        let [first, ..] = self.0;
        whole.saturating_mul(u32::from(first)) / (4 * 256)
    }
}

/// Shows enough to tell two apart.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, ..] = self.0;
        write!(f, "Key({first:02x}{second:02x}{third:02x}…)")
    }
}

/// Whom the token is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Whoever this token says; for an exchange, where only the token service knows what it will
    /// make of it.
    Token(&'a str),
    /// The one named so; for tokens that we mint, which say exactly this.
    Named {
        /// `kid` of the key that signs it.
        signer: &'a str,
        /// `iss` of the caller's token.
        issuer: &'a str,
        /// `sub` of it.
        subject: &'a str,
        /// What the minted token will carry.
        permissions: &'a PermissionSet,
    },
}

/// What makes one ask differ from another.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// For whom.
    pub subject: Subject<'a>,
    /// Who acts for them: the actor's token, or name where we mint.
    pub actor: Option<&'a str>,
    /// For which upstream.
    pub audience: &'a str,
    /// With which scope.
    pub scope: Option<&'a str>,
    /// In which organisation.
    pub organisation: Option<Organisation>,
}

/// Makes the keys of one token service as it is configured now.
pub struct KeySpace(Context);

impl KeySpace {
    /// `fixed` is what is the same for all of its asks: client id, issuer, address,
    /// generation of the configuration.
    #[must_use]
    pub fn new(fixed: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        number(&mut context, fixed.len());
        for part in fixed {
            field(&mut context, part);
        }
        Self(context)
    }

    /// The key of an ask.
    #[must_use]
    pub fn key(&self, parts: &Parts<'_>) -> Key {
        let mut context = self.0.clone();
        match parts.subject {
            Subject::Token(token) => {
                number(&mut context, 0);
                field(&mut context, token.as_bytes());
            }
            Subject::Named { signer, issuer, subject, permissions } => {
                number(&mut context, 1);
                field(&mut context, signer.as_bytes());
                field(&mut context, issuer.as_bytes());
                field(&mut context, subject.as_bytes());
                number(&mut context, permissions.len());
                for permission in permissions {
                    field(&mut context, permission.as_str().as_bytes());
                }
            }
        }
        optional(&mut context, parts.actor.map(str::as_bytes));
        field(&mut context, parts.audience.as_bytes());
        optional(&mut context, parts.scope.map(str::as_bytes));
        let organisation = parts.organisation.map(Organisation::into_bytes);
        optional(&mut context, organisation.as_ref().map(<[u8; 16]>::as_slice));
        let mut key = [0; 32];
        // A SHA-256 digest is always this long; zip rather than copy, which could panic.
        key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Key(key)
    }
}

fn number(context: &mut Context, number: usize) {
    context.update(&(number as u64).to_le_bytes());
}

fn field(context: &mut Context, bytes: &[u8]) {
    number(context, bytes.len());
    context.update(bytes);
}

fn optional(context: &mut Context, bytes: Option<&[u8]>) {
    number(context, usize::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        field(context, bytes);
    }
}

/// How long tokens are kept.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// A token this close to its end is not handed out from the cache.
    pub margin: Duration,
    /// A token this close to its end is renewed while it still serves; less a jitter for each
    /// key, and never more than half of the time for which a token serves.
    pub refresh_ahead: Duration,
}

/// The time of one cached token.
#[derive(Debug)]
pub struct Lease {
    usable_until: Timestamp,
    /// When a hit starts the next renewal; `u64::MAX` when a renewal would gain nothing.
    renew_from: AtomicU64,
}

impl Lease {
    /// The lease of a token obtained at `now` that ends at `issued`, for which a subject token
    /// (and an actor token) was presented that ends at `presented`. `None` when it must not be
    /// kept: it serves those who waited for it and nobody after them.
    #[must_use]
    pub fn new(
        lifetimes: Lifetimes,
        key: &Key,
        issued: Timestamp,
        presented: Timestamp,
        now: Timestamp,
    ) -> Option<Self> {
        let usable_until = issued.min(presented) - round_up(lifetimes.margin);
        if usable_until <= now {
            return None;
        }
        // The end of what was presented bounds every renewal too.
        let renew_from = if issued < presented {
            let ahead = lifetimes.refresh_ahead.saturating_sub(key.jitter(lifetimes.refresh_ahead));
            let half = now + usable_until.since(now) / 2;
            (issued - ahead).max(half).0
        } else {
            u64::MAX
        };
        Some(Self { usable_until, renew_from: AtomicU64::new(renew_from) })
    }

    /// Whether the token may be handed out.
    #[must_use]
    pub fn serves(&self, now: Timestamp) -> bool {
        now < self.usable_until
    }

    /// Whether this hit is the one that has to start a renewal. Says so once; the next time no
    /// sooner than after `pause`, should the renewal not have replaced the token by then.
    #[must_use]
    pub fn claim_renewal(&self, now: Timestamp, pause: Duration) -> bool {
        let due = self.renew_from.load(Ordering::Relaxed);
        let next = (now + round_up(pause)).0;
        now.0 >= due
            && self
                .renew_from
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// How long the token will serve from `now` on.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.usable_until.since(now)
    }
}

/// The whole seconds that cover `length`: a [`Timestamp`] counts nothing smaller, and a margin or
/// a pause must not shrink to nothing.
#[must_use]
pub const fn round_up(length: Duration) -> Duration {
    let more = if length.subsec_nanos() > 0 { 1 } else { 0 };
    Duration::from_secs(length.as_secs().saturating_add(more))
}

#[cfg(test)]
mod tests;
