//! The client's address and scheme: from the socket, or from a proxy that is listed.
//!
//! `X-Forwarded-For` is believed from the right as far as the hops are trusted; an empty list
//! believes nobody (R1, R8). Nothing else of `X-Forwarded-*` and nothing of `Forwarded` is read.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// Networks whose forwarding headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// What is believed about the way the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The nearest address that is no trusted proxy.
    pub client: Option<IpAddr>,
    /// Whether the client spoke TLS.
    pub https: bool,
}

impl TrustedProxies {
    /// Believes these networks.
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Reads the headers as far as the hops are trusted.
    #[must_use]
    pub fn read(&self, headers: &HeaderMap, peer: Option<IpAddr>, tls: bool) -> Forwarded {
        let direct = Forwarded { client: peer.map(|ip| ip.to_canonical()), https: tls };
        match direct.client {
            Some(peer) if self.trusts(peer) => Forwarded {
                client: Some(self.nearest_untrusted(headers, peer)),
                https: scheme(headers).unwrap_or(tls),
            },
            _ => direct,
        }
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Walks from the nearest hop outwards; what cannot be read ends the walk at the last hop
    /// that could.
    fn nearest_untrusted(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let mut client = peer;
        let lines = headers.get_all("x-forwarded-for");
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|&b| b == b','));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = address(hop) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }
}

const MAX_HOPS: usize = 32;

/// An address, alone or with a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|ip| ip.to_canonical())
}

/// The scheme that the nearest hop names, when it is one of two.
fn scheme(headers: &HeaderMap) -> Option<bool> {
    let last = headers.get_all("x-forwarded-proto").iter().next_back()?.as_bytes();
    match last.rsplit(|&byte| byte == b',').next().unwrap_or_default().trim_ascii() {
        b"https" => Some(true),
        b"http" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn ours() -> TrustedProxies {
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    #[test]
    fn r08_an_empty_list_believes_nobody() {
        let sent = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        let read = TrustedProxies::default().read(&sent, ip("10.0.0.1"), false);
        assert_eq!(read, Forwarded { client: ip("10.0.0.1"), https: false });
    }

    #[test]
    fn the_nearest_untrusted_hop_is_the_client() {
        let sent =
            headers(&[("x-forwarded-for", "6.6.6.6, 1.2.3.4"), ("x-forwarded-for", "10.0.0.9")]);
        assert_eq!(ours().read(&sent, ip("10.0.0.1"), false).client, ip("1.2.3.4"));
        assert_eq!(ours().read(&sent, ip("9.9.9.9"), false).client, ip("9.9.9.9"));
        let port = headers(&[("x-forwarded-for", "1.2.3.4:5678")]);
        assert_eq!(ours().read(&port, ip("::ffff:10.0.0.1"), false).client, ip("1.2.3.4"));
    }

    #[test]
    fn garbage_ends_the_walk() {
        let sent = headers(&[("x-forwarded-for", "1.2.3.4, unknown, 10.0.0.9")]);
        assert_eq!(ours().read(&sent, ip("10.0.0.1"), false).client, ip("10.0.0.9"));
    }

    #[test]
    fn the_scheme_comes_from_a_trusted_hop_only() {
        let sent = headers(&[("x-forwarded-proto", "http, https")]);
        assert!(ours().read(&sent, ip("10.0.0.1"), false).https);
        assert!(!ours().read(&sent, ip("8.8.8.8"), false).https);
        let odd = headers(&[("x-forwarded-proto", "HTTPS;x")]);
        assert!(!ours().read(&odd, ip("10.0.0.1"), false).https);
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_the_client_whatever_it_says(value in "[ -~]{0,80}") {
            let sent = headers(&[("x-forwarded-for", &value), ("forwarded", &value)]);
            prop_assert_eq!(ours().read(&sent, ip("8.8.8.8"), false).client, ip("8.8.8.8"));
        }

        #[test]
        fn any_value_is_read_without_panic(value in "[ -~]{0,200}") {
            let sent = headers(&[("x-forwarded-for", &value), ("x-forwarded-proto", &value)]);
            prop_assert!(ours().read(&sent, ip("10.0.0.1"), true).client.is_some());
        }
    }
}
