//! WebSockets: who gets one, and that it carries everything both ways.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{World, bearer, cookies};
use crate::support::{
    Gateway, Issuer, Settings, reason,
    sockets::{Refused, echo, open, torn},
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_session_and_a_token_open_one_each() {
    let world = World::new("").await;
    let browser = world.browser().await;
    let (cookie, token) = (cookies(&browser), bearer(&world.provider, 300));
    let origin = world.gateway.url("");
    let with_session = [("cookie", &*cookie), ("origin", &*origin)];
    for lines in [&with_session[..], &[("authorization", &*token)][..]] {
        let (mut socket, answer) = open(world.gateway.address, "/live/a", lines).await.unwrap();
        assert!(answer.contains_key("x-request-id"));
        echo(&mut socket, "one").await;
        // Both ways at once, and more than any buffer on the way.
        let large = vec![7_u8; 3 * 1024 * 1024];
        let (mut write, mut read) = socket.split();
        let sent = async {
            for _ in 0..4 {
                write.send(Message::binary(large.clone())).await.unwrap();
            }
            write.send(Message::Ping(b"p".to_vec().into())).await.unwrap();
        };
        let received = async {
            let mut messages = 0;
            loop {
                match read.next().await.unwrap().unwrap() {
                    Message::Binary(body) => {
                        assert!(body.len() == large.len() && body.iter().all(|&byte| byte == 7));
                        messages += 1;
                    }
                    Message::Pong(body) => {
                        assert_eq!(&body[..], b"p");
                        return messages;
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let ((), messages) = tokio::join!(sent, received);
        assert_eq!(messages, 4);
    }
    let heads = world.sockets.heads();
    assert_eq!(heads.len(), 2);
    for (_, headers) in heads {
        assert_eq!(headers["upgrade"], "websocket");
        // An upstream of mode IAM: the session's token, and never its cookie.
        assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer "));
        assert!(!headers.contains_key("cookie"));
    }
    world.sockets.all_closed(SOON).await;
    assert_eq!(world.metric("portcullis_streams{kind=\"websocket\"}").await, 0);
    // 12 MiB each way, and what was counted.
    let record = world.gateway.says(&["\"kind\":\"access\"", "\"status\":101", "iam_token"]).await;
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    for bytes in ["bytes", "bytes_received"] {
        assert!(record[bytes].as_u64().unwrap() > 12 * 1024 * 1024, "{bytes} in {record}");
    }
}

#[tokio::test]
async fn either_side_says_goodbye() {
    let world = World::new("").await;
    let (mut socket, _) = open(world.gateway.address, "/open/bye", &[]).await.unwrap();
    socket.send(Message::text("go")).await.unwrap();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!((frame.code, &*frame.reason), (CloseCode::from(4001), "bye"));
    while let Some(Ok(_)) = socket.next().await {}
    world.sockets.all_closed(SOON).await;
    let (mut socket, _) = open(world.gateway.address, "/open/hello", &[]).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    world.sockets.all_closed(SOON).await;
    // And one that is simply gone.
    let (mut socket, _) = open(world.gateway.address, "/open/x", &[]).await.unwrap();
    echo(&mut socket, "here").await;
    drop(socket);
    world.sockets.all_closed(SOON).await;
}

async fn refused(world: &World, path: &str, lines: &[(&str, &str)]) -> Refused {
    *open(world.gateway.address, path, lines).await.unwrap_err()
}

#[tokio::test]
async fn nobody_else_gets_one_and_the_upstream_sees_nothing() {
    let world = World::new("").await;
    let browser = world.browser().await;
    let (cookie, token) = (cookies(&browser), bearer(&world.provider, 300));
    let evil = [("cookie", &*cookie), ("origin", "https://evil.example")];
    let sandboxed = [("cookie", &*cookie), ("origin", "null")];
    let cross = [("cookie", &*cookie), ("sec-fetch-site", "cross-site")];
    for (path, lines, status, why) in [
        ("/live/a", &[][..], 401, "credential_missing"),
        ("/live/a", &[("authorization", "Bearer x")][..], 401, "credential_invalid"),
        // Cross-site WebSocket hijacking: browsers send cookies along, whoever's page it is.
        ("/live/a", &evil[..], 403, "origin_mismatch"),
        ("/live/a", &sandboxed[..], 403, "origin_mismatch"),
        ("/live/a", &cross[..], 403, "origin_mismatch"),
        ("/plain/a", &evil[..], 403, "origin_mismatch"),
        ("/closed/a", &[("authorization", &*token)][..], 403, "role_missing"),
        ("/none", &[("authorization", &*token)][..], 404, "no_route"),
    ] {
        let answer = refused(&world, path, lines).await;
        assert_eq!((answer.status, &*reason(&answer.body)), (status, why), "{path} {lines:?}");
    }
    assert!(world.sockets.heads().is_empty());
    // An upstream's own refusal passes.
    assert_eq!(refused(&world, "/open/refused", &[]).await.status, 403);
    assert_eq!(world.sockets.heads().len(), 1);
    assert_eq!(world.metric("portcullis_streams{kind=\"websocket\"}").await, 0);
}

/// Where a route does not say `websocket: true`, and for every other protocol, what was asked for
/// is a plain GET.
#[tokio::test]
async fn an_upgrade_is_ignored_unless_a_route_allows_it() {
    let core = crate::support::Recorder::start("").await;
    let issuer = Issuer::start().await;
    let settings = Settings::new(&issuer.url, core.address)
        .route("path: '/live/{*rest}', access: public, websocket: true");
    let gateway = Gateway::start(settings).await;
    for (path, method, protocol, more) in [
        ("/ssi/x", "GET", "websocket", ""),
        ("/live/x", "GET", "h2c", ""),
        ("/live/x", "GET", "websocket, h2c", ""),
        ("/live/x", "GET", "TLS/1.0", ""),
        ("/live/x", "GET", "connect-udp", ""),
        ("/live/x", "POST", "websocket", "Content-Length: 0\r\n"),
        ("/live/x", "GET", "websocket", "Content-Length: 0\r\n"),
    ] {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n\
             Upgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        let answer = crate::support::raw(gateway.address, head.as_bytes()).await;
        assert_eq!(crate::support::status(&answer), 200, "{head}{answer}");
        let seen = core.take();
        assert_eq!(seen.len(), 1, "{head}");
        assert!(seen[0].header("upgrade").is_empty(), "{head}{}", seen[0].head);
        let connection = seen[0].header("connection").join(",").to_ascii_lowercase();
        assert!(!connection.contains("upgrade"), "{head}{}", seen[0].head);
    }
}

#[tokio::test]
async fn a_silent_one_ends_with_the_routes_time_out() {
    let world = World::new("limits: { body_timeout: 1s }\n").await;
    let token = bearer(&world.provider, 300);
    let lines = [("authorization", &*token)];
    let (mut quiet, _) = open(world.gateway.address, "/quiet/a", &lines).await.unwrap();
    let (mut patient, _) = open(world.gateway.address, "/live/a", &lines).await.unwrap();
    assert!(torn(&mut quiet, SOON).await >= Duration::from_millis(300));
    // What is silent on the client's side alone is bound by nothing that is meant for bodies.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    echo(&mut patient, "still here").await;
}

/// cloudflare/pingora#946: an upstream whose `101` is there before Pingora has looked at the end
/// of the handshake's empty body.
#[tokio::test]
async fn pingora_946_a_fast_upstream_keeps_its_websockets() {
    let (listener, address) = crate::support::listener().await;
    // As fast as can be: the answer is on its way before the request is read.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                               Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                let mut read = vec![0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut read).await {
                    // What comes after the head is sent back.
                    let echoed = read[..count].iter().rposition(|&byte| byte == b'\n');
                    let from = echoed.map_or(0, |at| at + 1);
                    if stream.write_all(&read[from..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let issuer = Issuer::start().await;
    let settings = Settings::new(&issuer.url, address)
        .route("path: '/live/{*rest}', access: public, websocket: true");
    let gateway = Gateway::start(settings).await;
    let head = b"GET /live/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let at = gateway.address;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(async move {
            for round in 0..40 {
                let mut stream = TcpStream::connect(at).await.unwrap();
                stream.write_all(head).await.unwrap();
                let mut answer = Vec::new();
                while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
                    let read = stream.read_buf(&mut answer).await.unwrap();
                    assert!(read > 0, "no 101 in round {round}");
                }
                assert!(answer.starts_with(b"HTTP/1.1 101 "));
                for word in [b"one!", b"two!"] {
                    stream.write_all(word).await.unwrap();
                    let mut back = [0; 4];
                    let read = tokio::time::timeout(SOON, stream.read_exact(&mut back)).await;
                    read.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
                    assert_eq!(&back, word);
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
