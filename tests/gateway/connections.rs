//! What a client connection may cost before it has asked for anything.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Gateway, Issuer, Recorder, Settings, free_port};

async fn world(limits: &str) -> (Issuer, Recorder, Gateway) {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let settings = Settings::new(&issuer.url, core.address)
        .with(&format!("limits: {{ {limits} }}\n"))
        .route("path: /open, access: public");
    let gateway = Gateway::start(settings).await;
    (issuer, core, gateway)
}

const GOOD: &[u8] = b"GET /open HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Writes byte by byte until the other side closes; what it said, and when it was over.
async fn trickle(gateway: &Gateway, bytes: &[u8], every: Duration) -> (String, Duration) {
    let began = Instant::now();
    let (mut read, mut write) = TcpStream::connect(gateway.address).await.unwrap().into_split();
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        for byte in bytes {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(every).await;
        }
        std::future::pending::<()>().await;
    });
    let mut said = Vec::new();
    // A reset is an end as well.
    let end = tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut said)).await;
    assert!(end.is_ok(), "the connection stays open");
    writing.abort();
    (String::from_utf8_lossy(&said).into_owned(), began.elapsed())
}

/// Reads one answer's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    while !said.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut piece)).await;
        match read.unwrap().unwrap() {
            0 => break,
            read => said.extend_from_slice(&piece[..read]),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_head_that_trickles_in_is_answered_408_and_cut() {
    let (_issuer, core, gateway) = world("header_timeout: 1s").await;
    let every = Duration::from_millis(100);
    let slow =
        [b"GET /open HTTP/1.1\r\nHost: gateway.test\r\nX: ".as_slice(), &[b'a'; 500]].concat();
    for bytes in [&slow[..], &slow[..slow.len() - 5], b"GET / "] {
        let (said, took) = trickle(&gateway, bytes, every).await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said:?}");
        assert!(said.contains("\"reason\":\"request_timeout\"") && said.contains("x-request-id: "));
        assert!(took >= Duration::from_millis(900), "{took:?}");
    }
    // HTTP/2: the preface, and a block of headers that has no end.
    let block = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 1, 0, 1, 0, 0, 0, 0, 1]].concat();
    for bytes in [&PREFACE[..10], &block] {
        trickle(&gateway, bytes, Duration::from_millis(5)).await;
    }
    assert!(core.take().is_empty(), "nothing of it was forwarded");
    let metrics = gateway.metrics().await;
    assert!(
        metrics.contains("portcullis_connections_cut_total{reason=\"slow_head\"} 5"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_kept_connection_and_a_slow_body_are_not_slow_heads() {
    let (_issuer, core, gateway) = world("header_timeout: 500ms").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(GOOD).await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    let post = b"POST /open HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 8\r\n\r\n";
    stream.write_all(post).await.unwrap();
    for _ in 0..8 {
        stream.write_all(b"a").await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    assert_eq!(core.take().len(), 3);
}

#[tokio::test]
async fn short_requests_are_told_from_http2_at_once() {
    let (_issuer, _core, gateway) = world("header_timeout: 5s").await;
    // Shorter than the preface of HTTP/2, and one that begins like it.
    for short in ["GET / HTTP/1.0\r\n\r\n", "PRI /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(short.as_bytes()).await.unwrap();
        let said = head(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 4"), "{said:?}");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn one_address_holds_so_many_connections() {
    let (_issuer, _core, gateway) = world("connections_per_client: 3").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(GOOD).await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
    let mut fourth = TcpStream::connect(gateway.address).await.unwrap();
    // It may be closed before or after this is sent.
    let _ = fourth.write_all(GOOD).await;
    assert_eq!(fourth.read(&mut [0; 64]).await.unwrap_or(0), 0, "it is closed without a word");
    held.pop();
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let mut again = TcpStream::connect(gateway.address).await.unwrap();
        let _ = again.write_all(GOOD).await;
        if again.read(&mut [0; 64]).await.unwrap_or(0) > 0 {
            held.push(again);
            break;
        }
        assert!(Instant::now() < until, "the place is not given back");
    }
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("portcullis_connections 3"), "{metrics}");
    assert!(
        !metrics.contains("portcullis_connections_cut_total{reason=\"crowded\"} 0"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_is_no_request_gets_an_answer_of_ours() {
    let (_issuer, core, gateway) = world("header_timeout: 5s").await;
    for (sent, status, reason) in [
        (&b"GET\r\n\r\n"[..], "400", "malformed_request"),
        (
            b"GET /open HTTP/1.1\r\nHost: gateway.test\r\nno colon\r\n\r\n",
            "400",
            "malformed_request",
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400", "malformed_request"),
        (
            b"CONNECT gateway.test:443 HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
            "405",
            "method_not_allowed",
        ),
    ] {
        let said = crate::support::raw(gateway.address, sent).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said:?}");
        assert_eq!(crate::support::reason(&said), reason);
        let lower = said.to_ascii_lowercase();
        assert!(!lower.contains("pingora") && !lower.contains("\r\nserver:"), "{said}");
        assert!(
            lower.contains("\r\nx-request-id: ") && lower.contains("\r\nconnection: close\r\n")
        );
        assert_eq!(said.matches("HTTP/1.1").count(), 1);
    }
    assert!(core.take().is_empty());
    gateway.says(&["\"kind\":\"access\"", "\"reason\":\"malformed_request\"", "127.0.0.1"]).await;
    let metrics = gateway.metrics().await;
    assert!(
        metrics.contains("portcullis_connections_cut_total{reason=\"malformed\"} 4"),
        "{metrics}"
    );
}

/// Whoever says nothing to a listener with TLS, or says it slowly, has as long as a head has.
#[tokio::test]
async fn a_tls_handshake_has_its_deadline() {
    let core = Recorder::start("").await;
    let port = free_port();
    let made = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
    let text = format!(
        "public_url: https://gateway.test:{port}\nlimits: {{ header_timeout: 1s }}\n\
         listeners: [ {{ address: '127.0.0.1:{port}', tls: {{ certificate: a.crt, key: a.key }} }} ]\n\
         upstreams: {{ core: {{ servers: ['{}'], auth: {{ mode: NONE }} }} }}\n\
         routes: [ {{ path: '/{{*rest}}', access: public, upstream: core }} ]\n",
        core.address,
    );
    let files = [("a.crt", &made.cert.pem()), ("a.key", &made.signing_key.serialize_pem())];
    let gateway = Gateway::start_from(&text, &files, port).await;
    // A record that says it holds 512 bytes, and never does.
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0; 400]].concat();
    for bytes in [&[][..], &hello[..3], &hello] {
        let (said, took) = trickle(&gateway, bytes, Duration::from_millis(50)).await;
        assert_eq!(said, "");
        assert!((900..10_000).contains(&took.as_millis()), "{took:?}");
    }
    let metrics = gateway.metrics().await;
    for line in [
        "portcullis_connections_cut_total{reason=\"slow_handshake\"} 3",
        "portcullis_tls_handshakes_total{outcome=\"timed_out\"} 3",
        "portcullis_connections 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
