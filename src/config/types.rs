//! The values of `gateway.yaml` that are more than a word or a number.

mod certificate;
mod hosts;
mod organisation;
mod pattern;
mod redis_url;
mod secret;
mod variants;

use std::fmt;

use serde_json::{Value as Json, json};
use url::Url;

pub(crate) use self::{
    hosts::is_loopback,
    organisation::{is_pointer, is_token},
};
pub use self::{
    hosts::{HostName, Origin, ServerAddress},
    organisation::{OrganisationPlace, OrganisationPlaces, Place},
    redis_url::{RedisUrl, RedisUrlError, Topology as RedisTopology},
    secret::{Secret, Source as SecretSource},
};
use super::{
    read::{Read, Reader, Schemas},
    yaml::Node,
};
pub use crate::route::PathPattern;

/// `aud` of an app token.
pub type Audience = String;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, at most what memory can address.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// `32KiB`, `10MB`, `512`: binary and decimal units, or plain bytes.
    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end)?;
        let unit: u64 = match unit {
            "" | "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

impl Read for ByteSize {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "a size such as 512, 32KiB, 10MiB or 1GB";
        let text = cx.text(node, what)?;
        match Self::parse(text) {
            Some(size) => Some(size),
            None => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+(B|kB|KB|MB|GB|KiB|MiB|GiB)?$",
            "examples": ["32KiB"],
        })
    }
}

/// An issuer identifier: a URL whose exact text counts (RFC 8414, section 3.3).
///
/// The `url` crate would write `https://iam.example` as `https://iam.example/`, and no token
/// carries that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    url: Url,
}

impl IssuerUrl {
    /// Exactly as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, as a URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Read for IssuerUrl {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let url = Url::read(node, cx)?;
        let text = node.text()?.to_owned();
        if url.query().is_some() {
            cx.fault(&node.position, "must not have a query (`?…`)");
            return None;
        }
        Some(Self { text, url })
    }

    fn schema(schemas: &mut Schemas) -> Json {
        Url::schema(schemas)
    }
}

#[cfg(test)]
mod tests;
