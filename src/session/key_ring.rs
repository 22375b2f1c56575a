//! The keys that seal our cookies. Knows nothing of cookies or sessions.
//!
//! AES-256-GCM-SIV (RFC 8452) with a random nonce: should a nonce ever repeat, an observer learns
//! that two plaintexts are equal and nothing else, so many replicas may share one key for long.
//!
//! A sealed blob is `version (1) | hint (1) | nonce (12) | ciphertext and tag`. Everything in
//! front of the ciphertext is authenticated, together with the [`Label`] of the place it is for.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest,
};
use secrecy::zeroize::Zeroize;

/// Keys in order: the first seals, all open.
pub struct KeyRing {
    keys: Vec<Key>,
}

/// What a blob is for. A blob sealed under one label opens under no other (R14, R20).
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// The kind of value, such as `session`.
    pub purpose: &'a str,
    /// The cookie's name.
    pub name: &'a str,
    /// What else it is bound to, such as the login's `state`; may be empty.
    pub extra: &'a str,
}

/// Why a ring could not be made, or something could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is no key to seal with.
    #[error("at least one session key is required")]
    Empty,
    /// The cryptographic library refused; with 32-byte keys and cookies it has no reason to.
    #[error("the cryptographic library refused")]
    Crypto,
}

impl KeyRing {
    /// A ring of 256-bit keys. The caller's copies are wiped.
    ///
    /// # Errors
    /// [`KeyRingError::Empty`] when `keys` is empty.
    pub fn new(mut keys: Vec<[u8; 32]>) -> Result<Self, KeyRingError> {
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        let ring = keys.iter().map(Key::new).collect::<Result<Vec<_>, _>>();
        keys.iter_mut().for_each(Zeroize::zeroize);
        ring.map(|keys| Self { keys })
    }

    /// Seals `plain` with the first key.
    ///
    /// # Errors
    /// [`KeyRingError::Crypto`] when the library has no randomness or refuses the length.
    pub fn seal(&self, label: Label<'_>, plain: &[u8]) -> Result<Vec<u8>, KeyRingError> {
        let key = self.keys.first().ok_or(KeyRingError::Empty)?;
        let mut sealed = plain.to_vec();
        let nonce = key
            .cipher
            .seal_in_place_append_tag(Aad::from(label.bytes(key.hint)), &mut sealed)
            .map_err(|_| KeyRingError::Crypto)?;
        let mut blob = Vec::with_capacity(HEAD + sealed.len());
        blob.extend_from_slice(&[VERSION, key.hint]);
        blob.extend_from_slice(nonce.as_ref());
        blob.append(&mut sealed);
        Ok(blob)
    }

    /// Opens what [`KeyRing::seal`] made under the same label with any key of this ring.
    ///
    /// The hint says which key to try first; it never rules one out, because one byte of a digest
    /// may be the same for two keys.
    #[must_use]
    pub fn open(&self, label: Label<'_>, blob: &[u8]) -> Option<Vec<u8>> {
        let (&[version, hint], rest) = blob.split_first_chunk::<2>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if version != VERSION {
            return None;
        }
        let bound_to = label.bytes(hint);
        let hinted = self.keys.iter().filter(|key| key.hint == hint);
        let others = self.keys.iter().filter(|key| key.hint != hint);
        hinted.chain(others).find_map(|key| {
            // A failed attempt leaves its buffer undefined, so each key gets a fresh one.
            let mut buffer = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length =
                key.cipher.open_in_place(nonce, Aad::from(&bound_to), &mut buffer).ok()?.len();
            buffer.truncate(length);
            Some(buffer)
        })
    }
}

/// Says how many keys there are and shows none.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Label<'_> {
    /// Each part behind its length, so that no two labels have the same bytes (R20).
    fn bytes(&self, hint: u8) -> Vec<u8> {
        let parts = [self.purpose, self.name, self.extra];
        let length = 2 + parts.iter().map(|part| 8 + part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&[VERSION, hint]);
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

struct Key {
    /// One byte of a digest: enough to order a handful of keys, useless to guess one.
    hint: u8,
    cipher: RandomizedNonceKey,
}

impl Key {
    fn new(key: &[u8; 32]) -> Result<Self, KeyRingError> {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"portcullis session key hint\0");
        context.update(key);
        let hint = context.finish().as_ref().first().copied().unwrap_or_default();
        RandomizedNonceKey::new(&AES_256_GCM_SIV, key)
            .map(|cipher| Self { hint, cipher })
            .map_err(|_| KeyRingError::Crypto)
    }
}

const VERSION: u8 = 1;
const HEAD: usize = 2 + NONCE_LEN;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(keys: &[u8]) -> KeyRing {
        KeyRing::new(keys.iter().map(|&byte| [byte; 32]).collect()).unwrap()
    }

    fn label<'a>(purpose: &'a str, name: &'a str, extra: &'a str) -> Label<'a> {
        Label { purpose, name, extra }
    }

    #[test]
    fn an_empty_ring_is_refused() {
        assert_eq!(KeyRing::new(vec![]).unwrap_err(), KeyRingError::Empty);
    }

    #[test]
    fn every_key_of_the_ring_opens_and_only_those() {
        let blob = ring(&[1]).seal(label("p", "n", ""), b"plain").unwrap();
        assert_eq!(ring(&[2, 3, 1]).open(label("p", "n", ""), &blob).unwrap(), b"plain");
        assert!(ring(&[2, 3]).open(label("p", "n", ""), &blob).is_none());
    }

    #[test]
    fn a_wrong_hint_orders_and_never_filters() {
        let mut ring = ring(&[1]);
        let blob = ring.seal(label("p", "n", ""), b"plain").unwrap();
        ring.keys[0].hint ^= 1;
        assert_eq!(ring.open(label("p", "n", ""), &blob).unwrap(), b"plain");
    }

    #[test]
    fn r20_moving_a_byte_between_label_parts_makes_another_label() {
        let blob = ring(&[1]).seal(label("ab", "c", "d"), b"plain").unwrap();
        for other in [label("a", "bc", "d"), label("ab", "cd", ""), label("abc", "", "d")] {
            assert!(ring(&[1]).open(other, &blob).is_none(), "{other:?}");
        }
    }

    #[test]
    fn nonces_differ() {
        let ring = ring(&[1]);
        let seal = || ring.seal(label("p", "n", ""), b"plain").unwrap();
        assert_ne!(seal(), seal());
    }

    proptest! {
        #[test]
        fn open_undoes_seal(plain: Vec<u8>, purpose: String, name: String, extra: String) {
            let ring = ring(&[7]);
            let blob = ring.seal(label(&purpose, &name, &extra), &plain).unwrap();
            prop_assert_eq!(ring.open(label(&purpose, &name, &extra), &blob), Some(plain));
        }

        #[test]
        fn r12_any_changed_byte_fails(plain: Vec<u8>, at: prop::sample::Index, flip in 1..=255u8) {
            let ring = ring(&[7, 8]);
            let mut blob = ring.seal(label("p", "n", ""), &plain).unwrap();
            let at = at.index(blob.len());
            blob[at] ^= flip;
            prop_assert_eq!(ring.open(label("p", "n", ""), &blob), None);
        }

        #[test]
        fn garbage_never_opens(blob: Vec<u8>) {
            prop_assert_eq!(ring(&[7]).open(label("p", "n", ""), &blob), None);
        }
    }
}
