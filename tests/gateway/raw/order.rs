//! HTTP/2 frames out of order, broken, and broken off.

use super::{
    CUT, World,
    frames::{
        CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE,
        PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
    },
    http2::{
        AUTHORITY, PLAIN, POST, SCHEME,
        Then::{self, Ends, Gets},
        settled,
    },
};

/// Frames after the preface and the client's settings.
#[rustfmt::skip]
fn rows() -> Vec<(&'static str, Vec<u8>, Then)> {
    let head = block(PLAIN);
    let unfinished = frame(HEADERS, END_STREAM, 1, &head[..10]);
    let post = [&[POST], &PLAIN[1..]].concat();
    let open = frame(HEADERS, END_HEADERS, 1, &block(&post));
    let sized = [&post[..], &[("content-length", "5")]].concat();
    let sized = frame(HEADERS, END_HEADERS, 1, &block(&sized));
    let padded = [&[255][..], &head].concat();
    vec![
        ("a plain one", get(1, PLAIN), Gets("/ssi/x")),
        ("a frame of an unknown kind", [frame(99, 255, 0, b"x"), get(1, PLAIN)].concat(), Gets("/ssi/x")),
        ("a head in two frames", [frame(HEADERS, END_STREAM, 1, &head[..10]), frame(CONTINUATION, END_HEADERS, 1, &head[10..])].concat(), Gets("/ssi/x")),
        ("a body", [open.clone(), frame(DATA, END_STREAM, 1, b"abc")].concat(), Gets("/ssi/x")),
        ("a body as long as it says", [sized.clone(), frame(DATA, END_STREAM, 1, b"abcde")].concat(), Gets("/ssi/x")),
        // Trailers of a request go nowhere, whatever they say.
        ("trailers with a target", [open.clone(), frame(DATA, 0, 1, b"abc"), frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[(":path", "/ssi/y"), ("x", "y")]))].concat(), Gets("/ssi/x")),
        ("a head on stream 0", get(0, PLAIN), Ends),
        ("a head on a stream of the server's", get(2, PLAIN), Ends),
        ("content before a head", frame(DATA, END_STREAM, 1, b"abc"), Ends),
        ("content on stream 0", frame(DATA, END_STREAM, 0, b"abc"), Ends),
        ("a reset before a head", frame(RST_STREAM, 0, 1, &[0; 4]), Ends),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Ends),
        ("a window beyond its bound", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]), Ends),
        ("a short window", frame(WINDOW_UPDATE, 0, 0, &[1]), Ends),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), Ends),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), Ends),
        ("settings of a frame too large", frame(SETTINGS, 0, 0, &[0, 5, 255, 255, 255, 255]), Ends),
        ("settings of a window too large", frame(SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255]), Ends),
        ("settings of a push that is neither", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 9]), Ends),
        ("an acknowledgement with content", frame(SETTINGS, 1, 0, &[0; 6]), Ends),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), Ends),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8]), Ends),
        ("a promise of the client's", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), Ends),
        ("a stream that depends on itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), Ends),
        ("a short goodbye", frame(GOAWAY, 0, 0, &[0; 3]), Ends),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &head), Ends),
        ("content inside a head", [unfinished.clone(), frame(DATA, 0, 1, b"x")].concat(), Ends),
        ("a ping inside a head", [unfinished.clone(), frame(PING, 0, 0, &[0; 8])].concat(), Ends),
        ("another stream's head inside a head", [unfinished.clone(), get(3, PLAIN)].concat(), Ends),
        ("another stream's continuation", [unfinished.clone(), frame(CONTINUATION, END_HEADERS, 3, &head[10..])].concat(), Ends),
        ("more padding than frame", frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, &padded), Ends),
        ("a frame larger than agreed", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 20_000]), Ends),
        ("a field of no table", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0xff, 0x7f]), Ends),
        ("field 0", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x80]), Ends),
        ("a table too large", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0xff, 0x07]), Ends),
        ("an integer without an end", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 64]), Ends),
        ("a text that ends early", frame(HEADERS, END_STREAM | END_HEADERS, 1, &head[..head.len() - 3]), Ends),
        ("compressed text with a wrong end", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x00, 0x81, 0x00, 0x81, 0x00]), Ends),
        ("no field", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[]), Ends),
        ("HTTP/1 in between", b"GET /ssi/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Ends),
        ("the preface once more", PREFACE.to_vec(), Ends),
    ]
}

/// These begin as a good request; what is wrong comes later, and never makes it whole.
#[rustfmt::skip]
fn broken_off() -> Vec<(&'static str, Vec<u8>)> {
    let open = frame(HEADERS, END_HEADERS, 1, &block(&[POST, SCHEME, (":path", CUT), AUTHORITY]));
    let sized = [POST, SCHEME, (":path", CUT), AUTHORITY, ("content-length", "5")];
    let sized = frame(HEADERS, END_HEADERS, 1, &block(&sized));
    vec![
        ("less than it says", [sized.clone(), frame(DATA, END_STREAM, 1, b"abc")].concat()),
        ("more than it says", [sized.clone(), frame(DATA, END_STREAM, 1, b"abcdefgh")].concat()),
        ("a reset", [open.clone(), frame(DATA, 0, 1, b"abc"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat()),
        ("trailers that do not end", [open.clone(), frame(HEADERS, END_HEADERS, 1, &block(&[("x", "y")]))].concat()),
        ("padding alone", [open.clone(), frame(DATA, END_STREAM | 8, 1, &[9])].concat()),
    ]
}

#[tokio::test]
async fn r29_http2_frames_out_of_order_lead_nowhere() {
    let world = World::start().await;
    let (rows, mut faults) = (rows(), Vec::new());
    for (name, bytes, then) in &rows {
        let heard = world.http2(bytes).await;
        faults.extend(world.http2_fault(&heard, *then).map(|fault| format!("{name}: {fault}\n")));
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.concat());
    assert!(world.core.garbage().is_empty(), "{:?}", world.core.garbage());
    world.lives().await;
}

#[tokio::test]
async fn r29_an_http2_body_that_is_broken_off_is_never_whole() {
    let world = World::start().await;
    for (name, bytes) in broken_off() {
        let mut connection = Connection::open(world.gateway.address).await;
        connection.send(&bytes).await;
        // The client's own reset is answered with nothing.
        connection.send(&frame(PING, 0, 0, &[0; 8])).await;
        if name != "a reset" {
            assert!(connection.until(settled).await, "{name}: {:?}", connection.heard);
        }
        drop(connection);
        let whole = world.core.take();
        assert!(whole.is_empty(), "{name} reached the upstream whole: {whole:?}");
    }
    // A pooled connection on which a body was broken off is not used again.
    assert!(world.core.garbage().is_empty(), "{:?}", world.core.garbage());
    world.lives().await;
}
