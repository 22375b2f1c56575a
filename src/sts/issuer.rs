//! Our own token service: mints app tokens as Core reads them, and the key set that goes with
//! them.
//!
//! Tokens are JWTs signed with Ed25519 (RFC 8037), typed `at+jwt` (RFC 9068) so that nothing that
//! wants an ID or logout token takes one (R34). The key set holds OKP keys only: one RSA or EC key
//! among them and Core refuses all. Who may have which token is not decided here; which key signs is
//! [`ring`]'s business, and [`watch`] reads changed key files.

mod ring;
pub mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use secrecy::SecretString;
use serde::Serialize;

pub use self::ring::{Change, HeldKey};
use self::ring::{Pace, Pair, Ring};
use crate::{
    bearer::KeySet,
    organisation::Organisation,
    permission::{Permission, PermissionSet},
    sts::Issued,
    time::Timestamp,
};

/// How an [`Issuer`] issues.
pub struct IssuerSettings {
    /// `iss` of its tokens.
    pub iss: Arc<str>,
    /// Private Ed25519 keys. All are published, and the first signs once it has been for long
    /// enough.
    pub keys: Vec<SigningKey>,
    /// How long a caller's own token lives.
    pub lifetime: Duration,
    /// How long a delegated token lives.
    pub delegated_lifetime: Duration,
    /// How long Core keeps a key set (`ttlJwks`).
    pub core_jwks_lifetime: Duration,
}

/// A configured key.
pub struct SigningKey {
    /// PKCS#8 in PEM.
    pub pem: SecretString,
    /// Since when it may have been published, as far as that can be told; 0 for always.
    pub since: Timestamp,
}

impl From<SecretString> for SigningKey {
    fn from(pem: SecretString) -> Self {
        Self { pem, since: Timestamp(0) }
    }
}

/// What a token will say.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    /// `sub`.
    pub subject: &'a Arc<str>,
    /// `organisationId`: a token is for one organisation or for none.
    pub organisation: Option<Organisation>,
    /// `aud`: the one upstream that it is for.
    pub audience: &'a str,
    /// `permissions`.
    pub permissions: &'a PermissionSet,
    /// `act.sub`; makes it a delegated token.
    pub actor: Option<&'a Arc<str>>,
}

/// Why the keys cannot be used. Positions count from 1, as the list is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("no key to sign with")]
    NoKey,
    /// Not exactly one private Ed25519 key.
    #[error("key {0} is not one Ed25519 private key in PKCS#8 PEM")]
    NotEd25519(usize),
    /// The same key a second time.
    #[error("key {0} is in the list twice")]
    Repeated(usize),
    /// More than a key set may hold.
    #[error("there are more keys than a key set may hold")]
    TooMany,
    /// No randomness, or no memory.
    #[error("the key could not be generated")]
    NotGenerated,
}

/// A token could not be signed. Does not happen with keys that [`Issuer::new`] took.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningFailed;

/// Mints app tokens.
pub struct Issuer {
    iss: Arc<str>,
    lifetime: Duration,
    delegated_lifetime: Duration,
    pace: Pace,
    max_age: Duration,
    ring: ArcSwap<Ring>,
    /// The published keys, for tokens that come back to us.
    verifying: Arc<ArcSwap<KeySet>>,
    /// One change of the ring at a time.
    changing: Mutex<()>,
}

/// The key that signs at the moment. A token that is cached under it and one that is minted with
/// it belong together, whatever becomes of the ring in between.
#[derive(Clone)]
pub struct Signer(Arc<Pair>);

impl Signer {
    /// Its `kid`: the JWK thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &Arc<str> {
        &self.0.kid
    }
}

impl Issuer {
    /// Reads the keys. At the start nothing is remembered of what was published before: the
    /// first key signs unless it is younger than a rotation takes and another one is older.
    ///
    /// # Errors
    /// When there is no key, or one is not a private Ed25519 key, or one is repeated.
    pub fn new(settings: IssuerSettings, now: Timestamp) -> Result<Self, KeyError> {
        // Whoever keeps our answer for as long as it allows, and then hands it to Core, makes
        // Core's own time begin that much later.
        let max_age = LONGEST_MAX_AGE.min(settings.core_jwks_lifetime / 2);
        let max_age = Duration::from_secs(max_age.as_secs());
        let pace = Pace {
            settle: settings.core_jwks_lifetime + max_age,
            longest: settings.lifetime.max(settings.delegated_lifetime),
        };
        let pairs = ring::read(settings.keys.iter().map(|key| &key.pem))?;
        let since = settings.keys.iter().map(|key| key.since);
        let ring = Ring::first(pairs.into_iter().zip(since).collect(), pace, now)?;
        let verifying = Arc::new(ArcSwap::new(key_set(&ring)?));
        Ok(Self {
            iss: settings.iss,
            lifetime: settings.lifetime,
            delegated_lifetime: settings.delegated_lifetime,
            pace,
            max_age,
            ring: ArcSwap::from_pointee(ring),
            verifying,
            changing: Mutex::new(()),
        })
    }

    /// Whether these settings are its own, but for the keys.
    #[must_use]
    pub fn is_as(&self, settings: &IssuerSettings) -> bool {
        self.iss == settings.iss
            && (self.lifetime, self.delegated_lifetime)
                == (settings.lifetime, settings.delegated_lifetime)
            && self.pace.settle == settings.core_jwks_lifetime + self.max_age
    }

    /// Takes other keys in place of the configured ones, and says what that changes.
    ///
    /// # Errors
    /// As [`Issuer::new`]; then everything stays as it is.
    pub fn replace_keys(
        &self,
        keys: &[SecretString],
        now: Timestamp,
    ) -> Result<Vec<Change>, KeyError> {
        let pairs = ring::read(keys)?;
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.load_full();
        self.take(&before, before.replaced(pairs, self.pace, now)?, now)
    }

    /// Does what is due by now, and says what that changes.
    ///
    /// # Errors
    /// Does not happen with keys that were taken before.
    pub fn advance(&self, now: Timestamp) -> Result<Vec<Change>, KeyError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.ring.load_full();
        match before.advanced(self.pace, now) {
            Some(next) => self.take(&before, next, now),
            None => Ok(Vec::new()),
        }
    }

    /// What an operator should know at the start.
    #[must_use]
    pub fn outset(&self, now: Timestamp) -> Vec<Change> {
        self.ring.load().changes(None, self.pace, now)
    }

    /// A new key is accepted here before it can sign, and an old one until it cannot have signed.
    fn take(&self, before: &Ring, next: Ring, now: Timestamp) -> Result<Vec<Change>, KeyError> {
        let changes = next.changes(Some(before), self.pace, now);
        self.verifying.store(key_set(&next)?);
        self.ring.store(Arc::new(next));
        Ok(changes)
    }

    /// Every published key, in the order of the list.
    #[must_use]
    pub fn held(&self) -> Vec<HeldKey> {
        self.ring.load().held()
    }

    /// The key to sign with now.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer(Arc::clone(self.ring.load().signing()))
    }

    /// A token that is valid from `now` on for the configured time. `jti` has to be unique among
    /// all tokens of this issuer.
    ///
    /// # Errors
    /// See [`SigningFailed`].
    pub fn mint(
        &self,
        signer: &Signer,
        mint: Mint<'_>,
        now: Timestamp,
        jti: Arc<str>,
    ) -> Result<Issued, SigningFailed> {
        let lifetime = if mint.actor.is_some() { self.delegated_lifetime } else { self.lifetime };
        let expires = now + lifetime;
        let claims = Claims {
            iss: &self.iss,
            aud: mint.audience,
            sub: mint.subject,
            iat: now,
            nbf: now,
            exp: expires,
            jti: &jti,
            organisation_id: mint.organisation.map(|organisation| organisation.to_string()),
            permissions: mint.permissions.iter().map(Permission::as_str).collect(),
            act: mint.actor.map(|actor| Act { sub: actor }),
        };
        let token = jsonwebtoken::encode(&signer.0.header, &claims, &signer.0.key)
            .map_err(|_| SigningFailed)?;
        Ok(Issued {
            token: token.into(),
            subject: Arc::clone(mint.subject),
            actor: mint.actor.cloned(),
            organisation: mint.organisation,
            permissions: mint.permissions.clone(),
            expires,
            id: Some(jti),
        })
    }

    /// `iss` of the tokens.
    #[must_use]
    pub fn iss(&self) -> &Arc<str> {
        &self.iss
    }

    /// The public keys as a JWK set (RFC 7517), and an entity tag for them.
    #[must_use]
    pub fn jwks_document(&self) -> (Bytes, Arc<str>) {
        self.ring.load().published()
    }

    /// For how long the document may be cached.
    #[must_use]
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The same keys for verifying; follows every change.
    #[must_use]
    pub const fn verifying(&self) -> &Arc<ArcSwap<KeySet>> {
        &self.verifying
    }
}

/// Shows which issuer and key, never the key itself.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("iss", &self.iss)
            .field("kid", self.signer().kid())
            .finish_non_exhaustive()
    }
}

/// A minute: short beside any rotation, and long enough to spare us crowds.
const LONGEST_MAX_AGE: Duration = Duration::from_mins(1);

fn key_set(ring: &Ring) -> Result<Arc<KeySet>, KeyError> {
    let (document, _) = ring.published();
    KeySet::parse(&document, &[Algorithm::EdDSA]).map(Arc::new).map_err(|_| KeyError::TooMany)
}

/// A new private key, PKCS#8 (version 1, which OpenSSL reads too) in PEM.
///
/// # Errors
/// [`KeyError::NotGenerated`] when the system gives no randomness.
pub fn generate() -> Result<SecretString, KeyError> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| KeyError::NotGenerated)?;
    // 48 bytes of DER: one line of base64, which PEM breaks after 64 characters.
    let line = STANDARD.encode(document.as_ref());
    Ok(format!("{PEM_BEGIN}\n{line}\n-----END PRIVATE KEY-----\n").into())
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: Timestamp,
    nbf: Timestamp,
    exp: Timestamp,
    jti: &'a str,
    #[serde(rename = "organisationId", skip_serializing_if = "Option::is_none")]
    organisation_id: Option<String>,
    permissions: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act<'a>>,
}

#[derive(Serialize)]
struct Act<'a> {
    sub: &'a str,
}

#[cfg(test)]
mod tests;
