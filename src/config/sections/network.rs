//! Where clients come in, and what they may cost.

use std::{path::PathBuf, time::Duration};

use crate::config::{
    read::{choice, section},
    types::{ByteSize, HostName},
};

section! {
    /// One address on which clients come in.
    pub struct Listener {
        /// IP address and port.
        address: std::net::SocketAddr,
        /// TLS; without it the listener speaks plain HTTP.
        tls: Option<ListenerTls> = "null",
        /// Say so to listen without TLS on an address that is not loopback.
        plaintext: bool = "false",
    }
}

section! {
    /// TLS of a listener.
    pub struct ListenerTls {
        /// PEM chain.
        certificate: PathBuf,
        /// PEM private key.
        key: PathBuf,
        /// Further certificates: one is shown to clients that ask for a name it is for (SNI).
        more: Vec<MoreTls> = "[]",
        /// PEM bundle; set it to ask for client certificates. Whoever shows one of another authority is not let in.
        client_ca: Option<PathBuf> = "null",
        /// Whether a client must bring a certificate.
        client_certificate: ClientCertificate = "optional",
    }
}

section! {
    /// A further certificate of a listener.
    pub struct MoreTls {
        /// PEM chain.
        certificate: PathBuf,
        /// PEM private key.
        key: PathBuf,
    }
}

choice! {
    /// Whether a client must bring a certificate.
    pub enum ClientCertificate { Optional = "optional", Required = "required" }
}

section! {
    /// The admin listener.
    pub struct Admin {
        /// IP address and port.
        address: std::net::SocketAddr = "127.0.0.1:9090",
        /// Names by which the status page may be asked for, beside addresses and `localhost`.
        hosts: Vec<HostName> = "[]",
    }
}

section! {
    /// Bounds on what a request may cost.
    pub struct Limits {
        /// Whole head: request line and header lines together.
        header_bytes: ByteSize = "32KiB",
        /// Header lines.
        headers: usize = "100",
        /// Request target, in bytes.
        target: ByteSize = "8KiB",
        /// Request body; a route can set its own.
        body: ByteSize = "10MiB",
        /// From the first byte to the end of the head; then 408 and the end of the connection.
        header_timeout: Duration = "10s",
        /// Between two pieces of a request's body over HTTP/1; then 408.
        body_timeout: Duration = "60s",
        /// Connections from one client address (IPv6: from one /64); more are closed at once. Those
        /// of `trusted_proxies` are not counted.
        connections_per_client: usize = "1000",
        /// Requests from one caller, or from one client address while nobody is known.
        requests_per_client: Option<Rate> = "null",
        /// Requests for one organisation, from all of its callers together.
        requests_per_organisation: Option<Rate> = "null",
    }
}

section! {
    /// A rate with a burst.
    pub struct Rate {
        /// Requests a second, on the long run.
        per_second: u32,
        /// Requests at once.
        burst: u32,
    }
}
