//! Every byte, at every place of a head where one byte can matter.

use super::{
    Row,
    Upstream::{Gets, NothingAndClosed},
    World, send,
};
use crate::support::{recorder::Received, status};

/// What the upstream got for this head, if the answer was 200; a refusal must be a 400.
async fn sent(world: &World, name: &str, request: &[u8]) -> Option<Received> {
    let (answer, closed) = send(world.gateway.address, request).await;
    assert!(closed, "{name}: {answer}");
    let (begun, mut seen) = (world.core.take_begun(), world.core.take());
    match status(&answer) {
        200 => {
            assert_eq!((begun.len(), seen.len()), (1, 1), "{name}: {begun:?}");
            seen.pop()
        }
        400 | 404 => {
            assert!(begun.is_empty(), "{name} reached the upstream as {begun:?}");
            None
        }
        other => panic!("{name}: {other}"),
    }
}

fn head(target: &[u8], line: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 5] =
        [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", line, b"\r\n"];
    parts.concat()
}

/// RFC 3986 `pchar` but for `;` and `%`, and the slash.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/".contains(&byte)
}

#[tokio::test]
async fn r10_every_byte_of_a_path_is_forwarded_as_it_is_or_refused() {
    let world = World::start().await;
    for byte in 0..=u8::MAX {
        let target = [&b"/ssi/a"[..], &[byte], b"b"].concat();
        let name = format!("{byte:#04x} in a path");
        let seen = sent(&world, &name, &head(&target, b"")).await;
        let got = seen.as_ref().map(|seen| seen.target().as_bytes());
        if plain(byte) || byte == b'?' {
            assert_eq!(got, Some(&target[..]), "{name}");
        } else if let Some(got) = got {
            // Pingora escapes some bytes before anybody looks; what was decided on is the escape.
            assert_eq!(got, format!("/ssi/a%{byte:02X}b").as_bytes(), "{name}");
            assert!(b" \"<>".contains(&byte), "{name}");
        }
    }
    world.lives().await;
}

#[tokio::test]
async fn r10_every_escape_in_a_path_is_forwarded_as_it_is_or_refused() {
    let world = World::start().await;
    for byte in 0..=u8::MAX {
        for escape in [format!("%{byte:02x}"), format!("%{byte:02X}")] {
            let target = format!("/ssi/a{escape}b");
            let seen = sent(&world, &target, &head(target.as_bytes(), b"")).await;
            // Letters, digits and marks have one form; delimiters and controls would have two
            // meanings; what is no UTF-8 is no text.
            let kept = matches!(byte, 0x20..=0x7e)
                && !byte.is_ascii_alphanumeric()
                && !b"-._~/\\%#?;".contains(&byte);
            assert_eq!(seen.as_ref().map(Received::target), kept.then_some(&*target), "{target}");
        }
    }
    world.lives().await;
}

#[tokio::test]
async fn r04_every_byte_of_a_query_leaves_the_route_as_it_is() {
    let world = World::start().await;
    for byte in 0..=u8::MAX {
        let target = [&b"/api/credential/v1?a"[..], &[byte], b"b/ssi/x"].concat();
        let (answer, _) = send(world.gateway.address, &head(&target, b"")).await;
        let status = status(&answer);
        assert!(status == 401 || status == 400, "{byte:#04x}: {answer}");
        if plain(byte) || b"?%;".contains(&byte) {
            assert_eq!(status, 401, "{byte:#04x}: {answer}");
        }
        assert!(world.core.take_begun().is_empty(), "{byte:#04x}");
    }
    world.lives().await;
}

#[tokio::test]
async fn r05b_every_byte_in_the_name_of_a_managed_header_is_dropped_or_refused() {
    let world = World::start().await;
    for byte in 0..=u8::MAX {
        let line = [&b"X"[..], &[byte], b"Session", &[byte], b"Id: evil\r\n"].concat();
        let name = format!("{byte:#04x} in a name");
        let Some(seen) = sent(&world, &name, &head(b"/ssi/x", &line)).await else { continue };
        if byte.is_ascii_alphanumeric() || byte == b':' {
            // Another name altogether.
            continue;
        }
        assert!(!seen.head.contains("evil"), "{name}: {}", seen.head);
    }
    world.lives().await;
}

#[tokio::test]
async fn r29_every_byte_in_a_value_is_forwarded_as_it_is_or_refused() {
    let world = World::start().await;
    for byte in 0..=u8::MAX {
        let line = [&b"X-A: a"[..], &[byte], b"b\r\n"].concat();
        let name = format!("{byte:#04x} in a value");
        let seen = sent(&world, &name, &head(b"/ssi/x", &line)).await;
        // RFC 9110, section 5.5: visible characters, spaces, tabs, and bytes above ASCII.
        let kept = byte == b'\t' || byte >= 0x20 && byte != 0x7f;
        assert_eq!(seen.is_some(), kept, "{name}");
        if let Some(seen) = seen
            && byte.is_ascii()
        {
            let value = String::from_utf8(vec![b'a', byte, b'b']).unwrap();
            assert_eq!(seen.header("x-a"), [value], "{name}");
        }
    }
    world.lives().await;
}

#[tokio::test]
async fn r29_every_byte_in_a_method_is_a_method_or_refused() {
    let world = World::start().await;
    let rows: Vec<_> = (0..=u8::MAX)
        .filter(|byte| !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(byte))
        .map(|byte| Row {
            name: format!("{byte:#04x} in the method").into(),
            bytes: [&b"GE"[..], &[byte], b"T /ssi/x HTTP/1.1\r\nHost: localhost\r\n\r\n"]
                .concat()
                .into(),
            statuses: &[400],
            upstream: NothingAndClosed,
        })
        .collect();
    world.holds(&rows).await;
    let plain = super::row(
        "GET",
        b"GET /ssi/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[200],
        Gets("/ssi/x"),
    );
    world.holds(&[plain]).await;
}
