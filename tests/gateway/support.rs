//! A gateway under test: the real binary, an issuer whose key the test holds, and an upstream
//! that writes down every byte it gets.

pub(crate) mod authority;
pub(crate) mod collector;
pub(crate) mod fault;
pub(crate) mod gateway;
pub(crate) mod grpc;
pub(crate) mod holdings;
pub(crate) mod issuer;
pub(crate) mod outside_sts;
pub(crate) mod people;
pub(crate) mod provider;
pub(crate) mod recorder;
pub(crate) mod redis;
pub(crate) mod revoking;
pub(crate) mod sockets;
pub(crate) mod token_service;

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(crate) use self::{
    gateway::{Gateway, Settings},
    issuer::Issuer,
    provider::Provider,
    recorder::Recorder,
    redis::Redis,
};

/// The organisation in which everybody acts.
pub(crate) const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

/// Another one, in which only the role `both` counts.
pub(crate) const OTHER: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

/// A listener on a free port of loopback, and its address.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that was free a moment ago: none that the system gives to whoever connects somewhere, and
/// none that was asked for here before.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_240 + offset % 22_000).unwrap();
        if StdListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends bytes as they are and returns everything that comes back until the other end closes.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a raw answer.
pub(crate) fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    word.parse().unwrap()
}

/// The process's one crypto provider, which every HTTP client needs.
pub(crate) fn crypto() {
    // Another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect()
}

/// The `reason` of a problem document.
pub(crate) fn reason(body: &str) -> String {
    let start = body.find('{').unwrap_or_else(|| panic!("no JSON in {body:?}"));
    let problem: serde_json::Value = serde_json::from_str(&body[start..]).unwrap();
    problem["reason"].as_str().unwrap().to_owned()
}
