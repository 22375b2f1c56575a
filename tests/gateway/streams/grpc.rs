//! gRPC: HTTP/2 on both sides, with trailers, both ways at once.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;

use super::{bearer, cookies, metric};
use crate::{
    login::{Browser, location},
    support::{
        Gateway, Provider, Recorder, Settings,
        gateway::client,
        grpc::{Grpc, call, connect, send, whole},
    },
};

const SOON: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_secs(6);

struct World {
    provider: std::sync::Arc<Provider>,
    grpc: Grpc,
    gateway: Gateway,
}

impl World {
    async fn new() -> Self {
        let (provider, grpc) = (Provider::start().await, Grpc::start().await);
        let core = Recorder::start("").await;
        let upstreams = format!(
            "  tasks: {{ servers: ['{}'], protocol: http2, auth: {{ mode: IAM }}, timeouts: {{ read: 5m }} }}\n",
            grpc.address
        );
        let routes = "  - { path: '/tasks.v1.Tasks/{*rest}', methods: [POST], upstream: tasks }
  - { path: '/tasks.v1.Closed/{*rest}', methods: [POST], roles: [nobody], upstream: tasks }
"
        .to_owned();
        let settings = Settings::new(&provider.url, core.address);
        let gateway = Gateway::start(Settings { upstreams, routes, ..settings }).await;
        Self { provider, grpc, gateway }
    }

    fn token(&self) -> String {
        bearer(&self.provider, 300)
    }
}

#[tokio::test]
async fn calls_of_every_kind_go_through_with_their_trailers() {
    let world = World::new().await;
    let (client, token) = (connect(world.gateway.address).await, world.token());
    let lines = [("authorization", &*token), ("grpc-timeout", "10S")];
    let ok = |trailers: Option<http::HeaderMap>| {
        let trailers = trailers.unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "as it should be");
    };

    let (answer, mut request) = call(&client, "Unary", &lines).await;
    request.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true).unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("grpc-status"));
    assert_eq!(whole(answer.body_mut()).await.unwrap(), &b"\0\0\0\0\x02hi"[..]);
    ok(answer.body_mut().trailers().await.unwrap());

    let (answer, mut request) = call(&client, "Watch", &lines).await;
    request.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(whole(answer.body_mut()).await.unwrap(), &b"onetwothree"[..]);
    ok(answer.body_mut().trailers().await.unwrap());

    // Nothing waits for the end of the other direction.
    let (answer, mut request) = call(&client, "Chat", &lines).await;
    let mut answer = answer.await.unwrap();
    for message in ["first", "second", "third"] {
        send(&mut request, message.into()).await;
        let piece = tokio::time::timeout(SOON, answer.body_mut().data()).await.unwrap();
        let piece = piece.unwrap().unwrap();
        answer.body_mut().flow_control().release_capacity(piece.len()).unwrap();
        assert_eq!(piece, message);
    }
    assert_eq!(metric(&world.gateway, "portcullis_streams{kind=\"grpc\"}").await, 1);
    request.send_data(Bytes::new(), true).unwrap();
    assert!(whole(answer.body_mut()).await.unwrap().is_empty());
    ok(answer.body_mut().trailers().await.unwrap());

    // Trailers alone: the status stands in the head.
    let (answer, mut request) = call(&client, "Fail", &lines).await;
    request.send_data(Bytes::new(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"5".parse().unwrap())
    );
    assert_eq!(answer.headers()["grpc-message"], "nothing there");

    for head in world.grpc.heads() {
        assert_eq!(head.headers["te"], "trailers");
        assert_eq!(head.headers["grpc-timeout"], "10S");
        assert_eq!(
            head.uri.authority().unwrap().as_str(),
            format!("localhost:{}", world.gateway.address.port())
        );
        assert!(head.headers["authorization"].to_str().unwrap().starts_with("Bearer "));
        assert!(head.headers.contains_key("x-request-id"));
    }
    world.grpc.all_over(SOON).await;
    assert_eq!(metric(&world.gateway, "portcullis_streams{kind=\"grpc\"}").await, 0);
}

/// gRPC clients make codes of statuses of HTTP (401 UNAUTHENTICATED, 403 PERMISSION_DENIED, 404
/// UNIMPLEMENTED, 429, 502, 503 and 504 UNAVAILABLE).
#[tokio::test]
async fn a_refusal_is_a_status_of_http_and_the_upstream_sees_nothing() {
    let world = World::new().await;
    let (client, token) = (connect(world.gateway.address).await, world.token());
    for (method, lines, status) in [
        ("Unary", &[][..], 401),
        ("Unary", &[("authorization", "Bearer x")][..], 401),
        ("../tasks.v1.Closed/Unary", &[("authorization", &*token)][..], 400),
    ] {
        let (answer, mut request) = call(&client, method, lines).await;
        let _ = request.send_data(Bytes::from_static(b"\0\0\0\0\0"), true);
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{method}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    assert!(world.grpc.heads().is_empty());
}

/// What HTTP/1 names as being of one connection is not the upstream's over HTTP/2 either.
#[tokio::test]
async fn many_calls_share_a_connection_and_pass_no_more_than_they_should() {
    let world = World::new().await;
    let (client, token) = (connect(world.gateway.address).await, world.token());
    let lines = [
        ("authorization", &*token),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x_user", "root"),
    ];
    let mut answers = Vec::new();
    for _ in 0..50 {
        let (answer, request) = call(&client, "Wait", &lines).await;
        answers.push((answer.await.unwrap(), request));
    }
    let connections = world.grpc.connections.load(Ordering::SeqCst);
    assert!(connections <= 3, "{connections} connections for 50 calls");
    for head in world.grpc.heads() {
        assert!(!head.headers.contains_key("proxy-authorization"));
        assert!(!head.headers.contains_key("x_user"));
        assert_eq!(head.headers["x-forwarded-for"], "127.0.0.1");
    }
    // The client lets go of them, and so does the gateway.
    drop(answers);
    world.grpc.all_over(SOON).await;
}

/// Neither side says a word, and both sides are HTTP/2.
#[tokio::test]
async fn a_logout_ends_a_quiet_call_and_no_other() {
    let world = World::new().await;
    let client = connect(world.gateway.address).await;
    let mut browser = Browser::default();
    let start = browser.navigate(&world.gateway.url("/desk/x")).await;
    let back = self::client().get(location(&start)).send().await.unwrap();
    assert_eq!(browser.navigate(location(&back).as_str()).await.status(), 303);
    let (cookie, token) = (cookies(&browser), world.token());
    let (mine, _mine) = call(&client, "Wait", &[("cookie", &cookie)]).await;
    let (theirs, mut chat) = call(&client, "Chat", &[("authorization", &token)]).await;
    let (mut mine, mut theirs) = (mine.await.unwrap(), theirs.await.unwrap());
    assert_eq!(mine.status(), 200);
    let logout = self::client().post(world.gateway.url("/.portcullis/logout"));
    let logout =
        logout.header("origin", world.gateway.url("")).header("accept", "application/json");
    assert_eq!(browser.send(logout).await.status(), 200);
    let end = tokio::time::timeout(BOUND, mine.body_mut().data()).await.unwrap();
    assert!(end.unwrap().unwrap_err().is_reset());
    send(&mut chat, "still here".into()).await;
    let piece = tokio::time::timeout(SOON, theirs.body_mut().data()).await.unwrap();
    assert_eq!(piece.unwrap().unwrap(), "still here");
    drop((theirs, chat));
    world.grpc.all_over(SOON).await;
}
