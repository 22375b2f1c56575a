//! The organisation: Core's tenant, a UUID.

pub mod body;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod core_reader;
pub mod lookup;
pub mod place;
pub mod query;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::refusal::{Reason, Refusal};

/// An organisation's id, read as Core reads it: with the `uuid` crate, which takes the
/// hyphenated, simple, braced and URN spellings in either case. Equal ids are equal values
/// whatever their spelling was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Organisation(Uuid);

impl Organisation {
    /// Reads one of the spellings that Core accepts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The id's 16 bytes, for digests.
    #[must_use]
    pub const fn into_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

/// The one spelling that we write: hyphenated, lower case.
impl fmt::Display for Organisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

fn parse(text: &str) -> Result<Organisation, Refusal> {
    Organisation::parse(text).ok_or_else(|| invalid("not a UUID"))
}

pub(crate) fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Reason::OrganisationInvalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_organisation() {
        let plain = Organisation::parse("6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11").unwrap();
        for spelling in [
            "6B1E5F0A-2D2C-4C1C-9F0E-0D9F5A5B7A11",
            "6b1e5f0a2d2c4c1c9f0e0d9f5a5b7a11",
            "{6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11}",
            "urn:uuid:6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11",
        ] {
            assert_eq!(Organisation::parse(spelling), Some(plain), "{spelling}");
        }
        assert_eq!(plain.to_string(), "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11");
        for wrong in ["", "6b1e5f0a", " 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11", "null"] {
            assert_eq!(Organisation::parse(wrong), None, "{wrong}");
        }
    }
}
