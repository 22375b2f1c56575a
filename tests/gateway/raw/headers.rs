//! Header lines: their form, how many, how large.

use super::{
    Row,
    Upstream::{Gets, Nothing, NothingAndClosed},
    World, row,
};

macro_rules! with {
    ($lines:literal) => {
        concat!("GET /ssi/x HTTP/1.1\r\nHost: localhost\r\n", $lines, "\r\n").as_bytes()
    };
}

#[rustfmt::skip]
const LINES: &[Row] = &[
    row("no value", with!("X-A:\r\n"), &[200], Gets("/ssi/x")),
    row("spaces around the value", with!("X-A:   b  \r\n"), &[200], Gets("/ssi/x")),
    row("colons in the value", with!("X-A: b: c: d\r\n"), &[200], Gets("/ssi/x")),
    row("a folded value", with!("X-A: b\r\n c\r\n"), &[400], NothingAndClosed),
    row("a value folded by a tab", with!("X-A: b\r\n\tc\r\n"), &[400], NothingAndClosed),
    row("a fold before any header", b"GET /ssi/x HTTP/1.1\r\n X: y\r\nHost: localhost\r\n\r\n", &[400], NothingAndClosed),
    row("a folded Host", b"GET /ssi/x HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n", &[400], NothingAndClosed),
    row("a fold at the end", with!("X-A: b\r\n \r\n"), &[400], NothingAndClosed),
    row("a space before the colon", with!("X-A : b\r\n"), &[400], NothingAndClosed),
    row("a tab before the colon", with!("X-A\t: b\r\n"), &[400], NothingAndClosed),
    row("a space in the name", with!("X A: b\r\n"), &[400], NothingAndClosed),
    row("no name", with!(": b\r\n"), &[400], NothingAndClosed),
    row("no colon", with!("X-A\r\n"), &[400], NothingAndClosed),
    row("only a colon", with!(":\r\n"), &[400], NothingAndClosed),
    row("a pseudo header", with!(":path: /api/credential/v1\r\n"), &[400], NothingAndClosed),
    row("NUL in a name", with!("X\0A: b\r\n"), &[400], NothingAndClosed),
    row("NUL in a value", with!("X-A: b\0c\r\n"), &[400], NothingAndClosed),
    row("a bare CR in a value", with!("X-A: b\rc\r\n"), &[400], NothingAndClosed),
    row("a bare CR and a header", with!("X-A: b\rHost: evil\r\n"), &[400], NothingAndClosed),
    row("a bare LF", with!("X-A: b\n"), &[400], NothingAndClosed),
    row("a bare LF and a header", with!("X-A: b\nX-B: c\r\n"), &[400], NothingAndClosed),
    row("bare LFs at the end", b"GET /ssi/x HTTP/1.1\r\nHost: localhost\n\n", &[400], NothingAndClosed),
    row("bare LFs all along", b"GET /ssi/x HTTP/1.1\nHost: localhost\n\n", &[400], NothingAndClosed),
    row("a bare LF as the last line", b"GET /ssi/x HTTP/1.1\r\nHost: localhost\r\n\n", &[400], NothingAndClosed),
    row("a slash in a name", with!("X/A: b\r\n"), &[400], NothingAndClosed),
    row("a parenthesis in a name", with!("X(A): b\r\n"), &[400], NothingAndClosed),
    row("an at sign in a name", with!("X@A: b\r\n"), &[400], NothingAndClosed),
    row("UTF-8 in a name", with!("X-Ä: b\r\n"), &[400], NothingAndClosed),
    row("UTF-8 in a value", with!("X-A: ä\r\n"), &[200], Gets("/ssi/x")),
    row("odd but legal names", with!("X!#$%&'*+-.^_`|~A: b\r\n"), &[200], Gets("/ssi/x")),
    row("no Host", b"GET /ssi/without-a-host HTTP/1.1\r\n\r\n", &[400], NothingAndClosed),
    row("no Host in HTTP/1.0", b"GET /ssi/without-a-host HTTP/1.0\r\n\r\n", &[400], NothingAndClosed),
    row("an empty Host", b"GET /ssi/x HTTP/1.1\r\nHost:\r\n\r\n", &[400], NothingAndClosed),
    row("two Hosts", with!("Host: localhost\r\n"), &[400], NothingAndClosed),
    row("two Hosts, one of them not ours", with!("Host: evil\r\n"), &[400], NothingAndClosed),
    row("two Hosts in other cases", with!("HOST: localhost\r\n"), &[400], NothingAndClosed),
    row("Host_", with!("Host_: evil\r\n"), &[200], Gets("/ssi/x")),
    row("a Host of another", b"GET /ssi/x HTTP/1.1\r\nHost: evil\r\n\r\n", &[421], Nothing),
    row("a Host below ours", b"GET /ssi/x HTTP/1.1\r\nHost: a.localhost\r\n\r\n", &[421], Nothing),
    row("a Host that ends as ours", b"GET /ssi/x HTTP/1.1\r\nHost: evillocalhost\r\n\r\n", &[421], Nothing),
    row("a Host that begins as ours", b"GET /ssi/x HTTP/1.1\r\nHost: localhost.evil\r\n\r\n", &[421], Nothing),
    row("an address as Host", b"GET /ssi/x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", &[421], Nothing),
    row("Host in capitals", b"GET /ssi/x HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n", &[200], Gets("/ssi/x")),
    row("Host with a dot", b"GET /ssi/x HTTP/1.1\r\nHost: localhost.\r\n\r\n", &[200], Gets("/ssi/x")),
    row("Host with a port", b"GET /ssi/x HTTP/1.1\r\nHost: localhost:1\r\n\r\n", &[200], Gets("/ssi/x")),
    row("Host with two dots", b"GET /ssi/x HTTP/1.1\r\nHost: localhost..\r\n\r\n", &[400, 421], Nothing),
    row("Host with two ports", b"GET /ssi/x HTTP/1.1\r\nHost: localhost:1:2\r\n\r\n", &[400], NothingAndClosed),
    row("Host with a wordy port", b"GET /ssi/x HTTP/1.1\r\nHost: localhost:http\r\n\r\n", &[400], NothingAndClosed),
    row("Host with userinfo", b"GET /ssi/x HTTP/1.1\r\nHost: localhost@evil\r\n\r\n", &[400], NothingAndClosed),
    row("Host with a path", b"GET /ssi/x HTTP/1.1\r\nHost: localhost/api\r\n\r\n", &[400], NothingAndClosed),
    row("Host with a scheme", b"GET /ssi/x HTTP/1.1\r\nHost: http://localhost\r\n\r\n", &[400], NothingAndClosed),
    row("Host with a comma", b"GET /ssi/x HTTP/1.1\r\nHost: localhost, evil\r\n\r\n", &[400], NothingAndClosed),
    row("Host with an escape", b"GET /ssi/x HTTP/1.1\r\nHost: local%68ost\r\n\r\n", &[400], NothingAndClosed),
    row("Host with a space", b"GET /ssi/x HTTP/1.1\r\nHost: local host\r\n\r\n", &[400], NothingAndClosed),
    row("Host with UTF-8", b"GET /ssi/x HTTP/1.1\r\nHost: l\xc3\xb6calhost\r\n\r\n", &[400], NothingAndClosed),
    row("Host with NUL", b"GET /ssi/x HTTP/1.1\r\nHost: localhost\0\r\n\r\n", &[400], NothingAndClosed),
    row("two Content-Types", with!("Content-Type: a/b\r\nContent-Type: c/d\r\n"), &[400], NothingAndClosed),
    row("two Origins", with!("Origin: http://localhost\r\nOrigin: http://evil\r\n"), &[400], NothingAndClosed),
    row("two Proxy-Authorizations", with!("Proxy-Authorization: a\r\nProxy-Authorization: b\r\n"), &[400], NothingAndClosed),
    row("two cookie lines", with!("Cookie: a=b\r\nCookie: c=d\r\n"), &[200], Gets("/ssi/x")),
];

#[tokio::test]
async fn r29_a_header_line_has_one_reading_or_none() {
    World::start().await.holds(LINES).await;
}

#[tokio::test]
async fn r15_heads_are_bounded_in_bytes_and_lines() {
    let world = World::start().await;
    let sized = |name: &'static str, lines: String, statuses| Row {
        name: name.into(),
        bytes: format!("GET /ssi/x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").into_bytes().into(),
        statuses,
        upstream: NothingAndClosed,
    };
    let long = |name: &'static str, target: String, statuses| Row {
        name: name.into(),
        bytes: format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes().into(),
        statuses,
        upstream: NothingAndClosed,
    };
    let rows = [
        sized("a value of 64 KiB", format!("X: {}\r\n", "y".repeat(64 << 10)), &[431]),
        sized("a value of 900 KiB", format!("X: {}\r\n", "y".repeat(900 << 10)), &[431]),
        sized("a value of 2 MiB", format!("X: {}\r\n", "y".repeat(2 << 20)), &[400, 431]),
        sized("a name of 64 KiB", format!("{}: y\r\n", "x".repeat(64 << 10)), &[400, 431]),
        sized("200 lines", "X: y\r\n".repeat(200), &[431]),
        sized("300 lines", "X: y\r\n".repeat(300), &[400, 431]),
        sized("10,000 lines", "X: y\r\n".repeat(10_000), &[400, 431]),
        sized("64 KiB of cookies", format!("Cookie: {}\r\n", "a=b; ".repeat(13 << 10)), &[431]),
        long("a path of 64 KiB", format!("/ssi/{}", "x".repeat(64 << 10)), &[400, 414]),
        long("a query of 64 KiB", format!("/ssi/x?{}", "x".repeat(64 << 10)), &[400, 414]),
        long("100,000 slashes", "/".repeat(100_000), &[400, 414]),
        long("30,000 steps upwards", format!("/ssi{}", "/..".repeat(30_000)), &[400, 414]),
    ];
    world.holds(&rows).await;
}
