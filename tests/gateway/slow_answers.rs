//! Tokens that are renewed while an answer is on its way.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode};
use reqwest::{Response, header::SET_COOKIE};
use tokio::sync::watch;

use crate::{
    refresh::World,
    support::{Gateway, Provider, Recorder, Redis, Settings},
};

const CORE: &str = "/api/config/v1";

fn in_redis(redis: &Redis) -> String {
    format!(
        "allow_inline_secrets: true
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ], store: {{ redis: {{ url: '{}' }} }} }}
",
        redis.url("")
    )
}

/// An upstream whose answers all wait until they are let go.
async fn held_back() -> (SocketAddr, watch::Sender<bool>) {
    let (listener, address) = crate::support::listener().await;
    let (open, gate) = watch::channel(false);
    let answer = move || {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            StatusCode::OK
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (address, open)
}

fn sets_session(answer: &Response) -> bool {
    let mut lines = answer.headers().get_all(SET_COOKIE).iter();
    lines.any(|line| line.to_str().unwrap().starts_with("portcullis=1."))
}

/// Tokens are renewed ahead while answers are on their way; what the browser has afterwards is
/// good for another process, and for another refresh.
async fn renewed_during_a_slow_answer(extra: &str, in_cookie: bool) {
    let (bff, open) = held_back().await;
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    let world = World::with(provider, core, bff, extra).await;
    let browser = world.browser(6).await;
    // What the refresh brings is to be renewed soon, too.
    world.provider.with(|script| script.lifetime = 3);
    let deadline = Instant::now() + Duration::from_secs(9);
    let mut waiting = Vec::new();
    while !world.gateway.output().contains("has new tokens") {
        assert!(Instant::now() < deadline, "they are renewed ahead of their end");
        let (mut tab, url) = (browser.clone(), world.gateway.url("/desk/slow"));
        waiting.push(tokio::spawn(async move {
            let answer = tab.fetch(&url).await;
            (answer, tab)
        }));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(waiting.iter().all(|answer| !answer.is_finished()), "all are on their way still");
    open.send_replace(true);
    let mut last = None;
    for answer in waiting {
        let (answer, tab) = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(sets_session(&answer), in_cookie, "each brings what is new");
        last = Some(tab);
    }
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
    // A process that remembers nothing.
    let settings = Settings::new(&world.provider.url, world.core.address).with(extra);
    let other = Gateway::start(settings).await;
    tokio::time::sleep(Duration::from_millis(4_050)).await;
    let mut browser = last.unwrap();
    let answer = browser.fetch(&other.url(CORE)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert_eq!(world.provider.refreshes(), 2, "the new refresh token was there, and good");
    assert_eq!(world.provider.reused(), 0);
}

#[tokio::test]
async fn r33_tokens_renewed_during_a_slow_answer_are_not_lost() {
    renewed_during_a_slow_answer("", true).await;
}

#[tokio::test]
async fn r33_tokens_renewed_during_a_slow_answer_are_not_lost_in_redis() {
    let redis = Redis::start(&[]);
    renewed_during_a_slow_answer(&in_redis(&redis), false).await;
}
