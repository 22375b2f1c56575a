//! Large bodies: as fast as the slower side, and never kept.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use crate::support::{
    Gateway, Issuer, Recorder, Settings,
    grpc::{Grpc, connect, send, whole},
    raw, reason, status,
};

const MIB: usize = 1024 * 1024;
/// Of each transfer.
const SIZE: usize = 192 * MIB;
/// What the gateway may hold of all of them: buffers of sockets are the system's.
const KEPT: usize = 24 * MIB;
const SOON: Duration = Duration::from_secs(60);

/// Bytes of the gateway that are in memory.
fn resident(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<usize>().unwrap() * 1024
}

/// An upstream of HTTP/1 that takes a body as soon as it is let, answers with its length, and
/// gives one of `SIZE` to a GET.
async fn upstream() -> (SocketAddr, watch::Sender<bool>) {
    let (listener, address) = crate::support::listener().await;
    let (open, gate) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, gate.clone()));
        }
    });
    (address, open)
}

async fn serve(mut stream: TcpStream, mut gate: watch::Receiver<bool>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let mut rest = buffer.split_off(end);
        buffer.clear();
        gate.wait_for(|open| *open).await.ok()?;
        if head.starts_with("get") {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let piece = vec![7; MIB];
            for _ in 0..SIZE / MIB {
                stream.write_all(&piece).await.ok()?;
            }
            continue;
        }
        if head.contains("expect: 100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        let length = head.split("content-length: ").nth(1).map(|it| it.split('\r').next().unwrap());
        let mut seen = rest.len();
        let mut piece = vec![0; MIB];
        if let Some(length) = length {
            let length: usize = length.parse().unwrap();
            while seen < length {
                seen += read(&mut stream, &mut piece).await?;
            }
        } else {
            // Chunks: what counts is that all of it came.
            while !rest.ends_with(b"\r\n0\r\n\r\n") {
                let read = read(&mut stream, &mut piece).await?;
                seen += read;
                rest.extend_from_slice(&piece[..read]);
                rest.drain(..rest.len().saturating_sub(7));
            }
        }
        let answer = format!("{seen}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn read(stream: &mut TcpStream, into: &mut [u8]) -> Option<usize> {
    stream.read(into).await.ok().filter(|&read| read > 0)
}

async fn gateway(upstream: SocketAddr, extra: &str) -> Gateway {
    let issuer = Issuer::start().await;
    let settings = Settings::new(&issuer.url, upstream)
        .route("path: /upload, access: public, limits: { body: 2GiB }")
        .with(extra);
    Gateway::start(settings).await
}

/// Sends a head and a body over HTTP/1 and gives the answer's body.
async fn upload(at: SocketAddr, more: &str, chunked: bool) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {SIZE}")
    };
    let head = format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    if more.contains("100-continue") {
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&answer));
        answer.clear();
    }
    let piece = vec![7; MIB];
    for _ in 0..SIZE / MIB {
        if chunked {
            stream.write_all(format!("{MIB:x}\r\n").as_bytes()).await.unwrap();
        }
        stream.write_all(&piece).await.unwrap();
        if chunked {
            stream.write_all(b"\r\n").await.unwrap();
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && !body.is_empty()
        {
            assert_eq!(status(head), 200, "{text}");
            return body.to_owned();
        }
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{text}");
    }
}

#[tokio::test]
async fn uploads_and_downloads_take_no_memory() {
    let (upstream, open) = upstream().await;
    let gateway = gateway(upstream, "").await;
    let at = gateway.address;
    // A small one first: what any request takes is not counted.
    raw(at, b"POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
    let before = resident(&gateway);
    let whole = SIZE.to_string();
    for expects in ["", "Expect: 100-continue\r\n"] {
        let uploaded = tokio::time::timeout(SOON, upload(at, expects, false)).await.unwrap();
        assert_eq!(uploaded, whole);
    }
    let chunked = tokio::time::timeout(SOON, upload(at, "", true)).await.unwrap();
    assert!(chunked.parse::<usize>().unwrap() > SIZE);
    // One that nobody takes waits in the client, not here.
    open.send_replace(false);
    let mut waiting = tokio::spawn(async move { upload(at, "", false).await });
    tokio::time::timeout(Duration::from_secs(2), &mut waiting).await.unwrap_err();
    let held = resident(&gateway);
    open.send_replace(true);
    assert_eq!(tokio::time::timeout(SOON, waiting).await.unwrap().unwrap(), whole);
    // Both versions of HTTP, on the client's side.
    for http2 in [false, true] {
        let client = reqwest::Client::builder().no_proxy();
        let client = if http2 { client.http2_prior_knowledge() } else { client };
        let url = gateway.url("/upload");
        let mut answer = client.build().unwrap().get(url).send().await.unwrap();
        // A client that takes nothing for a while.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut seen = 0;
        while let Some(piece) = answer.chunk().await.unwrap() {
            seen += piece.len();
        }
        assert_eq!(seen, SIZE);
    }
    for after in [held, resident(&gateway)] {
        let grown = after.saturating_sub(before);
        assert!(grown < KEPT, "{} KiB more after {} MiB", grown / 1024, SIZE / MIB);
    }
}

#[tokio::test]
async fn over_http2_to_http2_it_is_the_same() {
    let grpc = Grpc::start().await;
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let upstreams = format!(
        "  tasks: {{ servers: ['{}'], protocol: http2, auth: {{ mode: NONE }} }}\n",
        grpc.address
    );
    let routes = "  - { path: '/tasks.v1.Tasks/{*rest}', access: public, limits: { body: 2GiB }, upstream: tasks }\n";
    let settings = Settings::new(&issuer.url, core.address);
    let gateway =
        Gateway::start(Settings { upstreams, routes: routes.to_owned(), ..settings }).await;
    let client = connect(gateway.address).await;
    let before = resident(&gateway);
    let (answer, mut request) = crate::support::grpc::call(&client, "Sum", &[]).await;
    let piece = Bytes::from(vec![7; MIB]);
    let sent = async {
        for _ in 0..SIZE / MIB {
            send(&mut request, piece.clone()).await;
        }
        request.send_data(Bytes::new(), true).unwrap();
    };
    tokio::time::timeout(SOON, sent).await.unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(whole(answer.body_mut()).await.unwrap(), SIZE.to_string());
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < KEPT, "{} KiB more after {} MiB", grown / 1024, SIZE / MIB);
}

#[tokio::test]
async fn a_body_that_stands_still_is_408() {
    let (upstream, _open) = upstream().await;
    let gateway = gateway(upstream, "limits: { body_timeout: 500ms }\n").await;
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let head = format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n5\r\nab");
        let answer = raw(gateway.address, head.as_bytes()).await;
        assert_eq!((status(&answer), &*reason(&answer)), (408, "request_timeout"), "{answer}");
    }
}
