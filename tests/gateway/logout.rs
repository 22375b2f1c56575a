//! Sessions that end before their time: by their user here and at the provider, and by the
//! provider here.

use std::collections::BTreeMap;

use reqwest::Response;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    login::{Browser, location},
    refresh::World,
    support::{Provider, Recorder, gateway::client, reason},
};

const CORE: &str = "/api/config/v1";

impl World {
    async fn log_out(&self, browser: &mut Browser, accept: &str) -> Response {
        let logout = client().post(self.gateway.url("/.portcullis/logout"));
        let origin = self.gateway.url("");
        browser.send(logout.header("origin", origin).header("accept", accept)).await
    }

    /// What the gateway makes of a logout token with these claims.
    async fn back_channel(&self, claims: &Value) -> u16 {
        self.back_channel_token(&self.provider.key.sign("logout+jwt", claims)).await
    }

    async fn back_channel_token(&self, token: &str) -> u16 {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let answer = client()
            .post(self.gateway.url("/.portcullis/backchannel-logout"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.append_pair("logout_token", token).finish())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        answer.status().as_u16()
    }

    async fn status(&self, browser: &Browser) -> u16 {
        browser.clone().fetch(&self.gateway.url(CORE)).await.status().as_u16()
    }
}

#[tokio::test]
async fn a_logout_goes_on_at_the_provider() {
    let world = World::new("").await;
    let mut browser = world.browser(600).await;
    let kept = browser.clone();
    let page = browser.navigate(&world.gateway.url("/.portcullis/logout")).await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let allowed = format!("form-action 'self' {};", world.provider.url);
    assert!(policy.contains(&allowed), "browsers follow the form to the provider: {policy}");

    let out = world.log_out(&mut browser, "text/html").await;
    assert_eq!(out.status(), 303);
    assert_eq!(out.headers()["cache-control"], "no-store");
    let onward = location(&out);
    assert!(onward.as_str().starts_with(&format!("{}/end?realm=one&", world.provider.url)));
    let query: BTreeMap<String, String> = onward.query_pairs().into_owned().collect();
    assert_eq!(query["client_id"], "desk");
    assert_eq!(query["post_logout_redirect_uri"], world.gateway.url("/"));
    assert_eq!(query["id_token_hint"].split('.').count(), 3);
    assert!(browser.cookies.is_empty());

    // R13: the cookie that somebody kept is of no use.
    let answer = kept.clone().fetch(&world.gateway.url(CORE)).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(reason(&answer.text().await.unwrap()), "session_expired");
    assert_eq!(kept.clone().navigate(&world.gateway.url("/desk/x")).await.status(), 302);
    assert!(world.gateway.output().contains("\"event\":\"logout\""));
}

#[tokio::test]
async fn a_script_is_told_where_to_go_on() {
    let world = World::new("").await;
    let mut browser = world.browser(600).await;
    let out = world.log_out(&mut browser, "application/json").await;
    assert_eq!(out.status(), 200);
    let document: Value = serde_json::from_str(&out.text().await.unwrap()).unwrap();
    let url = document["location"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/end?", world.provider.url)), "{url}");
    assert!(browser.cookies.is_empty());
}

#[tokio::test]
async fn a_provider_without_a_logout_leaves_ours() {
    let (provider, core) = (Provider::start().await, Recorder::start("").await);
    provider.with(|script| script.end_session = false);
    let bff = core.address;
    let world = World::with(provider, core, bff, "").await;
    let mut browser = world.browser(600).await;
    let kept = browser.clone();
    let out = world.log_out(&mut browser, "text/html").await;
    assert_eq!(location(&out).as_str(), world.gateway.url("/"));
    assert_eq!(world.status(&kept).await, 401);
    // Somebody without a session is sent nowhere else.
    let out = world.log_out(&mut Browser::default(), "text/html").await;
    assert_eq!(location(&out).as_str(), world.gateway.url("/"));
}

#[tokio::test]
async fn the_provider_ends_one_of_its_sessions() {
    let world = World::new("").await;
    let (one, other) = (world.browser(600).await, world.browser(600).await);
    let claims = world.provider.logout_claims(&json!({ "sid": "sid-1", "sub": "alice" }));
    assert_eq!(world.back_channel(&claims).await, 200);
    assert_eq!((world.status(&one).await, world.status(&other).await), (401, 200));
    assert_eq!(world.back_channel(&claims).await, 400, "a logout token counts once");
    let output = world.gateway.output();
    assert!(output.contains("\"event\":\"provider_logout\""));
    assert!(output.contains("the logout token was used before"));
}

#[tokio::test]
async fn the_provider_ends_all_sessions_of_a_subject_and_a_new_login_begins_another() {
    let world = World::new("").await;
    let sessions = [world.browser(600).await, world.browser(600).await];
    let nobody = world.provider.logout_claims(&json!({ "sub": "bob" }));
    assert_eq!(world.back_channel(&nobody).await, 200, "nobody is logged in, which is fine");
    assert_eq!(world.status(&sessions[0]).await, 200);
    let alice = world.provider.logout_claims(&json!({ "sub": "alice" }));
    assert_eq!(world.back_channel(&alice).await, 200);
    for session in &sessions {
        assert_eq!(world.status(session).await, 401);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    // A login in the very second of the logout is ended with it.
    while world.status(&world.browser(600).await).await != 200 {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn logout_tokens_that_are_none_end_nothing() {
    let world = World::new("").await;
    let browser = world.browser(600).await;
    let good = || world.provider.logout_claims(&json!({ "sid": "sid-1" }));
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    for claims in [
        with("iss", "https://evil.example".into()),
        with("aud", "another".into()),
        with("exp", 1.into()),
        with("nonce", "n".into()),
        with("events", json!({})),
        with("sid", Value::Null),
        with("jti", Value::Null),
    ] {
        assert_eq!(world.back_channel(&claims).await, 400, "{claims}");
    }
    let stranger = crate::demo::stand_in::jose::SigningKey::generate("iam").unwrap();
    assert_eq!(world.back_channel_token(&stranger.sign("logout+jwt", &good())).await, 400);
    assert_eq!(world.back_channel_token("garbage").await, 400);
    assert_eq!(world.back_channel_token("").await, 400);
    let get = client().get(world.gateway.url("/.portcullis/backchannel-logout"));
    assert_eq!(get.send().await.unwrap().status(), 405);
    let json = client().post(world.gateway.url("/.portcullis/backchannel-logout"));
    assert_eq!(json.body("{}").send().await.unwrap().status(), 400);
    assert_eq!(world.status(&browser).await, 200);
}

#[tokio::test]
async fn a_frame_of_the_provider_ends_the_session_that_it_names() {
    let world = World::new("").await;
    let mut browser = world.browser(600).await;
    let kept = browser.clone();
    let frame = |issuer: &str, sid: &str| {
        let issuer: String = form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
        world.gateway.url(&format!("/.portcullis/frontchannel-logout?iss={issuer}&sid={sid}"))
    };
    let issuer = world.provider.url.as_str();
    for (url, status) in [
        (frame("https://evil.example", "sid-1"), 400),
        (frame(issuer, "sid-1&sid=sid-2"), 400),
        (world.gateway.url("/.portcullis/frontchannel-logout"), 400),
        (frame(issuer, "sid-2"), 200),
    ] {
        assert_eq!(browser.fetch(&url).await.status(), status, "{url}");
        assert_eq!(world.status(&browser).await, 200, "{url}");
    }
    let answer = browser.fetch(&frame(issuer, "sid-1")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains(&format!("frame-ancestors {issuer}")), "{policy}");
    assert!(browser.cookies.is_empty());
    assert_eq!(world.status(&kept).await, 401);
}

#[tokio::test]
async fn a_logout_during_a_slow_request_is_not_undone_by_its_answer() {
    let world = World::new("").await;
    let mut browser = world.browser(1).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_050)).await;
    world.provider.with(|script| script.latency = std::time::Duration::from_millis(700));
    let (mut slow, url) = (browser.clone(), world.gateway.url(CORE));
    let slow = tokio::spawn(async move {
        slow.cookies.insert("other".into(), "1".into());
        let answer = slow.fetch(&url).await;
        (answer.status().as_u16(), answer.headers().contains_key("set-cookie"))
    });
    while world.provider.refreshes() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.log_out(&mut browser, "text/html").await.status(), 303);
    assert_eq!(slow.await.unwrap(), (401, false));
}

#[tokio::test]
async fn a_call_without_a_session_is_told_the_way_to_one_and_back() {
    let world = World::new("").await;
    let page = world.gateway.url("/desk/list?page=2");
    let answer = client().get(world.gateway.url(CORE)).header("referer", &page).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 401);
    let expected = world.gateway.url("/.portcullis/login?return_to=%2Fdesk%2Flist%3Fpage%3D2");
    assert_eq!(answer.headers()["portcullis-login"], expected);
    let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(problem["login"], expected);
    assert_eq!(problem["reason"], "credential_missing");
    for (name, value) in [("referer", "https://evil.example/x"), ("referer", "garbage")] {
        let answer = client().get(world.gateway.url(CORE)).header(name, value).send();
        let expected = world.gateway.url("/.portcullis/login");
        assert_eq!(answer.await.unwrap().headers()["portcullis-login"], expected);
    }
    let token = client().get(world.gateway.url(CORE)).bearer_auth("garbage").send().await.unwrap();
    assert_eq!(token.status(), 401);
    assert!(!token.headers().contains_key("portcullis-login"), "a program has no use for a page");
}
