//! Hostile and stale cookies: whatever a browser sends, it is refused or leads to a login.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, routing::any};
use tokio::sync::Notify;

use crate::{
    login::{Browser, location},
    refresh::World,
    support::{Gateway, Provider, Recorder, Settings, free_port, gateway::client, listener},
};

/// Every byte once, and at some of them what ends a value, begins another or is no text at all.
async fn damaged(gateway: &Gateway, cookies: &BTreeMap<String, String>, core: &Recorder) {
    let (client, url) = (client(), gateway.url("/desk/x"));
    let with = |name: &str, value: &[u8]| {
        let mut line = Vec::new();
        for (known, good) in cookies {
            line.extend_from_slice(known.as_bytes());
            line.push(b'=');
            line.extend_from_slice(if known == name { value } else { good.as_bytes() });
            line.extend_from_slice(b"; ");
        }
        reqwest::header::HeaderValue::from_bytes(&line).unwrap()
    };
    let mut sent = 0;
    for (name, good) in cookies {
        for at in 0..good.len() {
            let mut bytes = vec![if good.as_bytes()[at] == b'A' { b'B' } else { b'A' }];
            if at % 97 == 0 {
                bytes.extend(*b";=,. \"\xff\x80%");
            }
            for byte in bytes {
                let mut bad = good.clone().into_bytes();
                bad[at] = byte;
                let asking = client.get(&url).header("cookie", with(name, &bad));
                let navigation = at % 2 == 0;
                let asking =
                    if navigation { asking.header("sec-fetch-mode", "navigate") } else { asking };
                let status = asking.send().await.unwrap().status().as_u16();
                let allowed: &[u16] = if navigation { &[302, 400] } else { &[401, 400] };
                assert!(allowed.contains(&status), "{status} for {byte:#x} at {at} of {name}");
                sent += 1;
            }
        }
    }
    assert!(sent > 100, "{sent}");
    assert!(core.seen().is_empty());
    let good = client.get(&url).header("cookie", with("", b"")).send().await.unwrap();
    assert_eq!(good.status(), 200, "and the cookies were good");
}

#[tokio::test]
async fn any_changed_byte_of_a_session_in_pieces_is_refused_or_leads_to_a_login() {
    let world = World::new("").await;
    world.provider.with(|script| script.padding = 1_200);
    let browser = world.browser(600).await;
    assert!(browser.cookies.len() > 1, "in pieces");
    damaged(&world.gateway, &browser.cookies, &world.core).await;
}

#[tokio::test]
async fn any_changed_byte_of_a_login_cookie_completes_no_login() {
    let world = World::new("").await;
    let mut browser = Browser::default();
    let start = browser.navigate(&world.gateway.url("/desk/x")).await;
    let back = location(&client().get(location(&start)).send().await.unwrap());
    assert_eq!(browser.cookies.len(), 1);
    let (name, good) = browser.cookies.iter().next().unwrap();
    let client = client();
    for at in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        let callback = client.get(back.clone()).header("cookie", format!("{name}={bad}"));
        let answer = callback.header("sec-fetch-mode", "navigate").send().await.unwrap();
        assert_eq!(answer.status(), 400, "byte {at}");
        let session = answer.headers().get_all("set-cookie").iter();
        let session = session.filter(|line| line.to_str().unwrap().starts_with("portcullis="));
        assert_eq!(session.count(), 0, "byte {at}");
    }
    assert_eq!(browser.navigate(back.as_str()).await.status(), 303, "the code was not used up");
}

#[tokio::test]
async fn logins_that_nobody_completes_are_swept_and_never_pile_up() {
    let world = World::new("").await;
    let mut browser = Browser::default();
    let mut most = 0;
    for page in 0..40 {
        let start = browser.navigate(&world.gateway.url(&format!("/desk/{page}"))).await;
        assert_eq!(start.status(), 302, "login {page}");
        most = most.max(browser.cookies.len());
    }
    assert!(most <= 16, "{most} cookies");
    let bytes: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 8 * 1024 + 1024, "{bytes} bytes");
}

/// The configuration's `session` with these keys.
fn keys(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("'{key}'")).collect();
    format!("allow_inline_secrets: true\nsession: {{ keys: [ {} ] }}\n", keys.join(", "))
}

#[tokio::test]
async fn a_new_key_takes_over_without_a_logout_and_a_key_that_is_gone_opens_nothing() {
    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let (provider, core, port) = (Provider::start().await, Recorder::start("").await, free_port());
    let start = async |ring: &[&str]| {
        let settings = Settings::new(&provider.url, core.address).with(&keys(ring));
        Gateway::start(Settings { port: Some(port), ..settings }).await
    };
    let log_in = async |gateway: &Gateway| {
        let mut browser = Browser::default();
        let start = browser.navigate(&gateway.url("/desk/x")).await;
        let back = client().get(location(&start)).send().await.unwrap();
        assert_eq!(browser.navigate(location(&back).as_str()).await.status(), 303);
        browser
    };
    let status = async |gateway: &Gateway, browser: &Browser| {
        browser.clone().fetch(&gateway.url("/desk/x")).await.status().as_u16()
    };
    let mut gateway = start(&[OLD]).await;
    let before = log_in(&gateway).await;
    gateway.kill().await;
    let mut gateway = start(&[NEW, OLD]).await;
    assert_eq!(status(&gateway, &before).await, 200);
    let during = log_in(&gateway).await;
    gateway.kill().await;
    let gateway = start(&[NEW]).await;
    assert_eq!(status(&gateway, &during).await, 200, "the first key has sealed it");
    assert_eq!(status(&gateway, &before).await, 401);
}

/// An upstream that answers when it is told to.
async fn held() -> (std::net::SocketAddr, Arc<Notify>, Arc<Notify>) {
    let (listener, address) = listener().await;
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let routes = Router::new().fallback(any(move || {
        let (told, wait) = (Arc::clone(&told), Arc::clone(&wait));
        async move {
            told.notify_one();
            wait.notified().await;
        }
    }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, asked, go)
}

/// The tokens are renewed while an answer is awaited that began with the old ones: whichever of
/// the two the browser keeps last, the session goes on, and no refresh token is used twice.
#[tokio::test]
async fn a_refresh_that_lands_during_a_slow_answer_is_neither_lost_nor_undone() {
    let (bff, asked, go) = held().await;
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    let world = World::with(provider, core, bff, "").await;
    let mut browser = world.browser(5).await;
    let (mut slow, url) = (browser.clone(), world.gateway.url("/desk/slow"));
    let slow = tokio::spawn(async move {
        let answer = slow.fetch(&url).await;
        (answer.status().as_u16(), slow)
    });
    asked.notified().await;
    let config = world.gateway.url("/api/config/v1");
    while world.provider.refreshes() == 0 {
        assert_eq!(browser.fetch(&config).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The next request brings the renewed session to this browser.
    assert_eq!(browser.fetch(&config).await.status(), 200);
    go.notify_one();
    let (status, mut late) = slow.await.unwrap();
    assert_eq!(status, 200);
    // A browser has one set of cookies: the late answer's come on top.
    let mut both = browser.clone();
    both.cookies.append(&mut late.cookies.clone());
    tokio::time::sleep(Duration::from_secs(6)).await;
    for browser in [&mut browser, &mut both, &mut late] {
        assert_eq!(browser.fetch(&config).await.status(), 200, "the first token is long over");
    }
    assert_eq!((world.provider.refreshes(), world.provider.reused()), (1, 0));
}
