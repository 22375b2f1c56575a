//! Request lines, and what stands before them.

use super::{
    Row,
    Upstream::{Gets, Nothing, NothingAndClosed},
    World, row,
};

macro_rules! line {
    ($line:literal) => {
        concat!($line, "\r\nHost: localhost\r\n\r\n").as_bytes()
    };
}

#[rustfmt::skip]
const LINES: &[Row] = &[
    row("as it should be", line!("GET /ssi/x HTTP/1.1"), &[200], Gets("/ssi/x")),
    row("a query", line!("GET /ssi/x?y=z HTTP/1.1"), &[200], Gets("/ssi/x?y=z")),
    row("HTTP/1.0", line!("GET /ssi/x HTTP/1.0"), &[200], Gets("/ssi/x")),
    row("HTTP/0.9", b"GET /ssi/without-a-version\r\n\r\n", &[400], NothingAndClosed),
    row("HTTP/0.9 with a version", line!("GET /ssi/x HTTP/0.9"), &[400], NothingAndClosed),
    row("HTTP/1.2", line!("GET /ssi/x HTTP/1.2"), &[400], NothingAndClosed),
    row("HTTP/2.0", line!("GET /ssi/x HTTP/2.0"), &[400], NothingAndClosed),
    row("HTTP/3", line!("GET /ssi/x HTTP/3"), &[400], NothingAndClosed),
    row("HTTP/1", line!("GET /ssi/x HTTP/1"), &[400], NothingAndClosed),
    row("HTTP/1.", line!("GET /ssi/x HTTP/1."), &[400], NothingAndClosed),
    row("HTTP/1.10", line!("GET /ssi/x HTTP/1.10"), &[400], NothingAndClosed),
    row("HTTP/1.1x", line!("GET /ssi/x HTTP/1.1x"), &[400], NothingAndClosed),
    row("HTTP/01.1", line!("GET /ssi/x HTTP/01.1"), &[400], NothingAndClosed),
    row("HTTP/-1.1", line!("GET /ssi/x HTTP/-1.1"), &[400], NothingAndClosed),
    row("http/1.1", line!("GET /ssi/x http/1.1"), &[400], NothingAndClosed),
    row("ICE/1.1", line!("GET /ssi/x ICE/1.1"), &[400], NothingAndClosed),
    row("HTTPS/1.1", line!("GET /ssi/x HTTPS/1.1"), &[400], NothingAndClosed),
    row("no version and a space", line!("GET /ssi/x "), &[400], NothingAndClosed),
    row("no target", line!("GET  HTTP/1.1"), &[400], NothingAndClosed),
    row("no target, one space", line!("GET HTTP/1.1"), &[400], NothingAndClosed),
    row("no method", line!(" /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("only a method", line!("GET"), &[400], NothingAndClosed),
    row("two versions", line!("GET /ssi/x HTTP/1.1 HTTP/1.1"), &[400], NothingAndClosed),
    row("two targets", line!("GET /ssi/x /api/credential/v1 HTTP/1.1"), &[400], NothingAndClosed),
    row("a tab after the method", line!("GET\t/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a tab after the target", line!("GET /ssi/x\tHTTP/1.1"), &[400], NothingAndClosed),
    row("a vertical tab", line!("GET /ssi/x\u{b}HTTP/1.1"), &[400], NothingAndClosed),
    row("two spaces after the method", line!("GET  /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a space at the end", line!("GET /ssi/x HTTP/1.1 "), &[400], NothingAndClosed),
    row("a tab at the end", line!("GET /ssi/x HTTP/1.1\t"), &[400], NothingAndClosed),
    row("a bare CR in it", line!("GET /ssi/x\rHTTP/1.1"), &[400], NothingAndClosed),
    row("a bare CR at its end", b"GET /ssi/x HTTP/1.1\rHost: localhost\r\n\r\n", &[400], NothingAndClosed),
    row("two CRs at its end", b"GET /ssi/x HTTP/1.1\r\r\nHost: localhost\r\n\r\n", &[400], NothingAndClosed),
    row("a bare LF at its end", b"GET /ssi/x HTTP/1.1\nHost: localhost\r\n\r\n", &[400], NothingAndClosed),
    row("LF and CR at its end", b"GET /ssi/x HTTP/1.1\n\rHost: localhost\r\n\r\n", &[400], NothingAndClosed),
    row("bare LFs before it", line!("\n\nGET /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a space before it", line!(" GET /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("NUL before it", line!("\0GET /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("NUL in the method", line!("GE\0T /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a colon in the method", line!("GET: /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a method in quotes", line!("\"GET\" /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("UTF-8 in the method", line!("GÉT /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a byte order mark", line!("\u{feff}GET /ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("TRACE", line!("TRACE /ssi/x HTTP/1.1"), &[405], Nothing),
    row("TRACK", line!("TRACK /ssi/x HTTP/1.1"), &[405], Nothing),
    row("DEBUG", line!("DEBUG /ssi/x HTTP/1.1"), &[405], Nothing),
    row("PURGE", line!("PURGE /ssi/x HTTP/1.1"), &[405], Nothing),
    row("PRI", line!("PRI /ssi/x HTTP/1.1"), &[405], Nothing),
    row("get", line!("get /ssi/x HTTP/1.1"), &[405], Nothing),
    row("Get", line!("Get /ssi/x HTTP/1.1"), &[405], Nothing),
    row("GETX", line!("GETX /ssi/x HTTP/1.1"), &[405], Nothing),
    row("M-SEARCH", line!("M-SEARCH /ssi/x HTTP/1.1"), &[405], Nothing),
    row("CONNECT to an authority", line!("CONNECT localhost:443 HTTP/1.1"), &[400, 405], Nothing),
    row("CONNECT to a path", line!("CONNECT /ssi/x HTTP/1.1"), &[400, 405], Nothing),
    row("OPTIONS *", line!("OPTIONS * HTTP/1.1"), &[400], NothingAndClosed),
    row("GET *", line!("GET * HTTP/1.1"), &[400], NothingAndClosed),
    row("the authority-form", line!("GET localhost:80 HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form of us", line!("GET http://localhost/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form without a path", line!("GET http://localhost HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form over TLS", line!("GET https://localhost/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form of another", line!("GET http://evil/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form with a port", line!("GET http://localhost:1/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form with userinfo", line!("GET http://localhost@evil/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form in capitals", line!("GET HTTP://LOCALHOST/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form with backslashes", line!("GET http:/\\localhost/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form of a file", line!("GET file:///ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("the absolute-form of a script", line!("GET javascript:alert(1) HTTP/1.1"), &[400], NothingAndClosed),
    row("no scheme", line!("GET ://localhost/ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a relative target", line!("GET ssi/x HTTP/1.1"), &[400], NothingAndClosed),
    row("a target of dots", line!("GET .. HTTP/1.1"), &[400], NothingAndClosed),
    row("only a query", line!("GET ?x HTTP/1.1"), &[400], NothingAndClosed),
    row("only a fragment", line!("GET #x HTTP/1.1"), &[400], Nothing),
    row("a fragment", line!("GET /ssi/x#y HTTP/1.1"), &[400], Nothing),
    row("a fragment after a query", line!("GET /ssi/x?y#z HTTP/1.1"), &[400], Nothing),
    row("an empty fragment", line!("GET /ssi/x# HTTP/1.1"), &[400], Nothing),
    row("another request in the target", line!("GET /ssi/x HTTP/1.1\r\n\r\nGET /ssi/y HTTP/1.1"), &[400], NothingAndClosed),
    row("HTTP/2's preface, broken", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[400], NothingAndClosed),
    row("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on, at random\r\n\r\n", &[400], NothingAndClosed),
    row("a PROXY line", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /ssi/x HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400], NothingAndClosed),
    row("a mail client", b"EHLO localhost\r\nMAIL FROM:<a@localhost>\r\n\r\n", &[400], NothingAndClosed),
    row("JSON", b"{\"method\": \"GET\", \"path\": \"/ssi/x\"}\r\n\r\n", &[400], NothingAndClosed),
];

#[tokio::test]
async fn r29_a_request_line_has_one_reading_or_none() {
    World::start().await.holds(LINES).await;
}

#[tokio::test]
async fn r29_empty_lines_before_a_request_change_nothing() {
    // RFC 9112, section 2.2.
    let world = World::start().await;
    let row = row("CRLFs", line!("\r\n\r\nGET /ssi/x HTTP/1.1"), &[200], Gets("/ssi/x"));
    world.holds(&[row]).await;
}
