//! Browsers without a browser: redirects, sessions and logout over plain HTTP. The same with a
//! real browser and a certified provider is in `tests/browser`.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{
    Response,
    header::{LOCATION, SET_COOKIE},
};
use url::Url;

use crate::{
    demo::stand_in::iam,
    support::{Gateway, Recorder, Settings, free_port, gateway::client, listener, reason},
};

struct World {
    core: Recorder,
    gateway: Gateway,
}

/// The demo's provider, with the gateway as its client.
async fn world(extra: &str) -> World {
    let core = Recorder::start("").await;
    let (listener, address) = listener().await;
    let issuer = format!("http://{address}");
    let mut settings = Settings::new(&issuer, core.address).with(extra);
    let provider = |gateway: &str| iam::Settings {
        issuer: issuer.clone(),
        audience: "procivis-one-platform".to_owned(),
        lifetime: Duration::from_secs(600),
        clients: vec![iam::Client {
            id: "desk".to_owned(),
            secret: "client-secret-of-the-test".to_owned(),
            redirects: vec![format!("{gateway}/.portcullis/callback")],
            after_logout: vec![],
            roles: None,
        }],
        users: vec![user("alice", "admin"), user("bob", "reader")],
    };
    // The provider compares redirects byte for byte, so it has to know the gateway's port.
    let port = free_port();
    settings.port = Some(port);
    let serving = iam::serve(listener, provider(&format!("http://localhost:{port}")));
    tokio::spawn(async move { serving.await.unwrap() });
    let gateway = Gateway::start(settings).await;
    World { core, gateway }
}

fn user(name: &str, role: &str) -> iam::User {
    iam::User {
        name: name.to_owned(),
        password: name.to_owned(),
        full_name: name.to_uppercase(),
        roles: vec![role.to_owned()],
    }
}

/// A browser's cookies for one origin, and nothing more of a browser.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn navigate(&mut self, url: &str) -> Response {
        self.send(
            client().get(url).header("sec-fetch-mode", "navigate").header("accept", "text/html"),
        )
        .await
    }

    pub(crate) async fn fetch(&mut self, url: &str) -> Response {
        self.send(client().get(url).header("sec-fetch-mode", "cors")).await
    }

    pub(crate) async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for line in answer.headers().get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite="), "{line}");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

pub(crate) fn location(answer: &Response) -> Url {
    Url::parse(answer.headers()[LOCATION].to_str().unwrap()).unwrap()
}

/// Fills in the provider's form and returns where it leads.
async fn log_in_at_provider(authorize: &Url, name: &str) -> Url {
    let page = client().get(authorize.clone()).send().await.unwrap().text().await.unwrap();
    let fields = page.split("<input").skip(1).filter_map(|input| {
        let attribute = |name: &str| {
            let start = input.find(&format!("{name}=\""))? + name.len() + 2;
            Some(input[start..].split('"').next()?.replace("&amp;", "&"))
        };
        Some((attribute("name")?, attribute("value").unwrap_or_default()))
    });
    let mut form: Vec<(String, String)> =
        fields.filter(|(key, _)| key != "user" && key != "username" && key != "password").collect();
    let user_field = if page.contains("name=\"username\"") { "username" } else { "user" };
    form.push((user_field.to_owned(), name.to_owned()));
    form.push(("password".to_owned(), name.to_owned()));
    let action =
        page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
    let action = authorize.join(&action.replace("&amp;", "&")).unwrap();
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let answer = client()
        .post(action)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_redirection(), "{}", answer.text().await.unwrap());
    location(&answer)
}

impl World {
    async fn log_in(&self, browser: &mut Browser, name: &str, path: &str) -> Url {
        let start = browser.navigate(&self.gateway.url(path)).await;
        assert_eq!(start.status(), 302);
        let callback = log_in_at_provider(&location(&start), name).await;
        let done = browser.navigate(callback.as_str()).await;
        assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
        self.gateway_url(&done)
    }

    fn gateway_url(&self, answer: &Response) -> Url {
        Url::parse(&self.gateway.url("/"))
            .unwrap()
            .join(answer.headers()[LOCATION].to_str().unwrap())
            .unwrap()
    }
}

#[tokio::test]
async fn a_navigation_without_a_session_is_sent_to_the_provider() {
    let world = world("").await;
    let answer = Browser::default().navigate(&world.gateway.url("/api/config/v1")).await;
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let query: BTreeMap<String, String> = location(&answer).query_pairs().into_owned().collect();
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["response_type"], "code");
    for name in ["code_challenge", "state", "nonce", "client_id", "redirect_uri"] {
        assert!(!query[name].is_empty(), "{name}");
    }
    let fetch = Browser::default().fetch(&world.gateway.url("/desk/x")).await;
    assert_eq!(fetch.status(), 401);
    assert_eq!(reason(&fetch.text().await.unwrap()), "credential_missing");
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn after_a_login_the_page_first_asked_for_is_served() {
    let world = world("").await;
    let mut browser = Browser::default();
    let wanted = "/desk/list?page=2&filter=a%20b";
    let landed = world.log_in(&mut browser, "alice", wanted).await;
    assert_eq!(landed.as_str(), world.gateway.url(wanted));
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["portcullis"]);
    assert_eq!(browser.navigate(landed.as_str()).await.status(), 200);
    let [seen] = &world.core.take()[..] else { panic!("one request") };
    assert_eq!(seen.target(), wanted);
    assert!(seen.header("cookie").is_empty());
    assert_eq!(seen.header("x-session-id").len(), 1);
    assert!(seen.header("authorization")[0].starts_with("Bearer "));
    // Core gets an app token for the same session.
    assert_eq!(browser.fetch(&world.gateway.url("/api/credential/v1")).await.status(), 200);
    let who = browser.fetch(&world.gateway.url("/.portcullis/session")).await;
    let who: serde_json::Value = serde_json::from_str(&who.text().await.unwrap()).unwrap();
    assert_eq!(who["subject"], "alice");
    assert!(who.to_string().contains("CREDENTIAL_ISSUE"), "{who}");
}

#[tokio::test]
async fn two_tabs_log_in_at_once_and_each_ends_on_its_own_page() {
    let world = world("").await;
    let mut browser = Browser::default();
    let one = browser.navigate(&world.gateway.url("/desk/one")).await;
    let two = browser.navigate(&world.gateway.url("/desk/two")).await;
    for (start, page) in [(&two, "/desk/two"), (&one, "/desk/one")] {
        let callback = log_in_at_provider(&location(start), "alice").await;
        let done = browser.navigate(callback.as_str()).await;
        assert_eq!(world.gateway_url(&done).path(), page);
    }
}

#[tokio::test]
async fn a_callback_of_no_login_of_this_browser_is_refused() {
    let world = world("").await;
    let start = Browser::default().navigate(&world.gateway.url("/desk/x")).await;
    let callback = log_in_at_provider(&location(&start), "alice").await;
    // Another browser: the state cookie is not there.
    let answer = Browser::default().fetch(callback.as_str()).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(reason(&answer.text().await.unwrap()), "invalid_callback");
}

#[tokio::test]
async fn an_idle_session_ends_and_an_active_one_slides() {
    let world = world("session: { keys: [ { env: TEST_SESSION_KEY } ], idle_timeout: 3s }\n").await;
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/desk/x").await;
    let url = world.gateway.url("/desk/x");
    // Twice the idle time, with requests in between: the session is still there.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(750)).await;
        assert_eq!(browser.fetch(&url).await.status(), 200);
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let cookie = browser.cookies["portcullis"].clone();
    loop {
        // With the same old cookie each time, so that asking is no activity.
        browser.cookies.insert("portcullis".to_owned(), cookie.clone());
        let answer = browser.fetch(&url).await;
        if answer.status() == 401 {
            assert_eq!(reason(&answer.text().await.unwrap()), "session_expired");
            break;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    browser.cookies.insert("portcullis".to_owned(), cookie);
    assert_eq!(browser.navigate(&url).await.status(), 302);
}

#[tokio::test]
async fn logout_takes_a_post_from_our_own_origin() {
    let world = world("").await;
    let mut browser = Browser::default();
    world.log_in(&mut browser, "bob", "/desk/x").await;
    let url = world.gateway.url("/.portcullis/logout");
    for origin in ["http://evil.example", "null"] {
        let foreign = browser.send(client().post(&url).header("origin", origin)).await;
        assert_eq!(foreign.status(), 403);
        assert_eq!(reason(&foreign.text().await.unwrap()), "origin_mismatch");
    }
    assert_eq!(browser.cookies.len(), 1);
    assert_eq!(browser.navigate(&url).await.status(), 200, "a page with a button");
    assert_eq!(browser.cookies.len(), 1);
    let ours = world.gateway.url("");
    let out = browser.send(client().post(&url).header("origin", ours)).await;
    assert_eq!(out.status(), 303);
    assert!(browser.cookies.is_empty());
    assert_eq!(browser.fetch(&world.gateway.url("/desk/x")).await.status(), 401);
}

#[tokio::test]
async fn another_origins_page_cannot_use_a_session() {
    let world = world("").await;
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/desk/x").await;
    let url = world.gateway.url("/api/credential/v1");
    let sibling = format!("http://other.localhost:{}", world.gateway.address.port());
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", sibling.as_str()),
        ("sec-fetch-site", "cross-site"),
    ] {
        let foreign = browser.send(client().post(&url).header(name, value).body("{}")).await;
        assert_eq!(foreign.status(), 403, "{name}: {value}");
        assert_eq!(reason(&foreign.text().await.unwrap()), "origin_mismatch");
    }
    let socket = client().get(world.gateway.url("/desk/x")).header("origin", "http://evil.example");
    let socket = socket.header("connection", "upgrade").header("upgrade", "websocket");
    assert_eq!(browser.send(socket).await.status(), 403);
    assert!(world.core.seen().is_empty());
    let ours = world.gateway.url("");
    let own = browser.send(client().post(&url).header("origin", ours).body("{}")).await;
    assert_eq!(own.status(), 200);
}

#[tokio::test]
async fn r12_a_damaged_session_is_refused_or_leads_to_a_login() {
    let world = world("").await;
    let mut browser = Browser::default();
    world.log_in(&mut browser, "alice", "/desk/x").await;
    let good = browser.cookies["portcullis"].clone();
    let one_client = client();
    for at in (0..good.len()).step_by(good.len() / 40 + 1) {
        let mut bad = good.clone().into_bytes();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        let fetch = one_client
            .get(world.gateway.url("/desk/x"))
            .header("cookie", format!("portcullis={bad}"));
        assert_eq!(fetch.send().await.unwrap().status(), 401, "byte {at}");
        let navigate = one_client
            .get(world.gateway.url("/desk/x"))
            .header("cookie", format!("portcullis={bad}"))
            .header("sec-fetch-mode", "navigate");
        assert_eq!(navigate.send().await.unwrap().status(), 302, "byte {at}");
        // What ends a value early, or begins another cookie.
        for byte in [';', '=', ',', '"', ' ', '.'] {
            let mut bad = good.clone();
            bad.replace_range(at..=at, &byte.to_string());
            let fetch = one_client.get(world.gateway.url("/desk/x"));
            let fetch = fetch.header("cookie", format!("portcullis={bad}"));
            assert_eq!(fetch.send().await.unwrap().status(), 401, "{byte:?} for byte {at}");
        }
    }
    assert!(world.core.seen().is_empty());
}
