//! How long a request is: Content-Length and Transfer-Encoding, and changes of protocol.

use super::{
    Row,
    Upstream::{Gets, Nothing, NothingAndClosed},
    World, row,
};

macro_rules! post {
    ($lines:literal, $body:literal) => {
        concat!("POST /ssi/x HTTP/1.1\r\nHost: localhost\r\n", $lines, "\r\n", $body).as_bytes()
    };
}

#[rustfmt::skip]
const LENGTHS: &[Row] = &[
    row("5", post!("Content-Length: 5\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("0", post!("Content-Length: 0\r\n", ""), &[200], Gets("/ssi/x")),
    row("none", post!("", ""), &[200], Gets("/ssi/x")),
    row("005", post!("Content-Length: 005\r\n", "abcde"), &[200, 400], Gets("/ssi/x")),
    row("in capitals", post!("CONTENT-LENGTH: 5\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("no space", post!("Content-Length:5\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("much space", post!("Content-Length: \t 5 \t\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("+5", post!("Content-Length: +5\r\n", "abcde"), &[400], NothingAndClosed),
    row("-5", post!("Content-Length: -5\r\n", "abcde"), &[400], NothingAndClosed),
    row("-0", post!("Content-Length: -0\r\n", ""), &[400], NothingAndClosed),
    row("0x5", post!("Content-Length: 0x5\r\n", "abcde"), &[400], NothingAndClosed),
    row("5.0", post!("Content-Length: 5.0\r\n", "abcde"), &[400], NothingAndClosed),
    row("5e0", post!("Content-Length: 5e0\r\n", "abcde"), &[400], NothingAndClosed),
    row("1_0", post!("Content-Length: 1_0\r\n", "abcdeabcde"), &[400], NothingAndClosed),
    row("five", post!("Content-Length: five\r\n", "abcde"), &[400], NothingAndClosed),
    row("empty", post!("Content-Length:\r\n", "abcde"), &[400], NothingAndClosed),
    row("only space", post!("Content-Length:  \r\n", "abcde"), &[400], NothingAndClosed),
    row("5, 5", post!("Content-Length: 5, 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("5,", post!("Content-Length: 5,\r\n", "abcde"), &[400], NothingAndClosed),
    row("5 5", post!("Content-Length: 5 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("5;x", post!("Content-Length: 5;x\r\n", "abcde"), &[400], NothingAndClosed),
    row("\"5\"", post!("Content-Length: \"5\"\r\n", "abcde"), &[400], NothingAndClosed),
    row("NUL 5", post!("Content-Length: \x005\r\n", "abcde"), &[400], NothingAndClosed),
    row("5 NUL", post!("Content-Length: 5\0\r\n", "abcde"), &[400], NothingAndClosed),
    row("vertical tab", post!("Content-Length: \x0b5\r\n", "abcde"), &[400], NothingAndClosed),
    row("Arabic digits", post!("Content-Length: \u{665}\r\n", "abcde"), &[400], NothingAndClosed),
    row("2^64", post!("Content-Length: 18446744073709551616\r\n", "abcde"), &[400, 413], NothingAndClosed),
    row("2^64 + 5", post!("Content-Length: 18446744073709551621\r\n", "abcde"), &[400, 413], NothingAndClosed),
    row("2^63", post!("Content-Length: 9223372036854775808\r\n", "abcde"), &[400, 413], NothingAndClosed),
    row("30 digits", post!("Content-Length: 999999999999999999999999999999\r\n", "abcde"), &[400, 413], NothingAndClosed),
    row("twice", post!("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("5 and 6", post!("Content-Length: 5\r\nContent-Length: 6\r\n", "abcde"), &[400], NothingAndClosed),
    row("0 and 5", post!("Content-Length: 0\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("5 and empty", post!("Content-Length: 5\r\nContent-Length:\r\n", "abcde"), &[400], NothingAndClosed),
    row("twice, other case", post!("Content-Length: 5\r\ncontent-length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("space before the colon", post!("Content-Length : 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("tab before the colon", post!("Content-Length\t: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("folded", post!("Content-Length:\r\n 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("an alias with an underscore", post!("Content_Length: 5\r\n", ""), &[200], Gets("/ssi/x")),
    row("nominated", post!("Content-Length: 5\r\nConnection: content-length\r\n", "abcde"), &[200, 400], Gets("/ssi/x")),
    row("HTTP/1.0 with one", b"POST /ssi/x HTTP/1.0\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde", &[200], Gets("/ssi/x")),
    row("HTTP/1.0 without one", b"POST /ssi/x HTTP/1.0\r\nHost: localhost\r\n\r\nabcde", &[200], Gets("/ssi/x")),
    row("GET with a body", b"GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde", &[200], Gets("/ssi/x")),
    row("too large for the route", b"POST /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n", &[401, 413], Nothing),
];

#[rustfmt::skip]
const CODINGS: &[Row] = &[
    row("chunked", post!("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("Chunked", post!("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("TRANSFER-ENCODING", post!("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("no space", post!("Transfer-Encoding:chunked\r\n", "0\r\n\r\n"), &[200], Gets("/ssi/x")),
    row("before Content-Length", post!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("after Content-Length", post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("and Content-Length: 0", post!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("and a broken Content-Length", post!("Content-Length: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("and two Content-Lengths", post!("Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("and CONTENT-LENGTH", post!("CONTENT-LENGTH: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("twice", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("chunked, chunked", post!("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("gzip, chunked", post!("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("gzip and chunked", post!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("chunked, gzip", post!("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("chunked, identity", post!("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("identity, chunked", post!("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("identity", post!("Transfer-Encoding: identity\r\n", ""), &[400], NothingAndClosed),
    row("identity and a length", post!("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("gzip", post!("Transfer-Encoding: gzip\r\n", ""), &[400], NothingAndClosed),
    row("deflate", post!("Transfer-Encoding: deflate\r\n", ""), &[400], NothingAndClosed),
    row("x, chunked", post!("Transfer-Encoding: x, chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("xchunked", post!("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("chunkedx", post!("Transfer-Encoding: chunkedx\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("chunked;q=1", post!("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("\"chunked\"", post!("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("chunked,", post!("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row(", chunked", post!("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("empty", post!("Transfer-Encoding:\r\n", ""), &[400], NothingAndClosed),
    row("empty and a length", post!("Transfer-Encoding:\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("vertical tab", post!("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("NUL", post!("Transfer-Encoding: chunked\0\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("folded", post!("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("folded to two", post!("Transfer-Encoding: chunked\r\n , identity\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("space before the colon", post!("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("space before the name", post!(" Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("behind a bare CR", post!("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("behind a bare LF", post!("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400], NothingAndClosed),
    row("an alias with an underscore", post!("Transfer_Encoding: chunked\r\n", ""), &[200], Gets("/ssi/x")),
    row("an alias and a length", post!("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("an alias with a dot", post!("Transfer.Encoding: chunked\r\n", ""), &[200], Gets("/ssi/x")),
    row("nominated", post!("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", "0\r\n\r\n"), &[200, 400], Gets("/ssi/x")),
    row("HTTP/1.0", b"POST /ssi/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400], NothingAndClosed),
    row("HTTP/1.0 and a length", b"POST /ssi/x HTTP/1.0\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400], NothingAndClosed),
    row("GET", b"GET /ssi/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[200], Gets("/ssi/x")),
];

#[rustfmt::skip]
const CHANGES: &[Row] = &[
    row("websocket that is answered 200", post!("Connection: Upgrade\r\nUpgrade: websocket\r\n", ""), &[200], Gets("/ssi/x")),
    row("websocket and a body", post!("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", "abcde"), &[200, 400], Gets("/ssi/x")),
    row("h2c", post!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", ""), &[200], Gets("/ssi/x")),
    row("h2c without Connection", post!("Upgrade: h2c\r\n", ""), &[200], Gets("/ssi/x")),
    row("TLS/1.0", post!("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", ""), &[200], Gets("/ssi/x")),
    row("an unknown protocol", post!("Connection: Upgrade\r\nUpgrade: ../x\r\n", ""), &[200], Gets("/ssi/x")),
    row("100-continue", post!("Expect: 100-continue\r\nContent-Length: 5\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("100-Continue", post!("Expect: 100-Continue\r\nContent-Length: 5\r\n", "abcde"), &[200], Gets("/ssi/x")),
    row("another expectation", post!("Expect: 200-ok\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("two expectations", post!("Expect: 100-continue, x\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("no expectation", post!("Expect:\r\nContent-Length: 5\r\n", "abcde"), &[400], NothingAndClosed),
    row("ten nominations", post!("Connection: a, b, c, d, e, f, g, h, i, j\r\n", ""), &[400], Nothing),
    row("Host nominated", post!("Connection: host\r\n", ""), &[400], Nothing),
    row(":path nominated", post!("Connection: :path\r\n", ""), &[400], Nothing),
    row("Keep-Alive", post!("Keep-Alive: timeout=99999, max=99999\r\n", ""), &[200], Gets("/ssi/x")),
    row("TE: trailers", post!("TE: trailers\r\n", ""), &[200], Gets("/ssi/x")),
    row("TE: trailers, chunked;q=0.5", post!("TE: trailers, chunked;q=0.5\r\nConnection: TE\r\n", ""), &[200], Gets("/ssi/x")),
];

#[tokio::test]
async fn r29_a_length_has_one_reading_or_none() {
    World::start().await.holds(LENGTHS).await;
}

#[tokio::test]
async fn r29_a_transfer_coding_has_one_reading_or_none() {
    World::start().await.holds(CODINGS).await;
}

#[tokio::test]
async fn r29_a_change_of_protocol_smuggles_nothing() {
    World::start().await.holds(CHANGES).await;
}
