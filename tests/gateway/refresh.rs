//! Sessions whose tokens are renewed, with a provider that forgives no second use of a refresh
//! token.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Response, header::SET_COOKIE};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::{
    login::{Browser, location},
    support::{Gateway, Provider, Recorder, Settings, gateway::client, provider::Refresh, reason},
};

pub(crate) struct World {
    pub(crate) core: Recorder,
    pub(crate) provider: Arc<Provider>,
    pub(crate) gateway: Gateway,
}

impl World {
    pub(crate) async fn new(extra: &str) -> Self {
        let core = Recorder::start("").await;
        let bff = core.address;
        Self::with(Provider::start().await, core, bff, extra).await
    }

    pub(crate) async fn with(
        provider: Arc<Provider>,
        core: Recorder,
        bff: SocketAddr,
        extra: &str,
    ) -> Self {
        let settings = Settings::new(&provider.url, core.address).with(extra);
        let gateway = Gateway::start(Settings { bff, ..settings }).await;
        Self { core, provider, gateway }
    }

    /// A browser with a new session, whose token lives for so many seconds; later ones live long.
    pub(crate) async fn browser(&self, lifetime: u64) -> Browser {
        self.provider.with(|script| script.lifetime = lifetime);
        let mut browser = Browser::default();
        let start = browser.navigate(&self.gateway.url("/desk/x")).await;
        let sent = client().get(location(&start)).send().await.unwrap();
        let done = browser.navigate(location(&sent).as_str()).await;
        assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
        self.provider.with(|script| script.lifetime = 600);
        browser
    }

    /// One whose token is over.
    async fn expired(&self) -> Browser {
        let browser = self.browser(1).await;
        over(1).await;
        browser
    }

    async fn ask(&self, browser: &mut Browser) -> Response {
        browser.fetch(&self.gateway.url(CORE)).await
    }

    /// Attempts of this outcome, by the metrics.
    async fn counted(&self, outcome: &str) -> u64 {
        let name = format!("portcullis_session_refreshes_total{{outcome=\"{outcome}\"}} ");
        let metrics = self.gateway.metrics().await;
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    async fn refused(&self, browser: &mut Browser) -> (u16, String) {
        let answer = self.ask(browser).await;
        (answer.status().as_u16(), reason(&answer.text().await.unwrap()))
    }
}

/// Until a token of so many seconds, whose times are whole ones, is over.
async fn over(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(seconds * 1_000 + 1_050)).await;
}

fn sets_session(answer: &Response) -> bool {
    let mut lines = answer.headers().get_all(SET_COOKIE).iter();
    lines.any(|line| line.to_str().unwrap().starts_with("portcullis=1."))
}

const CORE: &str = "/api/config/v1";

#[tokio::test]
async fn r33_a_hundred_requests_at_the_end_of_a_token_cause_one_refresh() {
    let world = World::new("").await;
    let browser = world.expired().await;
    world.provider.with(|script| script.latency = Duration::from_secs(3));
    let (one_client, url) = (client(), world.gateway.url(CORE));
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let cookie = format!("portcullis={}", browser.cookies["portcullis"]);
        let request = one_client.get(&url).header("cookie", cookie);
        requests.spawn(async move { request.send().await.unwrap() });
    }
    let answers = requests.join_all().await;
    assert!(answers.iter().all(|answer| answer.status() == 200 && sets_session(answer)));
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
    // Late ones with the old cookie get the session that is renewed already.
    let late = world.ask(&mut browser.clone()).await;
    assert!(late.status() == 200 && sets_session(&late));
    let mut renewed = browser.clone();
    world.ask(&mut renewed).await;
    let answer = world.ask(&mut renewed).await;
    assert!(answer.status() == 200 && !sets_session(&answer), "nothing is new");
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
    assert_eq!(answer.headers().get("cache-control"), None);
    assert_eq!(late.headers()["cache-control"], "no-store");
    assert_eq!((world.counted("renewed").await, world.counted("failed").await), (1, 0));
}

#[tokio::test]
async fn a_slow_provider_keeps_nobody_waiting_whose_token_is_good() {
    let world = World::new("").await;
    let mut browser = world.browser(6).await;
    world.provider.with(|script| script.latency = Duration::from_secs(10));
    let deadline = Instant::now() + Duration::from_secs(9);
    while world.provider.refreshes() == 0 {
        assert!(Instant::now() < deadline, "it is asked ahead of the end");
        let asked = Instant::now();
        assert_eq!(world.ask(&mut browser).await.status(), 200);
        assert!(asked.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_renewed_session_is_written_although_the_upstream_fails() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    let world = World::with(provider, core, closed, "").await;
    let mut browser = world.expired().await;
    let answer = browser.fetch(&world.gateway.url("/desk/x")).await;
    assert_eq!(answer.status(), 502);
    assert!(sets_session(&answer));
    let answer = world.ask(&mut browser).await;
    assert!(answer.status() == 200 && !sets_session(&answer));
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test]
async fn a_refusal_carries_the_renewed_session_too() {
    let world = World::new("").await;
    let mut browser = world.expired().await;
    let foreign = client().post(world.gateway.url("/api/credential/v1"));
    let answer = browser.send(foreign.header("origin", "http://evil.example").body("{}")).await;
    assert_eq!(answer.status(), 403);
    assert!(sets_session(&answer));
    let mut browser = world.expired().await;
    let origin = world.gateway.url("");
    let organisation = client().post(world.gateway.url("/.portcullis/organisation"));
    let answer = browser.send(organisation.header("origin", origin).body("{}")).await;
    assert_eq!(answer.status(), 400);
    assert!(sets_session(&answer));
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (2, 0));
}

#[tokio::test]
async fn a_client_that_leaves_takes_no_refresh_with_it() {
    let world = World::new("").await;
    let mut browser = world.expired().await;
    world.provider.with(|script| script.latency = Duration::from_millis(500));
    let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
    let request = format!(
        "GET {CORE} HTTP/1.1\r\nHost: localhost\r\nCookie: portcullis={}\r\n\r\n",
        browser.cookies["portcullis"],
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    while world.provider.refreshes() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    let answer = world.ask(&mut browser).await;
    assert!(answer.status() == 200 && sets_session(&answer));
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
}

#[tokio::test]
async fn r33_a_lost_answer_costs_nothing_while_the_token_is_good_and_then_a_login() {
    let world = World::new("").await;
    let mut browser = world.browser(6).await;
    world.provider.with(|script| script.refresh = Refresh::Lost);
    while world.provider.refreshes() == 0 {
        assert_eq!(world.ask(&mut browser).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.provider.with(|script| script.refresh = Refresh::Rotating);
    // The token that may be used up is not shown again while there is another way.
    let (status, why) = loop {
        let answer = world.ask(&mut browser).await;
        if answer.status() != 200 {
            break (answer.status(), reason(&answer.text().await.unwrap()));
        }
        assert_eq!(world.provider.reused(), 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((status, why.as_str()), (reqwest::StatusCode::UNAUTHORIZED, "session_expired"));
    assert_eq!(world.provider.reused(), 1);
    assert_eq!(browser.navigate(&world.gateway.url("/desk/x")).await.status(), 302);
    assert_eq!(world.provider.refreshes(), 2, "what is refused is not tried again");
    assert_eq!((world.counted("failed").await, world.counted("ended").await), (1, 1));
}

#[tokio::test]
async fn a_provider_that_is_down_ends_no_session() {
    let world = World::new("").await;
    let mut browser = world.expired().await;
    world.provider.with(|script| script.refresh = Refresh::Down);
    let answer = world.ask(&mut browser).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(reason(&answer.text().await.unwrap()), "iam_unavailable");
    // A navigation is not sent to a provider that is down either.
    assert_eq!(browser.navigate(&world.gateway.url("/desk/x")).await.status(), 503);
    world.provider.with(|script| script.refresh = Refresh::Rotating);
    let deadline = Instant::now() + Duration::from_secs(10);
    while world.ask(&mut browser).await.status() != 200 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.provider.reused(), 0);
}

#[tokio::test]
async fn an_answer_without_new_refresh_and_id_tokens_will_do() {
    let world = World::new("").await;
    let mut browser = world.browser(1).await;
    world.provider.with(|script| (script.refresh, script.lifetime) = (Refresh::Bare, 1));
    for round in 1..=2 {
        over(1).await;
        assert_eq!(world.ask(&mut browser).await.status(), 200);
        assert_eq!(world.provider.refreshes(), round);
    }
}

#[tokio::test]
async fn r26_a_role_that_was_taken_away_is_gone_with_the_next_tokens() {
    let world = World::new("").await;
    let mut browser = world.expired().await;
    world.provider.with(|script| script.role = "reader");
    let url = world.gateway.url("/api/credential/v1");
    assert_eq!(browser.fetch(&url).await.status(), 200);
    let post = client().post(&url).header("origin", world.gateway.url("")).body("{}");
    let answer = browser.send(post).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(reason(&answer.text().await.unwrap()), "permission_missing");
}

#[tokio::test]
async fn tokens_about_somebody_else_end_the_session() {
    for refresh in [Refresh::Rotating, Refresh::Bare] {
        let world = World::new("").await;
        let mut browser = world.expired().await;
        world.provider.with(|script| (script.subject, script.refresh) = ("mallory", refresh));
        assert_eq!(world.refused(&mut browser).await, (401, "session_expired".to_owned()));
        assert!(world.core.seen().is_empty());
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_the_end_that_the_provider_names() {
    let world = World::new("").await;
    world.provider.with(|script| script.refresh_expires_in = Some(1));
    let mut browser = world.browser(600).await;
    over(1).await;
    assert_eq!(world.refused(&mut browser).await, (401, "session_expired".to_owned()));
    assert_eq!(world.provider.refreshes(), 0);
}

#[tokio::test]
async fn ten_tabs_and_large_tokens() {
    let world = World::new("").await;
    world.provider.with(|script| script.padding = 3_000);
    let browser = world.expired().await;
    assert_eq!(browser.cookies.len(), 4, "8 KB of tokens in pieces");
    let mut tabs = JoinSet::new();
    for _ in 0..10 {
        let (mut tab, url) = (browser.clone(), world.gateway.url("/desk/x"));
        tabs.spawn(async move { (tab.navigate(&url).await.status().as_u16(), tab) });
    }
    let tabs = tabs.join_all().await;
    assert!(tabs.iter().all(|(status, _)| *status == 200));
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
    let (_, mut tab) = tabs.into_iter().next().unwrap();
    assert_eq!(world.ask(&mut tab).await.status(), 200);
    // Tokens that become small again leave no piece behind.
    world.provider.with(|script| (script.padding, script.lifetime) = (3_000, 1));
    let mut large = world.browser(1).await;
    over(1).await;
    world.provider.with(|script| script.padding = 0);
    assert_eq!(world.ask(&mut large).await.status(), 200);
    assert_eq!(large.cookies.keys().collect::<Vec<_>>(), ["portcullis"]);
}

#[tokio::test]
async fn an_organisation_chosen_during_a_refresh_stays_chosen() {
    let world = World::new("").await;
    let mut browser = world.browser(6).await;
    let mut old = browser.clone();
    world.provider.with(|script| script.latency = Duration::from_millis(700));
    while world.provider.refreshes() == 0 {
        assert_eq!(world.ask(&mut old).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let body = format!("{{\"organisation\":\"{}\"}}", crate::support::OTHER);
    let choose = client().post(world.gateway.url("/.portcullis/organisation"));
    let choose = choose.header("origin", world.gateway.url("")).body(body);
    assert_eq!(browser.send(choose).await.status(), 204);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        // A tab that still holds the oldest cookie of all.
        let answer = old.clone().fetch(&world.gateway.url("/.portcullis/session")).await;
        let shown: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(shown["organisation"], crate::support::OTHER);
        let answer = world.ask(&mut old.clone()).await;
        if sets_session(&answer) && world.gateway.output().contains("has new tokens") {
            break;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
}
