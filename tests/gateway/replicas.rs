//! Two gateways with one Redis: what one does counts on the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Response,
    header::{RETRY_AFTER, SET_COOKIE},
};
use serde_json::json;

use crate::{
    login::{Browser, location},
    support::{
        Gateway, Provider, Recorder, Redis, Settings, gateway::client, provider::Refresh, reason,
    },
};

struct World {
    provider: Arc<Provider>,
    redis: Redis,
    core: Recorder,
    one: Gateway,
    other: Gateway,
}

async fn world() -> World {
    let provider = Provider::start().await;
    let core = Recorder::start("").await;
    let redis = Redis::start(&["--requirepass", "hunter2"]);
    let url = redis.url(":hunter2@");
    let settings = || {
        Settings::new(&provider.url, core.address).with(&format!(
            "allow_inline_secrets: true
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ], store: {{ redis: {{ url: '{url}' }} }} }}
"
        ))
    };
    let (one, other) = tokio::join!(Gateway::start(settings()), Gateway::start(settings()));
    World { provider, redis, core, one, other }
}

impl World {
    /// Logs alice in at one replica.
    async fn log_in(&self) -> Browser {
        let mut browser = Browser::default();
        let start = browser.navigate(&self.one.url("/desk/x")).await;
        assert_eq!(start.status(), 302);
        let back = client().get(location(&start)).send().await.unwrap();
        let done = browser.navigate(location(&back).as_str()).await;
        assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
        assert_eq!(browser.cookies.len(), 1);
        browser
    }

    /// A session whose access token is over.
    async fn log_in_and_wait(&self) -> Browser {
        self.provider.with(|script| script.lifetime = 2);
        let browser = self.log_in().await;
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        self.provider.with(|script| script.lifetime = 600);
        browser
    }
}

async fn fetch(gateway: &Gateway, browser: &Browser) -> Response {
    browser.clone().fetch(&gateway.url("/desk/x")).await
}

async fn refused(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    assert!(answer.headers().get(SET_COOKIE).is_none(), "{:?}", answer.headers());
    reason(&answer.text().await.unwrap())
}

#[tokio::test]
async fn r33_a_hundred_requests_over_two_replicas_refresh_once() {
    let world = world().await;
    let browser = world.log_in_and_wait().await;
    world.provider.with(|script| script.latency = Duration::from_secs(3));
    let mut requests = tokio::task::JoinSet::new();
    for at in 0..100 {
        let gateway = if at % 2 == 0 { &world.one } else { &world.other };
        let (mut browser, url) = (browser.clone(), gateway.url("/desk/x"));
        requests.spawn(async move { browser.fetch(&url).await.status() });
    }
    for status in requests.join_all().await {
        assert_eq!(status, 200);
    }
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
    // All of them, on both replicas, went on with the one new token.
    let seen = world.core.take();
    assert_eq!(seen.len(), 100);
    let token = seen[0].header("authorization")[0];
    assert!(seen.iter().all(|request| request.header("authorization") == [token]));
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test]
async fn r33_what_a_killed_replica_may_have_used_is_not_shown_again() {
    let mut world = world().await;
    world.provider.with(|script| script.lifetime = 8);
    let browser = world.log_in().await;
    world.provider.with(|script| script.latency = Duration::from_secs(20));
    // Towards the end of the token one replica has it renewed ahead, and dies in the middle.
    while world.provider.refreshes() == 0 {
        assert_eq!(fetch(&world.one, &browser).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.one.kill().await;
    // The session lives on with the token at hand, to its end and no longer.
    assert_eq!(fetch(&world.other, &browser).await.status(), 200);
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let answer = fetch(&world.other, &browser).await;
        if answer.status() != 200 {
            assert_eq!(refused(answer, 401).await, "session_expired");
            break;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let navigation = browser.clone().navigate(&world.other.url("/desk/x")).await;
    assert_eq!(navigation.status(), 302);
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
}

#[tokio::test]
async fn r33_a_token_whose_answer_was_lost_is_not_shown_again() {
    let world = world().await;
    let browser = world.log_in_and_wait().await;
    world.provider.with(|script| script.refresh = Refresh::Lost);
    let answer = fetch(&world.one, &browser).await;
    assert!(answer.headers().contains_key(RETRY_AFTER));
    assert_eq!(refused(answer, 503).await, "iam_unavailable");
    assert_eq!(refused(fetch(&world.other, &browser).await, 401).await, "session_expired");
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
}

#[tokio::test]
async fn a_provider_that_is_down_for_a_moment_ends_no_session() {
    let world = world().await;
    let browser = world.log_in_and_wait().await;
    world.provider.with(|script| script.refresh = Refresh::Down);
    assert_eq!(refused(fetch(&world.one, &browser).await, 503).await, "iam_unavailable");
    world.provider.with(|script| script.refresh = Refresh::Rotating);
    assert_eq!(fetch(&world.other, &browser).await.status(), 200);
    assert_eq!(world.provider.reused(), 0);
}

#[tokio::test]
async fn a_logout_at_one_replica_counts_on_the_other() {
    let world = world().await;
    let browser = world.log_in().await;
    assert_eq!(fetch(&world.other, &browser).await.status(), 200);
    let logout = client().post(world.one.url("/.portcullis/logout"));
    let logout = browser.clone().send(logout.header("origin", world.one.url(""))).await;
    assert_eq!(logout.status(), 303);
    // The old cookie is worth nothing (R13).
    for gateway in [&world.one, &world.other] {
        assert_eq!(refused(fetch(gateway, &browser).await, 401).await, "session_expired");
    }
}

#[tokio::test]
async fn a_back_channel_logout_at_one_replica_counts_on_the_other() {
    let world = world().await;
    let send = |gateway: &Gateway, token: &str| {
        let form = format!("logout_token={token}");
        let post = client().post(gateway.url("/.portcullis/backchannel-logout"));
        post.header("content-type", "application/x-www-form-urlencoded").body(form).send()
    };
    let (alice, again) = (world.log_in().await, world.log_in().await);
    let claims = world.provider.logout_claims(&json!({ "sid": "sid-1" }));
    let token = world.provider.key.sign("logout+jwt", &claims);
    assert_eq!(send(&world.one, &token).await.unwrap().status(), 200);
    assert_eq!(refused(fetch(&world.other, &alice).await, 401).await, "session_expired");
    assert_eq!(fetch(&world.other, &again).await.status(), 200, "another session there");
    // A logout token counts once, wherever it goes.
    assert_eq!(send(&world.other, &token).await.unwrap().status(), 400);

    let claims = world.provider.logout_claims(&json!({ "sub": "alice" }));
    let token = world.provider.key.sign("logout+jwt", &claims);
    assert_eq!(send(&world.other, &token).await.unwrap().status(), 200);
    assert_eq!(refused(fetch(&world.one, &again).await, 401).await, "session_expired");
    // Who logs in later has another session. Times are in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let later = world.log_in().await;
    assert_eq!(fetch(&world.other, &later).await.status(), 200);
}

#[tokio::test]
async fn r12_without_redis_requests_are_503_until_it_is_back() {
    let mut world = world().await;
    let browser = world.log_in().await;
    let is_up = async |value: u8| {
        let line = format!("portcullis_session_store_up {value}");
        assert!(world.one.metrics().await.contains(&line));
    };
    is_up(1).await;
    world.redis.freeze();
    for _ in 0..3 {
        let answer = fetch(&world.one, &browser).await;
        assert!(answer.headers().contains_key(RETRY_AFTER));
        assert_eq!(refused(answer, 503).await, "session_unavailable");
    }
    // A person is not sent round in circles, and keeps the cookie; nor is a logout claimed.
    for path in ["/desk/x", "/.portcullis/session"] {
        let page = browser.clone().navigate(&world.one.url(path)).await;
        assert_eq!(page.status(), 503, "{path}");
        assert!(page.headers().get(SET_COOKIE).is_none());
    }
    let login = browser.clone().navigate(&world.one.url("/.portcullis/login")).await;
    assert!(browser.clone().cookies.keys().all(|name| {
        let cleared = format!("{name}=;");
        !login
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .any(|line| line.to_str().unwrap().starts_with(&cleared))
    }));
    let logout = client().post(world.one.url("/.portcullis/logout"));
    let logout = browser.clone().send(logout.header("origin", world.one.url(""))).await;
    assert_eq!(refused(logout, 503).await, "session_unavailable");
    is_up(0).await;
    let complaints = world.one.output().matches("Redis gives no answer").count();
    assert_eq!(complaints, 1, "one line for a change, not one for a request");

    world.redis.thaw();
    back(&world.one, &browser, 200).await;
    is_up(1).await;
    // Gone for good, with everything in it: sessions are over, and new ones begin.
    world.redis.stop();
    assert_eq!(refused(fetch(&world.one, &browser).await, 503).await, "session_unavailable");
    world.redis.start_again();
    back(&world.one, &browser, 401).await;
    let browser = world.log_in().await;
    assert_eq!(fetch(&world.one, &browser).await.status(), 200);
}

async fn back(gateway: &Gateway, browser: &Browser, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = fetch(gateway, browser).await;
        if answer.status() == status {
            return;
        }
        assert_eq!(answer.status(), 503);
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn r12_a_damaged_ticket_never_reaches_the_upstream() {
    let world = world().await;
    let browser = world.log_in().await;
    let good = browser.cookies["portcullis"].clone();
    for at in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let mut browser = browser.clone();
        browser.cookies.insert("portcullis".to_owned(), String::from_utf8(bad).unwrap());
        assert_eq!(fetch(&world.one, &browser).await.status(), 401, "byte {at}");
    }
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn the_organisation_chosen_at_one_replica_is_that_of_the_other() {
    let world = world().await;
    let browser = world.log_in().await;
    let choose = client().post(world.one.url("/.portcullis/organisation"));
    let body = json!({ "organisation": crate::support::OTHER }).to_string();
    let choose = choose.header("origin", world.one.url("")).body(body);
    let chosen = browser.clone().send(choose).await;
    assert_eq!(chosen.status(), 204, "{}", chosen.text().await.unwrap());
    let shown = browser.clone().fetch(&world.other.url("/.portcullis/session")).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.text().await.unwrap()).unwrap();
    assert_eq!(shown["organisation"], crate::support::OTHER);
}
