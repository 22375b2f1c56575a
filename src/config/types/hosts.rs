//! Names and addresses of hosts: ours, and those of upstream servers.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde_json::{Value as Json, json};
use url::Url;

use crate::config::{
    read::{Read, Reader, Schemas},
    yaml::Node,
};

/// A host as it stands in a `Host` header: lower case, no port, no trailing dot; an IPv6
/// address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

impl HostName {
    /// Reads the one spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = match address {
            Some(v6) => v6.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == v6),
            None => is_name(text) && text.bytes().all(|b| !b.is_ascii_uppercase()),
        };
        valid.then(|| Self(text.to_owned()))
    }

    /// As in a `Host` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name (RFC 1123, section 2.1; with `_`, which container networks use) or an IPv4 address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number is an address to every URL parser, good or bad.
    let last = text.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(label)
        && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

/// Whether a host, with or without brackets, can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl Read for HostName {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "a host name in lower case without port, or an IP address (IPv6 in brackets)";
        let text = cx.text(node, what)?;
        match Self::parse(text) {
            Some(host) => Some(host),
            None => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9._:\\[\\]-]+$" })
    }
}

/// Scheme, host and port of a URL (RFC 6454): what a browser calls one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: String,
    host: HostName,
    https: bool,
}

impl Origin {
    /// Reads `scheme://host[:port]`; a single `/` may follow.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        if !(bare && nobody && matches!(url.scheme(), "http" | "https")) {
            return None;
        }
        let host = HostName::parse(url.host_str()?)?;
        let text = url.origin().ascii_serialization();
        Some(Self { text, host, https: url.scheme() == "https" })
    }

    /// `https://desk.example.com`: no trailing slash, no default port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, as in a `Host` header without port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.as_str()
    }

    /// The host.
    #[must_use]
    pub const fn host_name(&self) -> &HostName {
        &self.host
    }

    /// Whether browsers reach it by TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Read for Origin {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "an origin such as https://desk.example.com, without path";
        let text = cx.text(node, what)?;
        let origin = Self::parse(text);
        if origin.is_none() {
            // Not quoted: a URL may hold a password.
            cx.fault(&node.position, format!("is not {what}"));
        }
        origin
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^https?://[^/?#@]+/?$" })
    }
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl ServerAddress {
    /// Reads `host:port` or `[v6]:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse::<u16>().ok())??;
        let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = v6.map_or_else(|| is_name(host), |v6| v6.parse::<Ipv6Addr>().is_ok());
        (valid && port != 0).then(|| Self { host: v6.unwrap_or(host).to_owned(), port })
    }

    /// Whether it can only be this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Read for ServerAddress {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let what = "host:port, such as core.internal:3000, 10.0.0.7:3000 or [::1]:3000";
        let text = cx.text(node, what)?;
        match Self::parse(text) {
            Some(address) => Some(address),
            None => cx.wrong(node, &format!("is not {what}")),
        }
    }

    fn schema(_: &mut Schemas) -> Json {
        json!({ "type": "string", "pattern": "^.+:[0-9]+$" })
    }
}
