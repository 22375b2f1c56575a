//! A chain over audit records, so that a removed, changed or moved one shows.
//!
//! Each record ends with its number and a hash over its own text, its number and the hash before
//! it. With a key the hash is an HMAC (RFC 2104), which nobody can make anew without the key;
//! without one it is plain SHA-256 and finds accidents and clumsy hands, but nobody who
//! recomputes the rest of the file. Neither sees that records are missing at the very end: for
//! that, note elsewhere where the chain stands ([`Reading::last`]).

use std::fmt;

use aws_lc_rs::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

/// Bytes of a hash.
const HASH: usize = 32;

/// How hashes are made.
pub struct Chain {
    key: Option<hmac::Key>,
    last: Link,
}

/// The end of a chain so far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The number that the next record gets.
    pub next: u64,
    /// The hash of the record before it; zeros when there is none.
    pub hash: [u8; HASH],
}

impl Link {
    /// Before the first record.
    pub const START: Self = Self { next: 0, hash: [0; HASH] };
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.next, Hex(&self.hash))
    }
}

impl Chain {
    /// A chain that goes on after `last`.
    #[must_use]
    pub fn new(key: Option<&SecretString>, last: Link) -> Self {
        let key = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes()));
        Self { key, last }
    }

    /// Where it stands.
    #[must_use]
    pub const fn last(&self) -> Link {
        self.last
    }

    /// Goes back to where it stood, for records that could not be written.
    pub const fn back_to(&mut self, last: Link) {
        self.last = last;
    }

    /// Ends a record: a JSON object with its line feed. Other lines are left as they are.
    pub fn seal(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(text) = line.strip_suffix(b"}\n") else {
            out.extend_from_slice(line);
            return;
        };
        let number = self.last.next;
        let hash = self.hash(text, number, &self.last.hash);
        out.extend_from_slice(text);
        out.extend_from_slice(format!("{NUMBER}{number}{MAC}{}\"}}\n", Hex(&hash)).as_bytes());
        self.last = Link { next: number + 1, hash };
    }

    fn hash(&self, text: &[u8], number: u64, before: &[u8; HASH]) -> [u8; HASH] {
        let number = number.to_be_bytes();
        let mut hash = [0; HASH];
        // Both lengths before the text are fixed, so no two records hash the same bytes.
        let parts = [&before[..], &number, text];
        if let Some(key) = &self.key {
            let mut mac = hmac::Context::with_key(key);
            for part in parts {
                mac.update(part);
            }
            hash.copy_from_slice(mac.sign().as_ref());
        } else {
            let mut sha = digest::Context::new(&digest::SHA256);
            for part in parts {
                sha.update(part);
            }
            hash.copy_from_slice(sha.finish().as_ref());
        }
        hash
    }
}

const NUMBER: &str = ",\"seq\":";
const MAC: &str = ",\"hash\":\"";

/// The end of a record, taken off again: its text, its number and its hash.
fn unseal(line: &[u8]) -> Option<(&[u8], u64, [u8; HASH])> {
    let rest = line.strip_suffix(b"\n").unwrap_or(line).strip_suffix(b"\"}")?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(2 * HASH)?)?;
    let hash = unhex(hash)?;
    let rest = rest.strip_suffix(MAC.as_bytes())?;
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (text, number) = rest.split_at_checked(rest.len() - digits)?;
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((text.strip_suffix(NUMBER.as_bytes())?, number, hash))
}

/// Where a chain stands after its last record; `None` when that is no record of a chain.
#[must_use]
pub fn after(line: &[u8]) -> Option<Link> {
    let (_, number, hash) = unseal(line)?;
    Some(Link { next: number.checked_add(1)?, hash })
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It was made outside the chain, or its end was changed.
    #[error("is no record of a chain")]
    Unchained,
    /// Its number follows, its hash does not.
    #[error("record {0} was changed, or another key made it")]
    Changed(u64),
    /// Records before it are gone.
    #[error("{missing} missing before record {number}")]
    Missing {
        /// Its number.
        number: u64,
        /// How many.
        missing: u64,
    },
    /// It has stood elsewhere, or stands here twice.
    #[error("record {number} stands where {expected} should")]
    Moved {
        /// Its number.
        number: u64,
        /// The number that follows.
        expected: u64,
    },
}

/// Reads a chain, line by line.
pub struct Reading {
    chain: Chain,
    begun: bool,
}

impl Reading {
    /// Reads with the key that the records were made with.
    #[must_use]
    pub fn new(key: Option<&SecretString>) -> Self {
        Self { chain: Chain::new(key, Link::START), begun: false }
    }

    /// Checks the next line. The very first may have any number: those before it are in an
    /// older file.
    ///
    /// # Errors
    /// What is wrong. Reading goes on after that record as if it were right, so that one fault
    /// is told once.
    pub fn next(&mut self, line: &[u8]) -> Result<(), Broken> {
        let (text, number, hash) = unseal(line).ok_or(Broken::Unchained)?;
        let before = self.chain.last();
        let is_first = !std::mem::replace(&mut self.begun, true);
        self.chain.back_to(Link { next: number.saturating_add(1), hash });
        if is_first && number > 0 {
            // What it hangs on is not at hand.
            return Ok(());
        }
        let expected = before.next;
        match number.checked_sub(expected) {
            None => return Err(Broken::Moved { number, expected }),
            Some(0) => {}
            Some(missing) => return Err(Broken::Missing { number, missing }),
        }
        if self.chain.hash(text, number, &before.hash) == hash {
            Ok(())
        } else {
            Err(Broken::Changed(number))
        }
    }

    /// Where the chain stands: the number after the last record's, and its hash.
    #[must_use]
    pub const fn last(&self) -> Link {
        self.chain.last()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn unhex(digits: &[u8]) -> Option<[u8; HASH]> {
    let mut bytes = [0; HASH];
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    if pairs.len() != HASH {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        // One spelling of a hash only.
        if high.is_ascii_uppercase() || low.is_ascii_uppercase() {
            return None;
        }
        let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(key: Option<&SecretString>, lines: usize) -> Vec<Vec<u8>> {
        let mut chain = Chain::new(key, Link::START);
        (0..lines)
            .map(|n| {
                let mut out = Vec::new();
                chain.seal(format!("{{\"subject\":\"{n}\"}}\n").as_bytes(), &mut out);
                out
            })
            .collect()
    }

    fn faults(key: Option<&SecretString>, lines: &[Vec<u8>]) -> Vec<(usize, Broken)> {
        let mut reading = Reading::new(key);
        let check = |(at, line): (usize, &Vec<u8>)| Some((at, reading.next(line).err()?));
        lines.iter().enumerate().filter_map(check).collect()
    }

    #[test]
    fn a_record_is_json_still_and_its_chain_reads_whole() {
        for key in [None, Some(SecretString::from("key"))] {
            let lines = sealed(key.as_ref(), 5);
            for (n, line) in lines.iter().enumerate() {
                let json: serde_json::Value = serde_json::from_slice(line).unwrap();
                assert_eq!(json["seq"], n);
                assert_eq!(json["subject"], n.to_string());
            }
            assert_eq!(faults(key.as_ref(), &lines), []);
            // A file that begins in the middle, as after a rotation.
            assert_eq!(faults(key.as_ref(), &lines[2..]), []);
        }
    }

    #[test]
    fn a_removed_a_changed_and_a_moved_record_are_found() {
        let lines = sealed(None, 6);
        let mut removed = lines.clone();
        removed.remove(3);
        assert_eq!(faults(None, &removed), [(3, Broken::Missing { number: 4, missing: 1 })]);

        let mut changed = lines.clone();
        changed[2] =
            String::from_utf8(changed[2].clone()).unwrap().replace("\"2\"", "\"9\"").into();
        assert_eq!(faults(None, &changed), [(2, Broken::Changed(2))]);

        let mut moved = lines.clone();
        moved.swap(2, 3);
        let found = faults(None, &moved);
        assert_eq!(found[0], (2, Broken::Missing { number: 3, missing: 1 }));
        assert_eq!(found[1], (3, Broken::Moved { number: 2, expected: 4 }));

        let mut inserted = lines.clone();
        inserted.insert(1, b"{\"subject\":\"forged\"}\n".to_vec());
        assert_eq!(faults(None, &inserted), [(1, Broken::Unchained)]);

        let mut twice = lines;
        twice.insert(2, twice[1].clone());
        assert_eq!(faults(None, &twice)[0], (2, Broken::Moved { number: 1, expected: 2 }));
    }

    #[test]
    fn without_the_key_nobody_makes_a_record_that_counts() {
        let key = SecretString::from("key");
        let forged = sealed(Some(&SecretString::from("another")), 3);
        assert_eq!(faults(Some(&key), &forged).len(), 3);
        assert_eq!(faults(Some(&key), &sealed(None, 3)).len(), 3);
    }

    #[test]
    fn a_chain_goes_on_where_its_file_ended() {
        let lines = sealed(None, 3);
        let mut chain = Chain::new(None, after(&lines[2]).unwrap());
        let mut next = Vec::new();
        chain.seal(b"{\"a\":1}\n", &mut next);
        assert_eq!(faults(None, &[lines, vec![next]].concat()), []);
        assert_eq!(after(b"{\"a\":1}\n"), None);
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found(at in 0_usize..400, to in any::<u8>()) {
            let lines = sealed(None, 4);
            let mut all = lines.concat();
            let at = at % all.len();
            prop_assume!(all[at] != to && all[at] != b'\n' && to != b'\n');
            all[at] = to;
            let changed: Vec<Vec<u8>> =
                all.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert!(!faults(None, &changed).is_empty());
        }
    }
}
