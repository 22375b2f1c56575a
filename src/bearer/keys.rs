//! The public keys that an issuer's tokens may be signed with (RFC 7517), read from its JWKS
//! document. Does not fetch it: see [`crate::jwks`].
//!
//! What a key may verify is settled here, from the key itself and the configured algorithms. A
//! symmetric key never becomes a [`Key`], so no token can make us take a public key for a shared
//! secret (R21).

use std::fmt;

use aws_lc_rs::digest::{self, SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;

use super::Rejection;

/// The largest JWKS document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// The most keys that a document may hold, usable or not.
pub const MAX_KEYS: usize = 64;

/// The usable keys of one issuer at one time; never empty.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
    generation: Generation,
}

/// Names the content of a [`KeySet`]: whatever was concluded from one set must not be taken for
/// a conclusion from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation([u8; 32]);

/// Why a document gives no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Larger than [`MAX_DOCUMENT`].
    #[error("the key set is larger than {MAX_DOCUMENT} bytes")]
    TooLarge,
    /// Not a JSON object with an array `keys`.
    #[error("the key set is not a JSON object with an array `keys`")]
    Malformed,
    /// More than [`MAX_KEYS`].
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// Every key was skipped, or there was none.
    #[error("the key set has no key that can verify an allowed algorithm")]
    NoUsableKey,
}

impl KeySet {
    /// Reads a JWKS document and keeps the keys that can verify one of `algorithms`.
    ///
    /// A key that is of no use here (for encryption, of another type, too short, symmetric, a
    /// private key laid open) is skipped, as RFC 7517, section 5 asks; it does not spoil the rest.
    ///
    /// # Errors
    /// When nothing usable is left, or the document is none; see [`KeySetError`].
    pub fn parse(document: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }

        if document.len() > MAX_DOCUMENT {
            return Err(KeySetError::TooLarge);
        }
        let Document { keys: entries } =
            serde_json::from_slice(document).map_err(|_| KeySetError::Malformed)?;
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let found = entries.len();
        let keys: Vec<_> =
            entries.into_iter().filter_map(|entry| Key::read(entry, algorithms)).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        let skipped = found - keys.len();
        Ok(Self { keys, skipped, generation: Generation::of(document, algorithms) })
    }

    /// How many keys are usable; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The `kid` of each usable key that has one.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }

    /// How many keys of the document were of no use.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Changes whenever the set does.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The keys that a token of this `kid` and algorithm may have been signed with.
    ///
    /// A `kid` means the keys that carry it and no others. Without one, there has to be exactly
    /// one key that could be meant.
    pub(super) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<&Key>, Rejection> {
        let mut candidates: Vec<_> = match kid {
            Some(kid) => self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).collect(),
            None => self.keys.iter().collect(),
        };
        if candidates.is_empty() {
            return Err(Rejection::UnknownKey);
        }
        candidates.retain(|key| key.algorithms.contains(&algorithm));
        match (candidates.len(), kid) {
            (0, _) => Err(Rejection::AlgorithmNotAllowed),
            (2.., None) => Err(Rejection::KeyIdMissing),
            _ => Ok(candidates),
        }
    }
}

impl Generation {
    fn of(document: &[u8], algorithms: &[Algorithm]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        for algorithm in algorithms {
            // Names of algorithms hold no zero byte, so the list ends at two of them.
            context.update(format!("{algorithm:?}\0").as_bytes());
        }
        context.update(&[0]);
        context.update(document);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// The name itself, for a hash over more than this.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One public key and all that it may verify.
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
}

impl Key {
    /// Whether `signature` (base64url) is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &str, algorithm: Algorithm) -> bool {
        crypto::verify(signature, message, &self.material, algorithm).unwrap_or(false)
    }

    fn read(entry: Value, allowed: &[Algorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(entry).ok()?;
        // A private key in a public document is everybody's key.
        let laid_open = jwk.d.is_some();
        let for_signatures = jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify =
            jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|o| o == "verify"));
        if laid_open || !for_signatures || !may_verify {
            return None;
        }
        let (possible, material) = jwk.material()?;
        let algorithms: Vec<_> = possible
            .iter()
            .copied()
            .filter(|algorithm| allowed.contains(algorithm))
            .filter(|algorithm| jwk.alg.as_deref().is_none_or(|alg| named(alg, *algorithm)))
            .collect();
        (!algorithms.is_empty()).then_some(Self { kid: jwk.kid, algorithms, material })
    }
}

/// Shows which key, not the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// The members of a JWK that decide. `oct` keys have none of the coordinates and fall through.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<Value>,
}

impl Jwk {
    /// What a key of this type and curve can verify, and the key.
    fn material(&self) -> Option<(&'static [Algorithm], DecodingKey)> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let x = bytes_of(self.x.as_deref(), 32)?;
                Some((&[Algorithm::EdDSA], DecodingKey::from_ed_der(&x)))
            }
            ("EC", Some("P-256")) => Some((&[Algorithm::ES256], self.point(32)?)),
            ("EC", Some("P-384")) => Some((&[Algorithm::ES384], self.point(48)?)),
            ("RSA", None) => Some((RSA, self.rsa()?)),
            _ => None,
        }
    }

    /// The uncompressed point of SEC 1, section 2.3.3.
    fn point(&self, length: usize) -> Option<DecodingKey> {
        let x = bytes_of(self.x.as_deref(), length)?;
        let y = bytes_of(self.y.as_deref(), length)?;
        Some(DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
    }

    fn rsa(&self) -> Option<DecodingKey> {
        let n = URL_SAFE_NO_PAD.decode(self.n.as_deref()?).ok()?;
        let e = URL_SAFE_NO_PAD.decode(self.e.as_deref()?).ok()?;
        let strong = (2048..=8192).contains(&bits(&n));
        // 1 would let anybody sign; an even exponent is no RSA.
        let sound = (2..=64).contains(&bits(&e)) && e.last().is_some_and(|last| last % 2 == 1);
        (strong && sound).then(|| DecodingKey::from_rsa_raw_components(&n, &e))
    }
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

fn named(name: &str, algorithm: Algorithm) -> bool {
    name.parse() == Ok(algorithm) && algorithm.family() != AlgorithmFamily::Hmac
}

fn bytes_of(text: Option<&str>, length: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok().filter(|bytes| bytes.len() == length)
}

/// The length in bits of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|&&byte| byte == 0);
    let zeros = significant.clone().next().map_or(0, |first| first.leading_zeros() as usize);
    significant.count() * 8 - zeros
}

#[cfg(test)]
mod tests;
