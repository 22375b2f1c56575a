//! HTTP/2 by hand: heads that HTTP/1 could not carry, and frames out of order.

use super::{
    CUT, World,
    frames::{
        CONTINUATION, Connection, END_HEADERS, END_STREAM, HEADERS, Heard, RST_STREAM, block,
        frame, get,
    },
};
use crate::support::recorder::Received;

/// What becomes of it.
#[derive(Clone, Copy)]
pub(super) enum Then {
    /// The upstream gets this target, once.
    Gets(&'static str),
    /// The gateway answers with this status, and the upstream gets nothing.
    Answers(u16),
    /// The stream or the connection ends, with no more than a 400, and the upstream gets nothing.
    Ends,
}
use Then::{Answers, Ends, Gets};

pub(super) type Fields = &'static [(&'static str, &'static str)];

const METHOD: (&str, &str) = (":method", "GET");
pub(super) const POST: (&str, &str) = (":method", "POST");
pub(super) const SCHEME: (&str, &str) = (":scheme", "http");
pub(super) const PATH: (&str, &str) = (":path", "/ssi/x");
pub(super) const AUTHORITY: (&str, &str) = (":authority", "localhost");

pub(super) const PLAIN: Fields = &[METHOD, SCHEME, PATH, AUTHORITY];

#[rustfmt::skip]
const HEADS: &[(&str, Fields, Then)] = &[
    ("as it should be", PLAIN, Gets("/ssi/x")),
    ("a query", &[METHOD, SCHEME, (":path", "/ssi/x?y=/../z"), AUTHORITY], Gets("/ssi/x?y=/../z")),
    ("the authority in capitals", &[METHOD, SCHEME, PATH, (":authority", "LOCALHOST")], Gets("/ssi/x")),
    ("the authority with a port", &[METHOD, SCHEME, PATH, (":authority", "localhost:1")], Gets("/ssi/x")),
    ("the same Host", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "localhost")], Gets("/ssi/x")),
    ("another order", &[AUTHORITY, PATH, SCHEME, METHOD], Gets("/ssi/x")),
    ("te: trailers", &[METHOD, SCHEME, PATH, AUTHORITY, ("te", "trailers")], Gets("/ssi/x")),
    ("cookies in pieces", &[METHOD, SCHEME, PATH, AUTHORITY, ("cookie", "a=b"), ("cookie", "c=d")], Gets("/ssi/x")),
    ("no credential", &[METHOD, SCHEME, (":path", "/api/credential/v1"), AUTHORITY], Answers(401)),
    ("a claimed target", &[METHOD, SCHEME, (":path", "/api/credential/v1"), AUTHORITY, ("x-original-url", "/ssi/x")], Answers(401)),
    ("no route", &[METHOD, SCHEME, (":path", "/x"), AUTHORITY], Answers(404)),
    ("TRACE", &[(":method", "TRACE"), SCHEME, PATH, AUTHORITY], Answers(405)),
    ("another Host", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "gateway.test")], Answers(400)),
    ("two Hosts", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "localhost"), ("host", "localhost")], Answers(400)),
    ("an authority of another", &[METHOD, SCHEME, PATH, (":authority", "evil")], Answers(421)),
    ("an authority with userinfo", &[METHOD, SCHEME, PATH, (":authority", "localhost@evil")], Ends),
    ("an authority with a path", &[METHOD, SCHEME, PATH, (":authority", "localhost/api")], Ends),
    ("an authority with a space", &[METHOD, SCHEME, PATH, (":authority", "local host")], Ends),
    ("an empty authority", &[METHOD, SCHEME, PATH, (":authority", "")], Ends),
    ("no authority", &[METHOD, SCHEME, PATH], Ends),
    ("a Host alone", &[METHOD, SCHEME, PATH, ("host", "localhost")], Ends),
    ("two Authorizations", &[METHOD, SCHEME, PATH, AUTHORITY, ("authorization", "a"), ("authorization", "b")], Answers(400)),
    ("two Content-Types", &[METHOD, SCHEME, PATH, AUTHORITY, ("content-type", "a"), ("content-type", "b")], Answers(400)),
    ("dots", &[METHOD, SCHEME, (":path", "/ssi/../api/credential/v1"), AUTHORITY], Answers(400)),
    ("escaped dots", &[METHOD, SCHEME, (":path", "/ssi/%2e%2e/api/credential/v1"), AUTHORITY], Answers(400)),
    ("two slashes", &[METHOD, SCHEME, (":path", "//localhost/ssi/x"), AUTHORITY], Answers(400)),
    ("a backslash", &[METHOD, SCHEME, (":path", "/ssi\\x"), AUTHORITY], Ends),
    ("a semicolon", &[METHOD, SCHEME, (":path", "/ssi/x;y"), AUTHORITY], Answers(400)),
    ("a space in the path", &[METHOD, SCHEME, (":path", "/ssi/x y"), AUTHORITY], Ends),
    ("a request in the path", &[METHOD, SCHEME, (":path", "/ssi/x HTTP/1.1\r\nhost: localhost\r\n\r\nGET /ssi/y"), AUTHORITY], Ends),
    ("NUL in the path", &[METHOD, SCHEME, (":path", "/ssi/x\0"), AUTHORITY], Ends),
    ("UTF-8 in the path", &[METHOD, SCHEME, (":path", "/ssi/ä"), AUTHORITY], Ends),
    ("an empty path", &[METHOD, SCHEME, (":path", ""), AUTHORITY], Ends),
    ("no path", &[METHOD, SCHEME, AUTHORITY], Ends),
    ("a star", &[METHOD, SCHEME, (":path", "*"), AUTHORITY], Ends),
    ("OPTIONS *", &[(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY], Ends),
    ("a relative path", &[METHOD, SCHEME, (":path", "ssi/x"), AUTHORITY], Ends),
    ("the absolute-form", &[METHOD, SCHEME, (":path", "http://localhost/ssi/x"), AUTHORITY], Ends),
    ("two paths", &[METHOD, SCHEME, PATH, (":path", "/ssi/y"), AUTHORITY], Ends),
    ("two methods", &[METHOD, POST, SCHEME, PATH, AUTHORITY], Ends),
    ("two authorities", &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY], Ends),
    ("no method", &[SCHEME, PATH, AUTHORITY], Ends),
    ("an empty method", &[(":method", ""), SCHEME, PATH, AUTHORITY], Ends),
    ("a method with a space", &[(":method", "GET /ssi/y"), SCHEME, PATH, AUTHORITY], Ends),
    ("a method with a request", &[(":method", "GET / HTTP/1.1\r\n\r\nGET"), SCHEME, PATH, AUTHORITY], Ends),
    ("no scheme", &[METHOD, PATH, AUTHORITY], Ends),
    ("a scheme with a request", &[METHOD, (":scheme", "http\r\nx: y"), PATH, AUTHORITY], Ends),
    ("a pseudo header behind another", &[METHOD, SCHEME, PATH, ("x", "y"), AUTHORITY], Ends),
    ("an unknown pseudo header", &[METHOD, SCHEME, PATH, AUTHORITY, (":x", "y")], Ends),
    ("a status", &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")], Ends),
    ("only a colon", &[METHOD, SCHEME, PATH, AUTHORITY, (":", "y")], Ends),
    ("no name", &[METHOD, SCHEME, PATH, AUTHORITY, ("", "y")], Ends),
    ("a capital in a name", &[METHOD, SCHEME, PATH, AUTHORITY, ("X-A", "y")], Ends),
    ("Authorization in capitals", &[METHOD, SCHEME, PATH, AUTHORITY, ("Authorization", "y")], Ends),
    ("a space in a name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x a", "y")], Ends),
    ("a colon in a name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x: y\r\nz", "y")], Ends),
    ("NUL in a name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x\0", "y")], Ends),
    ("CRLF in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "y\r\nx-session-id: evil")], Ends),
    ("LF in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "y\nx-session-id: evil")], Ends),
    ("CR in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "y\rz")], Ends),
    ("NUL in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "y\0")], Ends),
    ("a request in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "y\r\n\r\nGET /ssi/y HTTP/1.1\r\nhost: localhost")], Ends),
    ("Connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("connection", "close")], Ends),
    ("Connection: authorization", &[METHOD, SCHEME, PATH, AUTHORITY, ("connection", "authorization")], Ends),
    ("Keep-Alive", &[METHOD, SCHEME, PATH, AUTHORITY, ("keep-alive", "1")], Ends),
    ("Proxy-Connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("proxy-connection", "close")], Ends),
    ("Transfer-Encoding", &[METHOD, SCHEME, PATH, AUTHORITY, ("transfer-encoding", "chunked")], Ends),
    ("Upgrade", &[METHOD, SCHEME, PATH, AUTHORITY, ("upgrade", "websocket")], Ends),
    ("te: gzip", &[METHOD, SCHEME, PATH, AUTHORITY, ("te", "gzip")], Ends),
    ("a length without a body", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "5")], Ends),
    ("a length with a sign", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "+0")], Ends),
    ("two lengths", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "0"), ("content-length", "0")], Ends),
    ("CONNECT", &[(":method", "CONNECT"), (":authority", "localhost:80")], Answers(405)),
    ("CONNECT with a protocol", &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY], Ends),
];

impl World {
    /// Sends bytes on a new connection and reads until something is settled.
    pub(super) async fn http2(&self, bytes: &[u8]) -> Heard {
        let mut connection = Connection::open(self.gateway.address).await;
        connection.send(bytes).await;
        connection.until(settled).await;
        connection.heard
    }

    /// What is wrong with what was heard, or with what became of the request.
    pub(super) fn http2_fault(&self, heard: &Heard, then: Then) -> Option<String> {
        let (begun, whole) = (self.begun(), self.core.take());
        let status = heard.status(1);
        let gone = heard.is_reset(1) || heard.goaway.is_some_and(|code| code != 0) || heard.closed;
        let is_right = match then {
            Gets(target) => {
                status == Some(200)
                    && begun == [target]
                    && whole.iter().map(Received::target).eq([target])
            }
            Answers(expected) => status == Some(expected) && begun.is_empty(),
            Ends => (status == Some(400) || status.is_none() && gone) && begun.is_empty(),
        };
        (!is_right).then(|| format!("{begun:?} begun upstream; {heard:?}"))
    }
}

/// Nothing more will be said of the first stream.
pub(super) fn settled(heard: &Heard) -> bool {
    heard.goaway.is_some() || heard.is_reset(1) || heard.ended.contains(&1)
}

#[tokio::test]
async fn r28_r29_an_http2_head_has_one_reading_or_none() {
    let world = World::start().await;
    let mut faults = Vec::new();
    for (name, fields, then) in HEADS {
        let heard = world.http2(&get(1, fields)).await;
        faults.extend(world.http2_fault(&heard, *then).map(|fault| format!("{name}: {fault}\n")));
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), HEADS.len(), faults.concat());
    assert!(world.core.garbage().is_empty(), "{:?}", world.core.garbage());
    world.lives().await;
}

#[tokio::test]
async fn r15_an_http2_head_is_bounded_however_it_is_cut() {
    let world = World::start().await;
    let large = "y".repeat(15_000);
    let fields: Vec<_> = PLAIN.iter().copied().chain([("x", &*large); 8]).collect();
    let block = block(&fields);
    // Within the bound of HTTP/2's own, and beyond ours; beyond both; without an end.
    let mut pieces = block.chunks(16_000);
    let mut bytes = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    for piece in pieces {
        bytes.extend(frame(CONTINUATION, 0, 1, piece));
    }
    let unfinished = bytes.clone();
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
    let heard = world.http2(&bytes).await;
    assert!(matches!(heard.status(1), None | Some(431)), "{heard:?}");
    assert!(heard.status(1).is_some() || heard.goaway.is_some() || heard.is_reset(1), "{heard:?}");
    let mut flood = unfinished;
    for _ in 0..1000 {
        flood.extend(frame(CONTINUATION, 0, 1, &[]));
    }
    let heard = world.http2(&flood).await;
    assert!(heard.goaway.is_some() || heard.closed, "{heard:?}");
    assert!(world.core.take_begun().is_empty());
    world.lives().await;
}

#[tokio::test]
async fn r30_streams_that_are_reset_at_once_end_the_connection_and_trouble_nobody() {
    // CVE-2023-44487: opened and cancelled, as fast as one can write.
    let world = World::start().await;
    let mut flood = Vec::new();
    let fields = [METHOD, SCHEME, (":path", "/ssi/reset"), AUTHORITY];
    for stream in (1..4000).step_by(2) {
        flood.extend(get(stream, &fields));
        flood.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    let mut connection = Connection::open(world.gateway.address).await;
    connection.send(&flood).await;
    let is_over = |heard: &Heard| heard.closed || heard.goaway.is_some_and(|code| code != 0);
    assert!(connection.until(is_over).await, "{:?}", connection.heard);
    let begun = world.core.take_begun().len();
    assert!(begun < 500, "of 2000 cancelled requests {begun} reached the upstream");
    // More streams at once than were agreed on: the rest is refused.
    let mut connection = Connection::open(world.gateway.address).await;
    let slow = [POST, SCHEME, (":path", CUT), AUTHORITY];
    let open: Vec<u8> = (1..801)
        .step_by(2)
        .flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &block(&slow)))
        .collect();
    connection.send(&open).await;
    let refused =
        connection.until(|heard| heard.reset.len() >= 300 || heard.goaway.is_some()).await;
    assert!(refused, "{:?}", connection.heard);
    drop(connection);
    world.core.take();
    world.core.take_begun();
    world.lives().await;
}
