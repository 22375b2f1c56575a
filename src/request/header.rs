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

const MANAGED_PREFIXES: [&str; 7] = [
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    "x-auth-request-",
    "x-authenticated-",
    "x-portcullis-",
    "x-envoy-",
];

const MANAGED: [&str; 29] = [
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
    "x-userinfo",
    "x-access-token",
    "x-id-token",
    "x-refresh-token",
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
    "tracestate",
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
            "X-Userinfo",
            "x_access.token",
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
            "traceparent",
            "tracestate",
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
            "baggage",
        ] {
            assert!(!is_dropped(&HeaderName::try_from(name).unwrap()), "{name}");
        }
    }
}
