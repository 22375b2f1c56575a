//! Server-sent events: each at once, for as long as both sides like.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header,
    response::IntoResponse,
};
use futures_util::stream;
use tokio::sync::{Mutex, mpsc, watch};

use super::{cookies, metric};
use crate::{
    refresh::World,
    support::{Provider, Recorder, gateway::client},
};

const SOON: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_secs(6);

/// An upstream whose one answer is written by the test, piece by piece.
struct Events {
    address: SocketAddr,
    next: mpsc::Sender<&'static str>,
    /// Whether anybody listens.
    heard: watch::Receiver<bool>,
}

/// Dropped with the answer.
struct Listening(watch::Sender<bool>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

async fn events() -> Events {
    let (listener, address) = crate::support::listener().await;
    let (next, pieces) = mpsc::channel(8);
    let (tell, heard) = watch::channel(false);
    let pieces = Arc::new(Mutex::new(pieces));
    let answer = move || {
        let (pieces, tell) = (Arc::clone(&pieces), tell.clone());
        async move {
            tell.send_replace(true);
            let begun = (pieces.lock_owned().await, Listening(tell));
            let body = stream::unfold(begun, |(mut pieces, listening)| async move {
                let piece = pieces.recv().await?;
                Some((Ok::<_, Infallible>(Bytes::from(piece)), (pieces, listening)))
            });
            let kind = [(header::CONTENT_TYPE, "text/event-stream")];
            (kind, Body::from_stream(body)).into_response()
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Events { address, next, heard }
}

async fn world(events: &Events, extra: &str) -> World {
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    World::with(provider, core, events.address, extra).await
}

/// The next piece of an answer.
async fn piece(answer: &mut reqwest::Response) -> Option<Vec<u8>> {
    let piece = tokio::time::timeout(SOON, answer.chunk()).await.unwrap();
    piece.ok().flatten().map(|piece| piece.to_vec())
}

/// Over HTTP/1 and HTTP/2.
fn clients() -> [reqwest::Client; 2] {
    let new = || reqwest::Client::builder().no_proxy();
    [new().build().unwrap(), new().http2_prior_knowledge().build().unwrap()]
}

async fn listen(client: &reqwest::Client, world: &World, cookie: &str) -> reqwest::Response {
    let request = client.get(world.gateway.url("/desk/events")).header("cookie", cookie);
    let answer = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer
}

#[tokio::test]
async fn each_comes_at_once_and_the_upstream_learns_who_left() {
    let mut events = events().await;
    let world = world(&events, "").await;
    let cookie = cookies(&world.browser(600).await);
    for http in clients() {
        let mut answer = listen(&http, &world, &cookie).await;
        for event in ["data: one\n\n", ": heartbeat\n\n", "data: two\n\n"] {
            events.next.send(event).await.unwrap();
            assert_eq!(piece(&mut answer).await.unwrap(), event.as_bytes());
        }
        let open = "portcullis_streams{kind=\"events\"}";
        assert_eq!(metric(&world.gateway, open).await, 1);
        assert!(*events.heard.borrow_and_update());
        drop((answer, http));
        let left = events.heard.wait_for(|heard| !heard);
        tokio::time::timeout(SOON, left).await.unwrap().unwrap();
        assert_eq!(metric(&world.gateway, open).await, 0);
    }
}

/// The stream alone: another one of the same HTTP/2 connection goes on.
#[tokio::test]
async fn a_logout_ends_a_quiet_stream_and_not_its_connection() {
    let mut events = events().await;
    let world = world(&events, "").await;
    let ([http1, http2], other) = (clients(), world.browser(600).await);
    for http in [http1, http2] {
        let mut browser = world.browser(600).await;
        let mut answer = listen(&http, &world, &cookies(&browser)).await;
        events.next.send("data: one\n\n").await.unwrap();
        assert_eq!(piece(&mut answer).await.unwrap(), b"data: one\n\n");
        let out = client()
            .post(world.gateway.url("/.portcullis/logout"))
            .header("origin", world.gateway.url(""))
            .header("accept", "application/json");
        assert_eq!(browser.send(out).await.status(), 200);
        let end = tokio::time::timeout(BOUND, answer.chunk()).await.unwrap();
        assert!(end.is_err(), "an end that can be told from a good one: {end:?}");
        let left = events.heard.wait_for(|heard| !heard);
        tokio::time::timeout(SOON, left).await.unwrap().unwrap();
        let url = world.gateway.url("/api/config/v1");
        let again = http.get(url).header("cookie", cookies(&other)).send().await.unwrap();
        assert_eq!(again.status(), 200);
    }
    let ended = "portcullis_streams_ended_total{reason=\"session_expired\"}";
    assert_eq!(metric(&world.gateway, ended).await, 2);
    let words = ["\"kind\":\"access\"", "session_expired", "/desk/events"];
    let record = world.gateway.says(&words).await;
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!((record["status"].as_u64(), record["bytes"].as_u64()), (Some(200), Some(11)));
}
