//! Faults of Pingora 0.9.1 that are open, and do not show here.

use super::{
    World,
    frames::{Connection, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame, get},
    http2::{AUTHORITY, PATH, PLAIN, POST, SCHEME, settled},
};

#[tokio::test]
async fn pingora_935_an_empty_last_frame_is_one_end_of_the_body() {
    let world = World::start().await;
    let opening = frame(HEADERS, END_HEADERS, 1, &block(&[POST, SCHEME, PATH, AUTHORITY]));
    for pieces in [&[&b"abc"[..], b""][..], &[b"abc", b"", b"def", b""], &[b""], &[b"", b""]] {
        let mut bytes = opening.clone();
        for (at, piece) in pieces.iter().enumerate() {
            let flags = if at + 1 == pieces.len() { END_STREAM } else { 0 };
            bytes.extend(frame(DATA, flags, 1, piece));
        }
        let heard = world.http2(&bytes).await;
        assert_eq!(heard.status(1), Some(200), "{heard:?}");
        let [seen] = &world.core.take()[..] else { panic!("one request") };
        assert_eq!(seen.body, pieces.concat());
        // The connection to the upstream is clean for whoever comes next.
        world.core.take_begun();
        world.lives().await;
        assert!(world.core.garbage().is_empty(), "{:?}", world.core.garbage());
    }
}

#[tokio::test]
async fn pingora_early_refusal_on_http2_is_a_whole_answer() {
    let world = World::start().await;
    let reader = format!("Bearer {}", world.issuer.token("bob", "reader"));
    let admin = format!("Bearer {}", world.issuer.token("alice", "admin"));
    let path = (":path", "/api/credential/v1");
    let large = ("content-length", "40000");
    let cases = [
        (401, "credential_missing", vec![]),
        (403, "permission_missing", vec![("authorization", &*reader)]),
        (413, "body_too_large", vec![("authorization", &*admin), large]),
        (413, "body_too_large", vec![("authorization", &*admin)]),
    ];
    for (status, reason, more) in cases {
        let fields: Vec<_> = [POST, SCHEME, path, AUTHORITY].into_iter().chain(more).collect();
        let body = [
            frame(DATA, 0, 1, &[b'a'; 16_000]),
            frame(DATA, 0, 1, &[b'a'; 16_000]),
            frame(DATA, END_STREAM, 1, &[b'a'; 8_000]),
        ]
        .concat();
        let opening = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        // With its body at once, and with a body that comes after the answer.
        for late in [false, true] {
            if late && (status, fields.len()) == (413, 5) {
                // Nothing is too large before it is there.
                continue;
            }
            let mut connection = Connection::open(world.gateway.address).await;
            connection.send(&opening).await;
            if late {
                connection.until(|heard| heard.status(1).is_some()).await;
            }
            connection.send(&body).await;
            // What is said after the ping is said after all that concerns the stream.
            connection.until(settled).await;
            let heard = &connection.heard;
            assert_eq!(heard.status(1), Some(status), "{reason}, {late}: {heard:?}");
            assert!(heard.ended.contains(&1), "{reason}, {late}: {heard:?}");
            assert!(
                heard.reset.is_empty() && heard.goaway.is_none(),
                "{reason}, {late}: {heard:?}"
            );
            let content = String::from_utf8_lossy(&heard.content).into_owned();
            assert_eq!(crate::support::reason(&content), reason, "{late}");
            // The connection goes on.
            connection.send(&get(3, PLAIN)).await;
            assert!(connection.until(|heard| heard.ended.contains(&3)).await, "{reason}");
            assert!(world.core.take().iter().all(|seen| seen.target() == "/ssi/x"));
        }
    }
}
