//! Tokens that were verified a moment ago, so that a warm request costs a hash and not a
//! signature (an Ed25519 verification costs about as much as all the rest of a request).
//!
//! What is remembered is who the token proves, never what they may do: policy is evaluated on
//! every request (R24). Only successes are remembered, for at most [`LONGEST`].

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{self, SHA256};

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
    entries: moka::sync::Cache<Key, Entry>,
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
            .build();
        Self { entries }
    }

    /// Whom the token of this key proves. The caller checks `exp` and `nbf` again
    /// ([`super::in_time`]), because the clock may have been set back meanwhile.
    #[must_use]
    pub fn identity(&self, key: &Key, now: Timestamp) -> Option<Arc<Identity>> {
        let entry = self.entries.get(key)?;
        (now < entry.until).then_some(entry.identity)
    }

    /// Remembers a success until the token expires, without leeway, and for at most [`LONGEST`].
    pub fn remember(&self, key: Key, identity: &Arc<Identity>, now: Timestamp) {
        let until = identity.expires.min(now + LONGEST);
        if now < until {
            self.entries.insert(key, Entry { identity: Arc::clone(identity), until });
        }
    }
}

/// Names one token under one set of rules and keys: equal keys mean an equal verification.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// SHA-256 over everything that the verification depended on but the time: each part is
    /// preceded by its length, so no two lists of parts read the same (R20).
    #[must_use]
    pub fn new(rules: &Rules, audience: &str, generation: Generation, token: &str) -> Self {
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
        part(audience.as_bytes());
        part(&rules.leeway.as_secs().to_be_bytes());
        part(if rules.roles.is_some() { b"roles" } else { b"" });
        part(rules.roles.as_deref().unwrap_or_default().as_bytes());
        part(&(rules.algorithms.len() as u64).to_be_bytes());
        for algorithm in &rules.algorithms {
            part(&[*algorithm as u8]);
        }
        part(generation.as_bytes());
        part(token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

fn weight(entry: &Entry) -> u32 {
    use secrecy::ExposeSecret;
    let length = entry.identity.token.expose_secret().len();
    u32::try_from(1 + length / 2048).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
