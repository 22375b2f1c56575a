//! Chunked bodies.

use super::{
    Row,
    Upstream::{Gets, GetsAndCloses, NeverWhole},
    World, row,
};

macro_rules! chunked {
    ($body:literal) => {
        concat!(
            "POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

macro_rules! cut {
    ($body:literal) => {
        concat!(
            "POST /ssi/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

#[rustfmt::skip]
const BODIES: &[Row] = &[
    row("one chunk", chunked!("5\r\nabcde\r\n0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("two chunks", chunked!("5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("no chunk", chunked!("0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("many zeros", chunked!("0005\r\nabcde\r\n0000\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("capitals", chunked!("A\r\nabcdeabcde\r\n0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("an extension", chunked!("5;a=b\r\nabcde\r\n0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("an extension at the end", chunked!("5\r\nabcde\r\n0;a\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("a trailer", chunked!("5\r\nabcde\r\n0\r\nX-Trailer: y\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("a trailer that claims somebody", chunked!("0\r\nX-Session-Id: evil\r\nAuthorization: Bearer evil\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("a trailer that claims a length", chunked!("0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("+5", cut!("+5\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("-5", cut!("-5\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("0x5", cut!("0x5\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("5_0", cut!("5_0\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("g", cut!("g\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("no size", chunked!("\r\nabcde\r\n0\r\n\r\n"), &[200], GetsAndCloses("/ssi/x")),
    row("only an extension", chunked!(";a=b\r\nabcde\r\n0\r\n\r\n"), &[200], GetsAndCloses("/ssi/x")),
    row("a space before the size", cut!(" 5\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("a quoted size", cut!("\"5\"\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("a size of two", cut!("5 5\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("a size with a comma", cut!("5,5\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("2^64", cut!("10000000000000000\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("2^64 + 5", cut!("10000000000000005\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("20 digits of f", cut!("ffffffffffffffffffff\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("too short a size", cut!("3\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("no CRLF after the chunk", cut!("5\r\nabcde0\r\n\r\n"), &[400], NeverWhole),
    row("other bytes after the chunk", cut!("5\r\nabcdeXY0\r\n\r\n"), &[400], NeverWhole),
    row("LF after the size", cut!("5\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("CR after the size", cut!("5\rabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("LF after the chunk", cut!("5\r\nabcde\n0\r\n\r\n"), &[400], NeverWhole),
    row("LF in an extension", chunked!("5;a\nb\r\nabcde\r\n0\r\n\r\n"), &[200], GetsAndCloses("/ssi/x")),
    row("CR in an extension", cut!("5;a\rb\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("NUL in the size", cut!("5\0\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
    row("UTF-8 in the size", cut!("\u{ff15}\r\nabcde\r\n0\r\n\r\n"), &[400], NeverWhole),
];

#[tokio::test]
async fn r29_a_chunked_body_has_one_end_or_none() {
    World::start().await.holds(BODIES).await;
}

#[tokio::test]
async fn r29_what_is_forwarded_of_a_chunked_body_is_its_content() {
    let world = World::start().await;
    let request = b"POST /ssi/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
        Transfer-Encoding: chunked\r\n\r\n5;ext=\"1\"\r\nabcde\r\n0001\r\nf\r\n0;x\r\n\
        X-Session-Id: evil\r\nContent-Length: 7\r\n\r\n";
    let (answer, _) = super::send(world.gateway.address, request).await;
    assert_eq!(crate::support::status(&answer), 200, "{answer}");
    let [seen] = &world.core.take()[..] else { panic!("one request") };
    assert_eq!(seen.body, b"abcdef");
    assert!(!seen.head.contains("evil"), "{}", seen.head);
    assert!(world.core.garbage().is_empty(), "{:?}", world.core.garbage());
}

#[tokio::test]
async fn r15_a_chunk_line_without_an_end_is_bounded() {
    let world = World::start().await;
    let head = "POST /ssi/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for line in ["0".repeat(1 << 17), format!("5;{}", "x".repeat(1 << 17))] {
        let (answer, closed) =
            super::send(world.gateway.address, format!("{head}{line}").as_bytes()).await;
        assert!(closed, "{answer}");
        assert!(world.core.take().is_empty());
    }
    let trailers = format!("{head}0\r\n{}", "X: y\r\n".repeat(1 << 15));
    let (answer, closed) = super::send(world.gateway.address, trailers.as_bytes()).await;
    assert!(closed, "{answer}");
    assert!(world.core.take().is_empty());
    world.lives().await;
}
