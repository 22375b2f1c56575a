use std::io::Cursor;

use super::*;

/// A session whose request has been read.
async fn session(lines: &str) -> Session {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    let mut session = Session::new_h1(Box::new(Cursor::new(head)));
    session.read_request().await.unwrap();
    session
}

#[tokio::test]
async fn pingora_447_no_idle_connection_is_kept_for_ever() {
    let mut session = session("Content-Length: 0\r\n").await;
    assert_eq!(session.get_keepalive(), Some(0), "Pingora's own bound is none");
    bound(&mut session, Duration::from_secs(60));
    assert_eq!(session.get_keepalive(), Some(KEEPALIVE_SECONDS));
}

#[tokio::test]
async fn what_ends_with_its_request_is_not_kept() {
    for lines in ["Connection: close\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut session = session(lines).await;
        bound(&mut session, Duration::from_secs(60));
        assert_eq!(session.get_keepalive(), None, "{lines}");
    }
}
