//! Header names that only the gateway may set, in whatever spelling they come.
//!
//! An application behind a gateway often reads headers through CGI-like names, in which
//! `X-Forwarded-For`, `X_Forwarded_For` and `X.Forwarded.For` are one (CVE-2025-64484,
//! CVE-2026-88011). So a name counts as managed when its *fold* does: lower case, and every
//! character that is no letter or digit read as a hyphen (R5, R28).

use http::{HeaderMap, HeaderName};

/// Whether a header from outside is dropped before the request is forwarded.
///
/// That is: every forwarding and identity header, every header that claims another target or
/// method than the request line (R1), and every odd spelling of a header that decides something.
#[must_use]
pub fn is_dropped(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Managed names begin with few letters; most headers are done here.
    let odd = name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
    let first = name.as_bytes().first().map_or(b'-', |&byte| fold(byte));
    if !odd && !matches!(first, b'x' | b'f' | b't' | b'r' | b'c' | b's' | b'v' | b'p') {
        return false;
    }
    let is = |managed: &&str| same(name, managed);
    MANAGED_PREFIXES.iter().any(|prefix| starts(name, prefix))
        || MANAGED.iter().any(&is)
        || odd && DECIDING.iter().any(is)
}

/// The header's value when it stands there once as visible ASCII without separators, at most
/// `bound` characters.
#[must_use]
pub fn plain_token<'a>(headers: &'a HeaderMap, name: &str, bound: usize) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    let fits = values.next().is_none() && !value.is_empty() && value.len() <= bound;
    (fits && value.bytes().all(plain)).then_some(value)
}

/// A `traceparent` of version 00 (W3C Trace Context, section 3.2), or `None`.
#[must_use]
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let value = plain_token(headers, "traceparent", 55)?;
    let mut parts = value.split('-');
    let lower_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let nonzero = |text: &str| text.bytes().any(|byte| byte != b'0');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (parent, flags) = (parts.next()?, parts.next()?);
    let well_formed = version == "00"
        && lower_hex(trace, 32)
        && nonzero(trace)
        && lower_hex(parent, 16)
        && nonzero(parent)
        && lower_hex(flags, 2)
        && parts.next().is_none();
    well_formed.then_some(value)
}

const MANAGED_PREFIXES: [&str; 7] = [
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    "x-auth-request-",
    "x-authenticated-",
    "x-portcullis-",
    "x-envoy-",
];

const MANAGED: [&str; 24] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarder-for",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-remote-user",
    "x-host",
    "x-user",
    "x-request-id",
    "x-session-id",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-client-cert",
    "x-ssl-client-cert",
    "true-client-ip",
    "cf-connecting-ip",
    "remote-user",
    "traceparent",
    "proxy",
];

/// Names whose true spelling is kept or handled elsewhere and whose aliases are not.
const DECIDING: [&str; 10] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "origin",
];

const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn same(name: &str, managed: &str) -> bool {
    name.len() == managed.len() && starts(name, managed)
}

fn starts(name: &str, managed: &str) -> bool {
    name.len() >= managed.len() && name.bytes().zip(managed.bytes()).all(|(a, b)| fold(a) == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r05_every_spelling_of_a_managed_name_is_dropped() {
        for name in [
            "x-forwarded-for",
            "X-Forwarded-User",
            "x_forwarded_for",
            "x.forwarded.for",
            "x-forwarded_host",
            "x~forwarded!for",
            "forwarded",
            "x-real-ip",
            "x_real.ip",
            "x-original-url",
            "x-rewrite-url",
            "x-http-method-override",
            "x-session-id",
            "x_session_id",
            "x-portcullis-user",
        ] {
            assert!(is_dropped(&HeaderName::try_from(name).unwrap()), "{name}");
        }
        for alias in ["content_length", "transfer_encoding", "content.type"] {
            assert!(is_dropped(&HeaderName::try_from(alias).unwrap()), "{alias}");
        }
    }

    #[test]
    fn ordinary_headers_stay() {
        for name in [
            "accept",
            "content-type",
            "x-custom",
            "user-agent",
            "authorization",
            "cookie",
            "oauth-client-attestation",
            "x-forwarding",
            "dpop",
            "tracestate",
        ] {
            assert!(!is_dropped(&HeaderName::try_from(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn traceparents() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", value.parse().unwrap());
            traceparent(&headers).is_some()
        };
        assert!(with("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for wrong in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "x",
        ] {
            assert!(!with(wrong), "{wrong}");
        }
    }
}
