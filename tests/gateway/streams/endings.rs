//! A stream ends with what allowed it: quiet or busy, whatever it is.

use std::time::Duration;

use serde_json::json;

use super::{World, bearer, cookies, metric, settings};
use crate::{
    login::{Browser, location},
    support::{
        Gateway, Provider, Redis,
        gateway::client,
        sockets::{Sockets, echo, open, torn},
    },
};

/// What is promised, and a second for a busy machine.
const BOUND: Duration = Duration::from_secs(6);
const EXPIRED: &str = "portcullis_streams_ended_total{reason=\"session_expired\"}";

async fn with_session(world: &World, browser: &Browser) -> crate::support::sockets::Socket {
    let cookie = cookies(browser);
    let (mut socket, _) =
        open(world.gateway.address, "/live/a", &[("cookie", &cookie)]).await.unwrap();
    echo(&mut socket, "here").await;
    socket
}

#[tokio::test]
async fn a_logout_ends_the_websockets_of_its_session_alone() {
    let world = World::new("").await;
    let (mut browser, other) = (world.browser().await, world.browser().await);
    let mut quiet = with_session(&world, &browser).await;
    let mut busy = with_session(&world, &browser).await;
    let mut of_other = with_session(&world, &other).await;
    assert_eq!(world.metric("portcullis_streams{kind=\"websocket\"}").await, 3);
    world.log_out(&mut browser).await;
    let busy = async {
        use futures_util::{SinkExt as _, StreamExt as _};
        // It goes on talking until nobody listens.
        while busy.send("x".into()).await.is_ok() {
            if !matches!(busy.next().await, Some(Ok(_))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (_, busy) = tokio::join!(torn(&mut quiet, BOUND), tokio::time::timeout(BOUND, busy));
    busy.unwrap();
    echo(&mut of_other, "still here").await;
    assert_eq!(world.metric(EXPIRED).await, 2);
    assert_eq!(world.metric("portcullis_streams{kind=\"websocket\"}").await, 1);
    let record = world.gateway.says(&["\"kind\":\"access\"", "\"status\":101"]).await;
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["reason"], "session_expired");
    assert_eq!(record["decision"], "forward");
    assert_eq!(record["detail"], "the session was ended");
    assert!(record["bytes"].as_u64() > Some(0) && record["bytes_received"].as_u64() > Some(0));
}

/// What began under one configuration ends by what happens under the next.
#[tokio::test]
async fn a_reload_keeps_streams_and_what_ends_them() {
    let world = World::new("").await;
    let mut browser = world.browser().await;
    let mut socket = with_session(&world, &browser).await;
    let file = world.gateway.file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("/open/{*rest}", "/other/{*rest}")).unwrap();
    world.gateway.signal("HUP");
    let reloaded = async {
        while open(world.gateway.address, "/other/x", &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reloaded).await.unwrap();
    echo(&mut socket, "still here").await;
    world.log_out(&mut browser).await;
    torn(&mut socket, BOUND).await;
}

#[tokio::test]
async fn the_provider_ends_them_too() {
    let world = World::new("").await;
    let mut socket = with_session(&world, &world.browser().await).await;
    let claims = world.provider.logout_claims(&json!({ "sub": "alice" }));
    let token = world.provider.key.sign("logout+jwt", &claims);
    let answer = client()
        .post(world.gateway.url("/.portcullis/backchannel-logout"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("logout_token={token}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    torn(&mut socket, BOUND).await;
    assert_eq!(world.metric(EXPIRED).await, 1);
}

/// A WebSocket is no activity, other requests of its session are.
#[tokio::test]
async fn idle_time_is_what_other_requests_leave() {
    let extra = "session: { keys: [ { env: TEST_SESSION_KEY } ], idle_timeout: 4s }\n";
    let world = World::new(extra).await;
    let (idle, mut active) = (world.browser().await, world.browser().await);
    let mut of_idle = with_session(&world, &idle).await;
    let mut of_active = with_session(&world, &active).await;
    let url = world.gateway.url("/api/config/v1");
    let keep = async {
        for _ in 0..8 {
            let _ = active.fetch(&url).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let chat = async {
        for _ in 0..7 {
            echo(&mut of_active, "still here").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (took, (), ()) = tokio::join!(torn(&mut of_idle, Duration::from_secs(8)), keep, chat);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    torn(&mut of_active, Duration::from_secs(9)).await;
    let record = world.gateway.says(&["\"kind\":\"access\"", "\"status\":101"]).await;
    assert!(record.contains("the session was idle for too long"), "{record}");
}

#[tokio::test]
async fn a_token_ends_its_websocket() {
    let world = World::new("").await;
    // The demo's leeway is a minute: a token that was over 57 seconds ago.
    let now = crate::support::issuer::now();
    let claims = json!({
        "iss": world.provider.url, "aud": crate::support::issuer::AUDIENCE, "sub": "alice",
        "iat": now - 600, "exp": now - 57, "roles": ["both"],
    });
    let short = format!("Bearer {}", world.provider.key.sign("JWT", &claims));
    let long = bearer(&world.provider, 300);
    let at = world.gateway.address;
    let (mut ends, _) = open(at, "/live/a", &[("authorization", &short)]).await.unwrap();
    let (mut stays, _) = open(at, "/live/a", &[("authorization", &long)]).await.unwrap();
    echo(&mut ends, "here").await;
    torn(&mut ends, BOUND).await;
    echo(&mut stays, "still here").await;
    let ended = "portcullis_streams_ended_total{reason=\"credential_expired\"}";
    assert_eq!(world.metric(ended).await, 1);
    world.gateway.says(&["\"kind\":\"access\"", "credential_expired", "\"status\":101"]).await;
}

/// A logout at one replica ends what goes through another; a Redis that is away for a moment does
/// not.
#[tokio::test]
async fn with_redis_a_logout_anywhere_counts() {
    let (provider, sockets) = (Provider::start().await, Sockets::start().await);
    let redis = Redis::start(&[]);
    let extra = format!(
        "allow_inline_secrets: true
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ], store: {{ redis: {{ url: '{}' }} }} }}
",
        redis.url("")
    );
    let (one, other) = tokio::join!(
        Gateway::start(settings(&provider, &sockets, &extra)),
        Gateway::start(settings(&provider, &sockets, &extra)),
    );
    let mut browser = Browser::default();
    let start = browser.navigate(&one.url("/desk/x")).await;
    let back = client().get(location(&start)).send().await.unwrap();
    assert_eq!(browser.navigate(location(&back).as_str()).await.status(), 303);
    let cookie = cookies(&browser);
    let lines = [("cookie", &*cookie)];
    let (mut socket, _) = open(other.address, "/live/a", &lines).await.unwrap();
    redis.freeze();
    tokio::time::sleep(Duration::from_secs(4)).await;
    redis.thaw();
    echo(&mut socket, "still here").await;
    let logout = client().post(one.url("/.portcullis/logout")).header("origin", one.url(""));
    assert_eq!(browser.send(logout.header("accept", "application/json")).await.status(), 200);
    torn(&mut socket, BOUND).await;
    assert_eq!(metric(&other, EXPIRED).await, 1);
    sockets.all_closed(BOUND).await;
}
