//! Which keys are published and which one signs, over time and without a clock.
//!
//! Core keeps a key set for its `ttlJwks` and never asks again for an unknown `kid`, so a key
//! must be published for that long before it signs. A ring remembers since when each key is. A
//! key that is new and first therefore waits, and the one before it goes on signing.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::KeyError;
use crate::{sts::cache::round_up, time::Timestamp};

/// The two lengths of time that a rotation turns on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A key is published this long before it signs.
    pub(super) settle: Duration,
    /// The longest life of a token.
    pub(super) longest: Duration,
}

/// A key pair, ready to sign.
pub(super) struct Pair {
    pub(super) key: EncodingKey,
    pub(super) header: Header,
    pub(super) kid: Arc<str>,
    x: String,
}

/// A published key.
#[derive(Clone)]
struct Held {
    pair: Arc<Pair>,
    since: Timestamp,
    /// When it was last the one that signs.
    signed: Option<Timestamp>,
    /// Set for a key that is no longer configured: published until then, and signing nothing.
    until: Option<Timestamp>,
}

/// What may be told of a published key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Its `kid`.
    pub kid: Arc<str>,
    /// Since when it may have been published; 0: nobody knows.
    pub since: Timestamp,
    /// Whether it is the one that signs.
    pub signs: bool,
    /// Until when it is published, if it is no longer configured.
    pub until: Option<Timestamp>,
}

/// The keys as they are at one time. Never empty.
pub(super) struct Ring {
    /// Those configured, in their order, then those that are only published still.
    keys: Vec<Held>,
    signing: Arc<Pair>,
    document: Bytes,
    tag: Arc<str>,
}

/// What an operator should know about a change of the ring, in the order of `keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key is published from now on.
    Published(Arc<str>),
    /// A key is published no more.
    Withdrawn(Arc<str>),
    /// A key that signed tokens which are still valid left the configuration: it signs no more,
    /// and is published until the last of them has ended.
    Retired(Arc<str>, Timestamp),
    /// The first key has to wait until then; `signing` goes on.
    Waiting {
        /// The first key.
        first: Arc<str>,
        /// Who signs.
        signing: Arc<str>,
        /// When that ends.
        due: Timestamp,
    },
    /// Another key signs now.
    Signs(Arc<str>),
    /// It signs although Core may not know it until then: no key was published for long enough.
    TooEarly(Arc<str>, Timestamp),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |time: &Timestamp| {
            let time = i64::try_from(time.0).unwrap_or(i64::MAX);
            jiff::Timestamp::from_second(time).unwrap_or(jiff::Timestamp::MAX)
        };
        match self {
            Self::Published(kid) => write!(f, "key {kid} is published"),
            Self::Withdrawn(kid) => write!(f, "key {kid} is published no more"),
            Self::Retired(kid, until) => write!(
                f,
                "key {kid} was taken out of sts.issuer.keys while tokens of it are valid; it signs \
                 nothing from now on, and is published until {} for those",
                at(until)
            ),
            Self::Waiting { first, signing, due } => write!(
                f,
                "key {first} is the first and will sign from {} on, when Core has had \
                 sts.issuer.core_jwks_lifetime to read it; until then {signing} signs",
                at(due)
            ),
            Self::Signs(kid) => write!(f, "key {kid} signs from now on"),
            Self::TooEarly(kid, until) => write!(
                f,
                "key {kid} signs although it was just published, because no older key is left; \
                 Core may refuse its tokens until {}",
                at(until)
            ),
        }
    }
}

impl Pair {
    pub(super) fn read(pem: &SecretString) -> Option<Self> {
        let pem = pem.expose_secret();
        // Of several keys in one file the parser would silently take the first.
        if pem.matches("-----BEGIN").count() != 1 {
            return None;
        }
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).ok()?;
        let pair = Ed25519KeyPair::from_pkcs8(key.as_bytes()).ok()?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        // The members that RFC 8037, appendix A.3 demands, in order and without white space.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid: Arc<str> = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes())).into();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid.to_string());
        Some(Self { key, header, kid, x })
    }

    fn jwk(&self) -> serde_json::Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": self.x,
            "use": "sig",
            "alg": "EdDSA",
            "kid": *self.kid,
        })
    }
}

/// Reads private keys in PEM.
///
/// # Errors
/// When there is none, one is not a private Ed25519 key, or one is repeated.
pub(super) fn read<'k>(
    pems: impl IntoIterator<Item = &'k SecretString>,
) -> Result<Vec<Pair>, KeyError> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (at, pem) in pems.into_iter().enumerate() {
        let pair = Pair::read(pem).ok_or(KeyError::NotEd25519(at + 1))?;
        if pairs.iter().any(|other| other.kid == pair.kid) {
            return Err(KeyError::Repeated(at + 1));
        }
        pairs.push(pair);
    }
    if pairs.is_empty() { Err(KeyError::NoKey) } else { Ok(pairs) }
}

impl Ring {
    /// The ring at start-up; each key with the time since when it may have been published.
    pub(super) fn first(
        keys: Vec<(Pair, Timestamp)>,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let hold = |(pair, since): (Pair, Timestamp)| Held {
            pair: Arc::new(pair),
            since: since.min(now),
            signed: None,
            until: None,
        };
        Self::of(keys.into_iter().map(hold).collect(), pace, now)
    }

    /// The ring after the configured keys became these.
    pub(super) fn replaced(
        &self,
        keys: Vec<Pair>,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let known = self.stamped(now);
        let mut next: Vec<Held> = keys
            .into_iter()
            .map(|pair| match known.iter().find(|held| held.pair.kid == pair.kid) {
                Some(held) => Held { until: None, ..held.clone() },
                None => Held { pair: Arc::new(pair), since: now, signed: None, until: None },
            })
            .collect();
        for held in known {
            if next.iter().all(|other| other.pair.kid != held.pair.kid)
                && let Some(signed) = held.signed
            {
                let until = held.until.unwrap_or(signed + round_up(pace.longest) + A_SECOND);
                next.push(Held { until: Some(until), ..held });
            }
        }
        Self::of(next, pace, now)
    }

    /// The ring as it is at `now`; `None` when time alone has changed nothing.
    pub(super) fn advanced(&self, pace: Pace, now: Timestamp) -> Option<Self> {
        let next = Self::of(self.stamped(now), pace, now).ok()?;
        let same = next.signing.kid == self.signing.kid && next.keys.len() == self.keys.len();
        (!same).then_some(next)
    }

    fn of(mut keys: Vec<Held>, pace: Pace, now: Timestamp) -> Result<Self, KeyError> {
        keys.retain(|held| held.until.is_none_or(|until| now < until));
        let ready = |held: &&Held| held.until.is_none() && now >= held.due(pace);
        let configured = || keys.iter().filter(|held| held.until.is_none());
        let signing = configured()
            .find(ready)
            .or_else(|| configured().min_by_key(|held| held.since))
            .map(|held| Arc::clone(&held.pair))
            .ok_or(KeyError::NoKey)?;
        let jwks: Vec<_> = keys.iter().map(|held| held.pair.jwk()).collect();
        let document = Bytes::from(json!({ "keys": jwks }).to_string());
        let tag = URL_SAFE_NO_PAD.encode(digest(&SHA256, &document));
        Ok(Self { keys, signing, document, tag: format!("\"{tag}\"").into() })
    }

    /// The keys, the signing one with the time until which it has signed.
    fn stamped(&self, now: Timestamp) -> Vec<Held> {
        let mut keys = self.keys.clone();
        for held in &mut keys {
            if held.pair.kid == self.signing.kid {
                held.signed = Some(now);
            }
        }
        keys
    }

    pub(super) fn held(&self) -> Vec<HeldKey> {
        let held = |held: &Held| HeldKey {
            kid: Arc::clone(&held.pair.kid),
            since: held.since,
            signs: held.pair.kid == self.signing.kid,
            until: held.until,
        };
        self.keys.iter().map(held).collect()
    }

    /// The key that signs.
    pub(super) fn signing(&self) -> &Arc<Pair> {
        &self.signing
    }

    /// The public keys, and an entity tag for them (RFC 9110, section 8.8.3).
    pub(super) fn published(&self) -> (Bytes, Arc<str>) {
        (self.document.clone(), Arc::clone(&self.tag))
    }

    /// What is different from `before`, or worth saying at the start when there is none.
    pub(super) fn changes(&self, before: Option<&Self>, pace: Pace, now: Timestamp) -> Vec<Change> {
        let old = before.map_or(&[][..], |before| &before.keys);
        let in_old = |kid| old.iter().find(|held| held.pair.kid == kid);
        let mut changes = Vec::new();
        for Held { pair, until, .. } in &self.keys {
            let kid = &pair.kid;
            match (in_old(Arc::clone(kid)), until) {
                (None, _) => changes.push(Change::Published(Arc::clone(kid))),
                (Some(Held { until: None, .. }), Some(until)) => {
                    changes.push(Change::Retired(Arc::clone(kid), *until));
                }
                _ => {}
            }
        }
        for held in old {
            if self.keys.iter().all(|other| other.pair.kid != held.pair.kid) {
                changes.push(Change::Withdrawn(Arc::clone(&held.pair.kid)));
            }
        }
        let signing = Arc::clone(&self.signing.kid);
        let is_new = before.is_none_or(|before| before.signing.kid != signing);
        if is_new {
            changes.push(Change::Signs(Arc::clone(&signing)));
        }
        let held = self.keys.iter().find(|held| held.pair.kid == signing);
        let (Some(first), Some(held)) = (self.keys.first(), held) else { return changes };
        if is_new && now < held.due(pace) && before.is_some() {
            changes.push(Change::TooEarly(Arc::clone(&signing), held.due(pace)));
        }
        let waited = before.and_then(|before| before.keys.first());
        let is_waiting = first.pair.kid != signing;
        if is_waiting && (is_new || waited.is_none_or(|other| other.pair.kid != first.pair.kid)) {
            let first_kid = Arc::clone(&first.pair.kid);
            changes.push(Change::Waiting { first: first_kid, signing, due: first.due(pace) });
        }
        changes
    }
}

impl Held {
    /// From when on it may sign. Both ends count whole seconds, so one more is sure to cover.
    fn due(&self, pace: Pace) -> Timestamp {
        self.since + round_up(pace.settle) + A_SECOND
    }
}

const A_SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
