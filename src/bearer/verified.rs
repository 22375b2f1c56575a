//! Tokens that were verified a moment ago, so that a warm request costs a look-up and not a
//! signature (an Ed25519 verification costs about as much as all the rest of a request).
//!
//! What is remembered is who the token proves, never what they may do: policy is evaluated on
//! every request (R24). Only successes are remembered, for at most [`LONGEST`].
//!
//! A token is found by itself and by everything else that its verification depended on, each
//! compared byte for byte (R20): the hash says where to look, and is believed in nothing.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{self, SHA256};
use equivalent::Equivalent;
use secrecy::ExposeSecret;

use super::{Rules, keys::Generation};
use crate::{
    identity::{Identity, Proof},
    time::Timestamp,
};

/// How long a verification counts at most.
pub const LONGEST: Duration = Duration::from_mins(5);

/// Identities of verified tokens. A clone is a handle to the same entries.
#[derive(Clone)]
pub struct Verified {
    /// The hash has a key of this process, so nobody can choose tokens that collide.
    entries: moka::sync::Cache<Proven, Entry, ahash::RandomState>,
}

#[derive(Clone)]
struct Entry {
    identity: Arc<Identity>,
    until: Timestamp,
}

impl Verified {
    /// Remembers up to `entries` tokens of usual size; one above 2 KiB takes the room of several.
    #[must_use]
    pub fn new(entries: u64) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(entries)
            .weigher(|_, entry: &Entry| weight(entry))
            // Frees the memory of what nobody asks for. Whether an entry counts is decided by
            // `until` and the caller's `now`, not by this clock.
            .time_to_live(LONGEST)
            .build_with_hasher(ahash::RandomState::new());
        Self { entries }
    }

    /// Whom the token of this key proves. The caller checks `exp` and `nbf` again
    /// ([`super::in_time`]), because the clock may have been set back meanwhile.
    #[must_use]
    pub fn identity(&self, key: &Key<'_>, now: Timestamp) -> Option<Arc<Identity>> {
        let entry = self.entries.get(key)?;
        (now < entry.until).then_some(entry.identity)
    }

    /// Remembers a success until the token expires, without leeway, and for at most [`LONGEST`].
    /// `identity` has the token of `key`; another one's is not remembered.
    pub fn remember(&self, key: &Key<'_>, identity: &Arc<Identity>, now: Timestamp) {
        let until = identity.expires.min(now + LONGEST);
        if now < until && identity.token.expose_secret() == key.token {
            let Key { scope, audience, generation, token: _ } = *key;
            let audience = audience.into();
            let proven = Proven { scope, audience, generation, identity: Arc::clone(identity) };
            self.entries.insert(proven, Entry { identity: Arc::clone(identity), until });
        }
    }
}

/// The rules of an issuer in one value: equal scopes mean equal verifications, but for audience,
/// keys, token and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope([u8; 32]);

impl Scope {
    /// SHA-256 over everything in the rules but the audience, which may be another for each call:
    /// each part is preceded by its length, so no two lists of parts read the same (R20).
    #[must_use]
    pub fn of(rules: &Rules) -> Self {
        let mut context = digest::Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(match rules.proof {
            Proof::Session => b"session",
            Proof::IamToken => b"iam",
            Proof::AppToken => b"app",
            Proof::Extension => b"extension",
            Proof::Certificate => b"certificate",
        });
        part(rules.issuer.as_bytes());
        part(&rules.leeway.as_secs().to_be_bytes());
        part(if rules.roles.is_some() { b"roles" } else { b"" });
        part(rules.roles.as_deref().unwrap_or_default().as_bytes());
        part(&(rules.algorithms.len() as u64).to_be_bytes());
        for algorithm in &rules.algorithms {
            part(&[*algorithm as u8]);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

/// Names one token under one set of rules and keys: equal keys mean an equal verification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The rules.
    pub scope: Scope,
    /// For whom the token has to be.
    pub audience: &'a str,
    /// The keys.
    pub generation: Generation,
    /// The token.
    pub token: &'a str,
}

/// A [`Key`] that is kept: the token is the identity's, so that it is in memory once.
#[derive(Clone)]
struct Proven {
    scope: Scope,
    audience: Box<str>,
    generation: Generation,
    identity: Arc<Identity>,
}

impl Proven {
    fn key(&self) -> Key<'_> {
        Key {
            scope: self.scope,
            audience: &self.audience,
            generation: self.generation,
            token: self.identity.token.expose_secret(),
        }
    }
}

/// By the token alone, in which most keys differ.
impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.token.as_bytes());
    }
}

impl Hash for Proven {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Proven {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Proven {}

impl Equivalent<Proven> for Key<'_> {
    fn equivalent(&self, proven: &Proven) -> bool {
        *self == proven.key()
    }
}

fn weight(entry: &Entry) -> u32 {
    let length = entry.identity.token.expose_secret().len();
    u32::try_from(1 + length / 2048).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
