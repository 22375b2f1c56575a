use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::*;
use crate::{
    identity::Proof,
    oidc::fake::{Fake, NOW, Token},
    session::{
        Opened,
        cookie::{SameSite, Settings as CookieSettings},
        key_ring::KeyRing,
    },
    sessions::{CookieStore, Limits, Store},
};
use std::time::Duration;

const ORIGIN: &str = "https://desk.example.com";
const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const OTHER: &str = "0b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const IDLE: Duration = Duration::from_mins(30);

/// A gateway's login in front of a fake provider.
struct Site {
    fake: Arc<Fake>,
    login: Login,
    organisations: Vec<&'static str>,
}

/// A browser: a method of asking, and the cookies it was told to keep.
#[derive(Clone, Default)]
struct Browser {
    cookies: Vec<(String, String)>,
}

struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, &'a str)>,
    body: &'a str,
    is_navigation: bool,
}

fn get(path: &str) -> Ask<'_> {
    Ask { method: Method::GET, path, headers: vec![], body: "", is_navigation: true }
}

fn post<'a>(path: &'a str, body: &'a str) -> Ask<'a> {
    let headers = vec![("origin", ORIGIN)];
    Ask { method: Method::POST, path, headers, body, is_navigation: false }
}

impl Site {
    async fn new() -> Self {
        Self::with(SameSite::Lax, accept()).await
    }

    async fn with(same_site: SameSite, verify_iam: VerifyIam) -> Self {
        let fake = Fake::start().await;
        let provider = fake.provider();
        let login = login(settings(), jar(same_site), provider, verify_iam).unwrap();
        Self { fake, login, organisations: vec![ACME, OTHER] }
    }

    async fn ask(&self, browser: &mut Browser, ask: Ask<'_>) -> Outcome {
        self.ask_at(browser, ask, NOW).await
    }

    async fn ask_at(&self, browser: &mut Browser, ask: Ask<'_>, now: u64) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(cookies) = browser.header() {
            headers.insert(header::COOKIE, cookies.parse().unwrap());
        }
        for (name, value) in ask.headers {
            headers.append(name, value.parse().unwrap());
        }
        let (path, query) = match ask.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (ask.path, None),
        };
        let request = LoginRequest {
            method: &ask.method,
            path,
            query,
            headers: &headers,
            body: &Bytes::copy_from_slice(ask.body.as_bytes()),
            is_navigation: ask.is_navigation,
            request_id: "r-1",
        };
        let standing = |_: &Identity| Standing {
            organisations: self
                .organisations
                .iter()
                .map(|id| Choice { id: Organisation::parse(id).unwrap(), name: "Acme".into() })
                .collect(),
            permissions: vec!["CREDENTIAL_LIST".into()],
        };
        let mut outcome = self.login.step(&request, &standing, Timestamp(now)).await;
        if let Ok(answer) = &outcome.answer {
            browser.keep(answer);
        }
        // As the gateway does, also with a refusal.
        for line in outcome.cookies.take(Some(self.login.sessions()), Timestamp(now)) {
            browser.keep_line(&line);
        }
        outcome
    }

    /// Goes to the provider; the path of the callback comes back.
    async fn depart(&self, browser: &mut Browser, return_to: &str) -> String {
        let wanted: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        let path = format!("/.portcullis/login?return_to={wanted}");
        let outcome = self.ask(browser, get(&path)).await;
        assert_eq!(outcome.event, Some(Event::LoginStarted));
        let answer = outcome.answer.unwrap();
        assert_eq!(answer.status, StatusCode::FOUND);
        let url = Url::parse(location(&answer)).unwrap();
        let find = |wanted: &str| {
            url.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned()
        };
        self.fake.with(|script| script.nonce = find("nonce"));
        format!("/.portcullis/callback?code=c&state={}", find("state"))
    }

    async fn logged_in(&self, browser: &mut Browser) -> Outcome {
        let callback = self.depart(browser, "/desk?x=1").await;
        let outcome = self.ask(browser, get(&callback)).await;
        assert_eq!(outcome.event, Some(Event::LoginCompleted), "{outcome:?}");
        outcome
    }

    fn session(&self, browser: &Browser) -> Option<Session> {
        let header = browser.header().unwrap_or_default();
        match self.login.jar().open(&self.login.jar().read([header.as_bytes()]).unwrap()) {
            Opened::Session(session) => Some(*session),
            _ => None,
        }
    }
}

impl Browser {
    fn header(&self) -> Option<String> {
        let pairs: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn keep(&mut self, answer: &Answer) {
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == header::SET_COOKIE) {
            self.keep_line(line);
        }
    }

    fn keep_line(&mut self, line: &HeaderValue) {
        let line = line.to_str().unwrap();
        let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
        self.cookies.retain(|(kept, _)| kept != name);
        if !line.contains("Max-Age=0") {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

fn settings() -> Settings {
    Settings {
        public_url: ORIGIN.parse().unwrap(),
        prefix: "/.portcullis".into(),
        after_logout: "/bye".into(),
    }
}

fn login(
    settings: Settings,
    jar: Arc<Jar>,
    provider: Arc<Provider>,
    verify_iam: VerifyIam,
) -> Result<Login, SettingsError> {
    let limits = Limits { idle: IDLE, absolute: Duration::from_hours(12) };
    let store = Store::Cookie(CookieStore::new(Arc::clone(&jar), IDLE));
    let sessions =
        Sessions::new(jar, store, limits, Arc::clone(&provider), Arc::clone(&verify_iam), None);
    let refuse: VerifyLogout = Arc::new(|_, _| {
        Box::pin(async { Err(Refusal::new(Reason::CredentialInvalid, "no logout token")) })
    });
    Login::new(settings, Arc::new(sessions), provider, verify_iam, refuse)
}

fn jar(same_site: SameSite) -> Arc<Jar> {
    let settings = CookieSettings { name: "portcullis".into(), secure: true, same_site };
    Arc::new(Jar::new(&settings, KeyRing::new(vec![[1; 32]]).unwrap()).unwrap())
}

/// Reads the token as `bearer` would after its checks.
fn accept() -> VerifyIam {
    Arc::new(|token, _| {
        Box::pin(async move {
            let payload = token.expose_secret().split('.').nth(1).unwrap();
            let claims: Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
            Ok(Identity {
                proof: Proof::IamToken,
                issuer: claims["iss"].as_str().unwrap().into(),
                subject: claims["sub"].as_str().unwrap().into(),
                roles: vec!["admin".into()],
                organisation: None,
                permissions: None,
                actor: None,
                claims: Arc::new(claims.as_object().unwrap().clone()),
                expires: Timestamp(claims["exp"].as_u64().unwrap()),
                token,
            })
        })
    })
}

fn location(answer: &Answer) -> &str {
    let (_, value) = answer.headers.iter().find(|(name, _)| name == header::LOCATION).unwrap();
    value.to_str().unwrap()
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn reason(outcome: &Outcome) -> Reason {
    outcome.answer.as_ref().unwrap_err().reason
}

#[tokio::test]
async fn a_whole_login() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let outcome = site.logged_in(&mut browser).await;
    let answer = outcome.answer.unwrap();
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(location(&answer), "https://desk.example.com/desk?x=1");
    assert_eq!(outcome.subject.as_deref(), Some("alice"));
    let session = site.session(&browser).unwrap();
    assert_eq!(outcome.session, Some(session.public_id()));
    assert_eq!(session.name.as_deref(), Some("Alice Example"));
    assert_eq!(session.token_expires, Timestamp(NOW + 300));
    assert_eq!(session.identity().proof, Proof::Session);
    assert!(session.id_token.is_some() && session.refresh_token.is_some());
    let names: Vec<_> = browser.cookies.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["__Host-portcullis"], "the login's own cookie is gone");
}

#[tokio::test]
async fn the_only_organisation_needs_no_choosing() {
    let mut site = Site::new().await;
    let mut browser = Browser::default();
    site.logged_in(&mut browser).await;
    assert_eq!(site.session(&browser).unwrap().organisation, None);
    site.organisations.pop();
    site.logged_in(&mut browser).await;
    assert_eq!(site.session(&browser).unwrap().organisation, Organisation::parse(ACME));
}

#[tokio::test]
async fn a_strict_cookie_arrives_by_a_page_of_ours() {
    let site = Site::with(SameSite::Strict, accept()).await;
    let mut browser = Browser::default();
    let answer = site.logged_in(&mut browser).await.answer.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let refresh = "content=\"0;url=https://desk.example.com/desk?x=1\"";
    assert!(text(&answer).contains(refresh), "{}", text(&answer));
    assert!(site.session(&browser).is_some());
}

#[tokio::test]
async fn r14_a_new_login_has_a_new_session_and_takes_none_over() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    site.logged_in(&mut browser).await;
    let first = site.session(&browser).unwrap().id;
    site.logged_in(&mut browser).await;
    assert_ne!(site.session(&browser).unwrap().id, first);
}

#[tokio::test]
async fn r14_a_callback_completes_only_in_the_browser_that_began_it() {
    let (site, mut attacker) = (Site::new().await, Browser::default());
    let callback = site.depart(&mut attacker, "/").await;
    let mut victim = Browser::default();
    let outcome = site.ask(&mut victim, get(&callback)).await;
    assert_eq!(reason(&outcome), Reason::InvalidCallback);
    site.depart(&mut victim, "/").await;
    let outcome = site.ask(&mut victim, get(&callback)).await;
    assert_eq!(reason(&outcome), Reason::InvalidCallback);
    assert!(site.fake.seen.lock().unwrap().exchanges.is_empty(), "nothing was asked");
}

#[tokio::test]
async fn a_callback_is_good_once() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let callback = site.depart(&mut browser, "/").await;
    let stolen = browser.clone();
    site.ask(&mut browser, get(&callback)).await.answer.unwrap();
    let late = site.ask(&mut browser, get(&callback)).await;
    assert_eq!(location(late.answer.as_ref().unwrap()), "https://desk.example.com/");
    assert_eq!(late.event, None);
    let outcome = site.ask_at(&mut stolen.clone(), get(&callback), NOW + 600).await;
    assert_eq!(reason(&outcome), Reason::InvalidCallback, "ten minutes are over");
}

#[tokio::test]
async fn tabs_do_not_undo_each_other() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let first = site.depart(&mut browser, "/first").await;
    let nonce = site.fake.script.lock().unwrap().nonce.clone();
    let second = site.depart(&mut browser, "/second").await;
    let answer = site.ask(&mut browser, get(&second)).await.answer.unwrap();
    assert_eq!(location(&answer), "https://desk.example.com/second");
    site.fake.with(|script| script.nonce = nonce);
    let answer = site.ask(&mut browser, get(&first)).await.answer.unwrap();
    assert_eq!(location(&answer), "https://desk.example.com/first");
}

#[tokio::test]
async fn r19_hostile_callbacks_are_refused_before_anything_is_asked() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let ok = site.depart(&mut browser, "/").await;
    for path in [
        "/.portcullis/callback".to_owned(),
        "/.portcullis/callback?code=c".into(),
        format!("{ok}&code=d"),
        format!("{ok}&error=access_denied"),
        format!("{ok}&state=x"),
        format!("{ok}&iss={}", "x".repeat(5_000)),
        ok.replace("code=c", &format!("code={}", "x".repeat(5_000))),
        ok.replace("state=", "state=A"),
    ] {
        let outcome = site.ask(&mut browser.clone(), get(&path)).await;
        assert_eq!(reason(&outcome), Reason::InvalidCallback, "{path}");
    }
    assert!(site.fake.seen.lock().unwrap().exchanges.is_empty());
}

#[tokio::test]
async fn a_providers_error_is_a_page_with_a_link_and_none_of_its_words() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let ok = site.depart(&mut browser, "/desk?x=1").await;
    let path = ok.replace("code=c", "error=access_denied&error_description=CALL-0900-EVIL");
    let outcome = site.ask(&mut browser, get(&path)).await;
    assert_eq!(outcome.event, Some(Event::LoginFailed));
    assert_eq!(outcome.reason, Some(Reason::InvalidCallback));
    let answer = outcome.answer.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let page = text(&answer);
    assert!(!page.contains("EVIL") && !page.contains("access_denied"), "{page}");
    assert!(!page.contains("http-equiv"), "no loop: {page}");
    let again = "href=\"/.portcullis/login?return_to=%2Fdesk%3Fx%3D1\"";
    assert!(page.contains(again), "{page}");
    assert!(browser.cookies.is_empty(), "the login is over");
}

#[tokio::test]
async fn r23_a_callback_of_another_issuer_is_not_redeemed() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let path = site.depart(&mut browser, "/").await + "&iss=https%3A%2F%2Fevil.example";
    let outcome = site.ask(&mut browser, get(&path)).await;
    assert_eq!(outcome.reason, Some(Reason::InvalidCallback));
    assert!(site.fake.seen.lock().unwrap().exchanges.is_empty());
}

#[tokio::test]
async fn r12_a_failed_exchange_makes_no_session() {
    for (token, expected) in [
        (Token::Broken, Reason::IamUnavailable),
        (Token::Huge, Reason::IamUnavailable),
        (Token::Error("invalid_grant"), Reason::InvalidCallback),
    ] {
        let (site, mut browser) = (Site::new().await, Browser::default());
        let callback = site.depart(&mut browser, "/").await;
        site.fake.with(|script| script.token = token);
        let outcome = site.ask(&mut browser, get(&callback)).await;
        assert_eq!(outcome.reason, Some(expected));
        let answer = outcome.answer.unwrap();
        assert_eq!(answer.status.as_u16(), expected.status());
        let retry = answer.headers.iter().any(|(name, _)| name == header::RETRY_AFTER);
        assert_eq!(retry, expected.status() == 503);
        assert!(site.session(&browser).is_none());
    }
}

#[tokio::test]
async fn an_access_token_that_is_no_iam_token_is_explained() {
    let refuse: VerifyIam = Arc::new(|_, _| {
        Box::pin(async { Err(Refusal::new(Reason::CredentialInvalid, "aud is SECRET_DETAIL")) })
    });
    let site = Site::with(SameSite::Lax, refuse).await;
    let mut browser = Browser::default();
    let callback = site.depart(&mut browser, "/").await;
    let outcome = site.ask(&mut browser, get(&callback)).await;
    assert_eq!(outcome.reason, Some(Reason::CredentialInvalid));
    let page = text(&outcome.answer.unwrap());
    assert!(page.contains("not acceptable") && !page.contains("SECRET_DETAIL"), "{page}");
    assert!(site.session(&browser).is_none());
}

#[tokio::test]
async fn r12_tokens_about_two_subjects_are_refused() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let callback = site.depart(&mut browser, "/").await;
    site.fake.with(|script| {
        script.access_token = Box::new(|claims| claims["sub"] = "mallory".into());
    });
    let outcome = site.ask(&mut browser, get(&callback)).await;
    assert_eq!(outcome.reason, Some(Reason::CredentialInvalid));
    assert!(site.session(&browser).is_none());
}

#[tokio::test]
async fn a_token_that_is_over_already_makes_no_loop() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let callback = site.depart(&mut browser, "/").await;
    site.fake.with(|script| script.access_token = Box::new(|claims| claims["exp"] = NOW.into()));
    let outcome = site.ask(&mut browser, get(&callback)).await;
    assert_eq!(outcome.reason, Some(Reason::CredentialExpired));
    assert_eq!(outcome.answer.unwrap().status, StatusCode::UNAUTHORIZED);
    assert!(site.session(&browser).is_none());
}

#[tokio::test]
async fn r15_tokens_too_large_for_cookies_are_a_failed_login() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let callback = site.depart(&mut browser, "/").await;
    site.fake.with(|script| {
        script.id_token = Box::new(|claims| claims["padding"] = "x".repeat(20_000).into());
    });
    let outcome = site.ask(&mut browser, get(&callback)).await;
    assert_eq!(outcome.event, Some(Event::LoginFailed));
    assert!(site.session(&browser).is_none());
}

#[tokio::test]
async fn a_callback_that_is_no_navigation_gets_problem_details() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let path = site.depart(&mut browser, "/").await.replace("code=c", "error=access_denied");
    let ask = Ask { is_navigation: false, ..get(&path) };
    let answer = site.ask(&mut browser, ask).await.answer.unwrap();
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["reason"], "invalid_callback");
}

#[tokio::test]
async fn r17_a_login_leads_back_to_this_origin_alone() {
    for hostile in
        ["//evil.example", "https://evil.example/", "/%5cevil.example", "/.portcullis/logout"]
    {
        let (site, mut browser) = (Site::new().await, Browser::default());
        let callback = site.depart(&mut browser, hostile).await;
        let answer = site.ask(&mut browser, get(&callback)).await.answer.unwrap();
        assert_eq!(location(&answer), "https://desk.example.com/", "{hostile}");
    }
    let (site, mut browser) = (Site::new().await, Browser::default());
    let twice = "/.portcullis/login?return_to=/a&return_to=//evil.example";
    site.ask(&mut browser, get(twice)).await.answer.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_down_is_iam_unavailable() {
    let fake = Fake::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = crate::oidc::fake::provider(crate::oidc::Settings {
        issuer: format!("http://{closed}"),
        ..fake.settings()
    });
    let login = login(settings(), jar(SameSite::Lax), provider, accept()).unwrap();
    let site = Site { fake, login, organisations: vec![] };
    let outcome = site.ask(&mut Browser::default(), get("/.portcullis/login")).await;
    assert_eq!(reason(&outcome), Reason::IamUnavailable);
    assert!(outcome.answer.unwrap_err().retry_after.is_some());
}

#[tokio::test]
async fn r13_a_logout_demands_our_origin_and_ends_every_piece() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    site.logged_in(&mut browser).await;
    for headers in [
        vec![],
        vec![("origin", "null")],
        vec![("origin", "https://evil.example")],
        vec![("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        vec![("origin", ORIGIN), ("origin", "https://evil.example")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
    ] {
        let ask = Ask { headers: headers.clone(), ..post("/.portcullis/logout", "") };
        let outcome = site.ask(&mut browser, ask).await;
        assert_eq!(reason(&outcome), Reason::OriginMismatch, "{headers:?}");
    }
    assert!(site.session(&browser).is_some());
    let outcome = site.ask(&mut browser, post("/.portcullis/logout", "")).await;
    assert_eq!(outcome.event, Some(Event::Logout));
    assert_eq!(outcome.subject.as_deref(), Some("alice"));
    assert_eq!(location(&outcome.answer.unwrap()), "https://desk.example.com/bye");
    assert!(browser.cookies.is_empty());
    let headers = vec![("sec-fetch-site", "same-origin")];
    let ask = Ask { headers, ..post("/.portcullis/logout", "") };
    assert!(site.ask(&mut browser, ask).await.answer.is_ok(), "also without a session");
}

#[tokio::test]
async fn r13_starting_a_login_clears_a_session_that_no_longer_counts() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    site.logged_in(&mut browser).await;
    site.ask(&mut browser, get("/.portcullis/login")).await.answer.unwrap();
    assert!(site.session(&browser).is_some(), "a good one stays until it is replaced");
    let over = NOW + IDLE.as_secs();
    site.ask_at(&mut browser, get("/.portcullis/login"), over).await.answer.unwrap();
    assert!(site.session(&browser).is_none());
}

#[tokio::test]
async fn the_logout_page_posts_with_an_origin() {
    let site = Site::new().await;
    let answer =
        site.ask(&mut Browser::default(), get("/.portcullis/logout")).await.answer.unwrap();
    assert!(text(&answer).contains("<form method=\"post\" action=\"/.portcullis/logout\">"));
    let policies: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == header::REFERRER_POLICY).collect();
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0].1, "same-origin");
}

#[tokio::test]
async fn the_session_is_shown_without_its_tokens() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    site.logged_in(&mut browser).await;
    let answer = site.ask(&mut browser, get("/.portcullis/session")).await.answer.unwrap();
    let shown: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(shown["subject"], "alice");
    assert_eq!(shown["name"], "Alice Example");
    assert_eq!(shown["organisation"], Value::Null);
    assert_eq!(shown["organisations"][0]["id"], ACME);
    assert_eq!(shown["permissions"][0], "CREDENTIAL_LIST");
    assert_eq!(shown["expires"], "2023-11-15T10:13:20Z", "the absolute time-out");
    assert!(!text(&answer).contains("eyJ"), "{}", text(&answer));
}

#[tokio::test]
async fn without_a_session_the_way_to_one_is_told() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let ask = |browser: &Browser, now| {
        let mut browser = browser.clone();
        let site = &site;
        async move {
            let outcome = site.ask_at(&mut browser, get("/.portcullis/session"), now).await;
            let answer = outcome.answer.unwrap();
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            let shown: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(shown["login"], "https://desk.example.com/.portcullis/login");
            shown["reason"].as_str().unwrap().to_owned()
        }
    };
    assert_eq!(ask(&browser, NOW).await, "credential_missing");
    site.logged_in(&mut browser).await;
    assert_eq!(ask(&browser, NOW + 1_800).await, "session_expired");
    browser.cookies[0].1.push('A');
    assert_eq!(ask(&browser, NOW).await, "credential_invalid");
}

#[tokio::test]
async fn r9_two_session_cookies_are_refused_and_can_be_logged_out() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    site.logged_in(&mut browser).await;
    let twin = browser.cookies[0].clone();
    browser.cookies.push(twin);
    for path in ["/.portcullis/session", "/.portcullis/login"] {
        let outcome = site.ask(&mut browser, get(path)).await;
        assert_eq!(reason(&outcome), Reason::DuplicateHeader, "{path}");
    }
    site.ask(&mut browser, post("/.portcullis/logout", "")).await.answer.unwrap();
    assert!(browser.cookies.is_empty());
}

#[tokio::test]
async fn an_organisation_is_chosen_among_the_callers() {
    let (site, mut browser) = (Site::new().await, Browser::default());
    let path = "/.portcullis/organisation";
    let body = |id: &str| format!("{{\"organisation\":\"{id}\"}}");
    let outcome = site.ask(&mut browser, post(path, &body(ACME))).await;
    assert_eq!(reason(&outcome), Reason::CredentialMissing);

    site.logged_in(&mut browser).await;
    let before = site.session(&browser).unwrap();
    let outcome = site.ask_at(&mut browser, post(path, &body(OTHER)), NOW + 10).await;
    assert_eq!(outcome.event, Some(Event::OrganisationChosen));
    assert_eq!(outcome.answer.unwrap().status, StatusCode::NO_CONTENT);
    let after = site.session(&browser).unwrap();
    assert_eq!(after.organisation, Organisation::parse(OTHER));
    assert_eq!((after.id, after.last_seen), (before.id, Timestamp(NOW + 10)));

    let foreign = body("11111111-2d2c-4c1c-9f0e-0d9f5a5b7a11");
    let large = body(&"0".repeat(1_024));
    for (body, expected) in [
        (foreign.as_str(), Reason::OrganisationMismatch),
        (r#"{"organisation":"acme"}"#, Reason::OrganisationInvalid),
        (r#"{"organisation":1}"#, Reason::MalformedRequest),
        (r#"{"organisation":"a","x":1}"#, Reason::MalformedRequest),
        ("", Reason::MalformedRequest),
        (large.as_str(), Reason::BodyTooLarge),
    ] {
        let outcome = site.ask(&mut browser, post(path, body)).await;
        assert_eq!(reason(&outcome), expected, "{body}");
    }
    let ask = Ask { headers: vec![("origin", "null")], ..post(path, &foreign) };
    assert_eq!(reason(&site.ask(&mut browser, ask).await), Reason::OriginMismatch);
    assert_eq!(site.session(&browser).unwrap().organisation, Organisation::parse(OTHER));
}

#[tokio::test]
async fn other_paths_and_methods() {
    let site = Site::new().await;
    for path in ["/.portcullis", "/.portcullis/", "/.portcullis/x", "/.portcullis/login/"] {
        assert!(site.login.owns(path), "{path}");
        let outcome = site.ask(&mut Browser::default(), get(path)).await;
        assert_eq!(reason(&outcome), Reason::NoRoute, "{path}");
    }
    assert!(!site.login.owns("/.portcullisx") && !site.login.owns("/"));
    for (path, allow) in [
        ("login", "GET"),
        ("callback", "GET"),
        ("session", "GET"),
        ("logout", "GET, POST"),
        ("organisation", "POST"),
    ] {
        let path = format!("/.portcullis/{path}");
        let ask = Ask { method: Method::DELETE, ..get(&path) };
        let refusal = site.ask(&mut Browser::default(), ask).await.answer.unwrap_err();
        assert_eq!(refusal.reason, Reason::MethodNotAllowed, "{path}");
        assert_eq!(refusal.allow.as_deref(), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_served_are_refused() {
    let fake = Fake::start().await;
    let refused = |settings| login(settings, jar(SameSite::Lax), fake.provider(), accept()).err();
    assert_eq!(refused(settings()), None);
    for prefix in ["", "/", "a", "/a/", "/a b", "/a?b"] {
        let settings = Settings { prefix: prefix.into(), ..settings() };
        assert_eq!(refused(settings), Some(SettingsError::Prefix), "{prefix}");
    }
    let after_logout = Settings { after_logout: "javascript:x".into(), ..settings() };
    assert_eq!(refused(after_logout), Some(SettingsError::AfterLogout));
    let public_url = Settings { public_url: "file:///".parse().unwrap(), ..settings() };
    assert_eq!(refused(public_url), Some(SettingsError::PublicUrl));
}

/// The gateway runs a step on a runtime with several threads.
#[tokio::test]
async fn a_step_may_move_between_threads() {
    let site = Arc::new(Site::new().await);
    let site = Arc::clone(&site);
    tokio::spawn(async move {
        site.ask(&mut Browser::default(), get("/.portcullis/login")).await.answer.is_ok()
    })
    .await
    .unwrap();
}
