//! More than one request on a connection.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{World, send};
use crate::support::status;

const GOOD: &str = "GET /ssi/first HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Each is refused, whatever was right before it.
const BAD: &[(&str, &str)] = &[
    ("no Host", "GET /ssi/bad HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET /ssi/bad HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
    ("a bare LF", "GET /ssi/bad HTTP/1.1\nHost: localhost\r\n\r\n"),
    ("no version", "GET /ssi/bad\r\n\r\n"),
    ("two spaces", "GET  /ssi/bad HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("the absolute-form", "GET http://localhost/ssi/bad HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "both lengths",
        "POST /ssi/bad HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding",
        "POST /ssi/bad HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a length", "POST /ssi/bad HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nabcde"),
    ("a fold", "GET /ssi/bad HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"),
    (
        "a chunk",
        "POST /ssi/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ),
    ("a tunnel", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
];

/// Reads one answer with its body from a connection that stays open.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn r29_an_error_on_a_kept_connection_ends_it() {
    let world = World::start().await;
    for (name, bad) in BAD {
        let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
        stream.write_all(GOOD.as_bytes()).await.unwrap();
        assert_eq!(status(&answer(&mut stream).await), 200, "{name}");
        let behind = format!("{bad}{GOOD}");
        stream.write_all(behind.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(super::AT_AN_END, stream.read_to_end(&mut rest)).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(end.is_ok(), "{name}: the connection stays open: {rest}");
        assert!(matches!(status(&rest), 400 | 405), "{name}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{name}: {rest}");
        let whole: Vec<_> = world.core.take().iter().map(|seen| seen.target().to_owned()).collect();
        assert_eq!(whole, ["/ssi/first"], "{name}");
    }
    world.core.take_begun();
    world.lives().await;
}

#[tokio::test]
async fn r29_a_second_request_in_the_same_packet_is_not_served_as_the_first() {
    let world = World::start().await;
    let token = world.issuer.token("alice", "admin");
    let pairs = [
        ("public, then protected", GOOD.to_owned(), "/ssi/first", "GET /api/credential/v1"),
        (
            "alice's, then nobody's",
            format!(
                "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            ),
            "/api/credential/v1",
            "GET /api/credential/v1?second",
        ),
    ];
    for (name, first, target, second) in pairs {
        let both =
            format!("{first}{second} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let (answer, closed) = send(world.gateway.address, both.as_bytes()).await;
        assert!(closed, "{name}: {answer}");
        assert_eq!(status(&answer), 200, "{name}: {answer}");
        assert_eq!(answer.matches("200 OK").count(), 1, "{name}: {answer}");
        assert_eq!(world.core.take_begun(), [target], "{name}");
        world.core.take();
    }
}

#[tokio::test]
async fn r29_a_body_that_is_a_request_is_a_body() {
    let world = World::start().await;
    let inner = "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let framed = [
        format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
    ];
    for body in framed {
        let request =
            format!("POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}");
        let (answer, _) = send(world.gateway.address, request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{answer}");
        let [seen] = &world.core.take()[..] else { panic!("one request") };
        assert_eq!((seen.target(), &seen.body[..]), ("/ssi/x", inner.as_bytes()));
        // The same where it is refused before the body is read.
        let refused = request.replacen("/ssi/x", "/api/credential/v1", 1);
        world.core.take_begun();
        let (answer, closed) = send(world.gateway.address, refused.as_bytes()).await;
        assert_eq!((status(&answer), closed), (401, true), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(world.core.take_begun().is_empty());
    }
}

#[tokio::test]
async fn a_request_that_is_broken_off_is_never_whole_upstream() {
    let world = World::start().await;
    let whole = "POST /ssi/cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabcdeabcd";
    for end in (1..=whole.len()).step_by(4).chain([whole.len()]) {
        let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
        stream.write_all(&whole.as_bytes()[..end]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(super::AT_AN_END, read).await.unwrap().unwrap();
        assert!(world.core.take().is_empty(), "after {end} bytes");
    }
    world.core.take_begun();
    world.lives().await;
}
