//! Which ports of this machine are open to others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Every TCP address on which somebody of this network namespace listens. Empty where the system
/// does not tell (it is Linux that has these files).
pub(super) async fn listening() -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        if let Ok(text) = tokio::fs::read_to_string(file).await {
            all.extend(text.lines().filter_map(listener));
        }
    }
    all
}

/// Where a server of an upstream is offered to other machines, other than by `own` listeners: on
/// its own address, or, where that is loopback, on another address with the same port.
pub(super) fn offered(
    server: SocketAddr,
    listening: &[SocketAddr],
    own: &[SocketAddr],
) -> Vec<SocketAddr> {
    let ip = server.ip().to_canonical();
    if !ip.is_loopback() {
        return if is_of_this_machine(ip) { vec![server] } else { Vec::new() };
    }
    let open = |address: &&SocketAddr| {
        address.port() == server.port()
            && !address.ip().to_canonical().is_loopback()
            && !own.contains(address)
    };
    listening.iter().filter(open).copied().collect()
}

/// Only an address of one's own can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// A line of `/proc/net/tcp` or `tcp6` when it is that of a listener: `proc_net_tcp` of the
/// kernel's documentation. The address is written in words of 32 bits, as the machine keeps them.
fn listener(line: &str) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    if state != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel() {
        for (line, expected) in [
            ("   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000", Some("127.0.0.1:3000")),
            ("   1: 00000000:0BB8 00000000:0000 0A 0", Some("0.0.0.0:3000")),
            ("   2: 0700000A:20FB 0100007F:1234 01 0", None),
            ("   3: 00000000000000000000000000000000:0BB8 0:0 0A 0", Some("[::]:3000")),
            ("   4: B80D0120000000000000000001000000:0BB8 0:0 0A 0", Some("[2001:db8::1]:3000")),
            ("  sl  local_address rem_address   st tx_queue", None),
            ("   5: 0100007F 0:0 0A 0", None),
            ("", None),
        ] {
            assert_eq!(listener(line), expected.map(address), "{line}");
        }
    }

    #[test]
    fn a_loopback_server_is_offered_where_its_port_is_open_to_others() {
        let all = ["127.0.0.1:3000", "0.0.0.0:3000", "[::1]:3000", "10.0.0.7:3000", "0.0.0.0:1"];
        let all = all.map(address);
        let found = offered(address("127.0.0.1:3000"), &all, &[address("10.0.0.7:3000")]);
        assert_eq!(found, [address("0.0.0.0:3000")]);
        assert_eq!(offered(address("127.0.0.1:2"), &all, &[]), []);
        assert_eq!(offered(address("192.0.2.7:3000"), &all, &[]), [], "of another machine");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_listener_of_this_process_is_seen() {
        let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let address = open.local_addr().unwrap();
        let all = listening().await;
        assert!(all.contains(&address), "{address} in {all:?}");
        let server = SocketAddr::from(([127, 0, 0, 1], address.port()));
        assert_eq!(offered(server, &all, &[]), [address]);
    }
}
