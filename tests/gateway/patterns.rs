//! Every file of `conf/patterns`, as it is shipped but for its addresses and secrets, at work.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{
    demo::stand_in::{iam, jose::Parts, sts},
    login::{Browser, location, log_in_at_provider},
    support::{
        ACME, Gateway, Issuer, OTHER, Recorder, free_port,
        gateway::{client, secrets},
        listener, outside_sts, people,
    },
};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/patterns");
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What stands in the file with Core's static token.
const CORE_TOKEN: &str = "static-token-of-the-patterns";
/// What stands in the files for a listener of the world outside.
const LISTENER: &str = "address: 0.0.0.0:8443, tls: { certificate: /etc/portcullis/tls.crt, key: \
                        /etc/portcullis/tls.key }";

/// A pattern's gateway and its neighbours.
struct World {
    core: Recorder,
    bff: Recorder,
    sts: sts::Handle,
    sts_url: String,
    gateway: Gateway,
}

impl World {
    async fn start(file: &str, iam: &str, port: u16) -> Self {
        let (core, bff) = (Recorder::start("").await, Recorder::start("").await);
        let handle = sts::Handle::default();
        let sts_url = outside_sts::start(iam, handle.clone()).await;
        let text = fs::read_to_string(Path::new(DIRECTORY).join(file)).unwrap();
        let loopback = |address: SocketAddr| address.to_string();
        let mut text = [
            (LISTENER, format!("address: 127.0.0.1:{port}")),
            ("https://desk.example.com", format!("http://localhost:{port}")),
            ("https://iam.example.com/realms/one", iam.to_owned()),
            ("https://bff.example.com", sts_url.clone()),
            // The new process of a Core that is being moved; `bff` is a recorder like any other.
            ("new-core.internal:3000", loopback(bff.address)),
            ("core.internal:3000", loopback(core.address)),
            ("bff.internal:8080", loopback(bff.address)),
        ]
        .into_iter()
        .fold(text, |text, (from, to)| text.replace(from, &to));
        for left in ["example.com", ".internal", "0.0.0.0"] {
            assert!(!text.contains(left), "{left} is left in {text}");
        }
        let given: BTreeMap<_, _> = secrets().into_iter().collect();
        let another: BTreeMap<_, _> = secrets().into_iter().collect();
        let files = [
            ("session", &given["TEST_SESSION_KEY"]),
            ("iam-client", &given["TEST_CLIENT_SECRET"]),
            ("sts-1.pem", &given["TEST_STS_KEY"]),
            ("sts-2.pem", &another["TEST_STS_KEY"]),
            ("core-token", &CORE_TOKEN.to_owned()),
            ("wrpr", &people::SECRET.to_owned()),
        ];
        // Paths of secrets are relative to the configuration's own.
        text = text.replace("/run/secrets/", "");
        let gateway = Gateway::start_from(&text, &files, port).await;
        Self { core, bff, sts: handle, sts_url, gateway }
    }

    async fn ask(&self, method: Method, target: &str, token: Option<&str>) -> StatusCode {
        let mut request = client().request(method, self.gateway.url(target));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().status()
    }

    async fn get(&self, target: &str, token: Option<&str>) -> StatusCode {
        self.ask(Method::GET, target, token).await
    }
}

/// The bearer token of the one request that an upstream has seen.
fn only_token(upstream: &Recorder) -> String {
    let seen = upstream.take();
    let [request] = &seen[..] else { panic!("{} requests", seen.len()) };
    request.header("authorization")[0].strip_prefix("Bearer ").unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    Value::Object(Parts::split(token).unwrap().claims)
}

/// An exchange by a program of its own.
async fn exchange(url: &str, token: &str, audience: &str) -> (u16, Value) {
    let form = [
        ("grant_type", GRANT),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", audience),
        ("organisationId", ACME),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let post = client().post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer = post.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

fn list(organisation: &str) -> String {
    format!("/api/credential/v1?organisationId={organisation}")
}

#[tokio::test]
async fn desk() {
    let (listener, address) = listener().await;
    let (port, issuer) = (free_port(), format!("http://{address}"));
    let provider = iam::Settings {
        issuer: issuer.clone(),
        audience: "procivis-one-platform".to_owned(),
        lifetime: Duration::from_secs(600),
        clients: vec![iam::Client {
            id: "desk".to_owned(),
            secret: "client-secret-of-the-test".to_owned(),
            redirects: vec![format!("http://localhost:{port}/.portcullis/callback")],
            after_logout: vec![],
            roles: None,
        }],
        users: vec![iam::User {
            name: "alice".to_owned(),
            password: "alice".to_owned(),
            full_name: "Alice".to_owned(),
            roles: vec!["admin".to_owned()],
        }],
    };
    tokio::spawn(iam::serve(listener, provider));
    let world = World::start("desk.yaml", &issuer, port).await;
    let mut browser = Browser::default();
    let start = browser.navigate(&world.gateway.url("/")).await;
    assert_eq!(start.status(), 302);
    let callback = log_in_at_provider(&location(&start), "alice").await;
    assert_eq!(browser.navigate(callback.as_str()).await.status(), 303);
    assert_eq!(browser.navigate(&world.gateway.url("/")).await.status(), 200);
    let iam_token = only_token(&world.bff);
    assert_eq!(claims(&iam_token)["iss"], issuer);
    assert_eq!(browser.fetch(&world.gateway.url(&list(ACME))).await.status(), 200);
    let app_token = claims(&only_token(&world.core));
    assert_eq!((&app_token["iss"], &app_token["aud"]), (&world.sts_url.into(), &"one-core".into()));
    let stranger = Browser::default().fetch(&world.gateway.url(&list(ACME))).await;
    assert_eq!(stranger.status(), 401);
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn api_client_with_bff() {
    let issuer = Issuer::start().await;
    let world = World::start("api-client-with-bff.yaml", &issuer.url, free_port()).await;
    let reader = issuer.token("rosa", "reader");
    assert_eq!(world.get("/api/credential/v1", Some(&reader)).await, 200);
    assert_eq!(only_token(&world.bff), reader, "as it came");
    assert_eq!(world.ask(Method::POST, "/api/credential/v1", Some(&reader)).await, 403);
    assert_eq!(world.get("/api/credential/v1", None).await, 401);
    assert_eq!(world.get("/api/key/v1", Some(&reader)).await, 404);
    assert!(world.bff.seen().is_empty());
}

#[tokio::test]
async fn api_client_with_core_by_exchange() {
    let issuer = Issuer::start().await;
    let file = "api-client-with-core-by-exchange.yaml";
    let world = World::start(file, &issuer.url, free_port()).await;
    let alice = issuer.token("alice", "admin");
    let mut sent = Vec::new();
    for _ in 0..2 {
        assert_eq!(world.get(&list(ACME), Some(&alice)).await, 200);
        sent.push(only_token(&world.core));
    }
    assert_eq!((sent[0] == sent[1], world.sts.exchanges()), (true, 1));
    let token = claims(&sent[0]);
    assert_eq!((&token["sub"], &token["organisationId"]), (&"alice".into(), &ACME.into()));
    let nobody = issuer.token("norman", "nothing");
    assert_eq!(world.get(&list(ACME), Some(&nobody)).await, 403);
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn api_client_with_its_own_sts_token() {
    let issuer = Issuer::start().await;
    let file = "api-client-with-its-own-sts-token.yaml";
    let world = World::start(file, &issuer.url, free_port()).await;
    let alice = issuer.token("alice", "admin");
    let token_of = async |audience: &str| {
        let url = format!("{}/sts/token", world.sts_url);
        let (status, answer) = exchange(&url, &alice, audience).await;
        assert_eq!(status, 200);
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let (own, bridge) = (token_of("one-core").await, token_of("one-bridge").await);
    let asked = world.sts.exchanges();
    assert_eq!(world.get(&list(ACME), Some(&own)).await, 200);
    assert_eq!(only_token(&world.core), own, "as it came");
    assert_eq!(world.get(&list(OTHER), Some(&own)).await, 403);
    assert_eq!(world.get(&list(ACME), Some(&bridge)).await, 401, "for another audience");
    assert_eq!(world.get(&list(ACME), Some(&alice)).await, 401, "an IAM token");
    assert!(world.core.seen().is_empty());
    assert_eq!(world.sts.exchanges(), asked, "nothing is exchanged here");
}

#[tokio::test]
async fn own_token_service() {
    let issuer = Issuer::start().await;
    let world = World::start("own-token-service.yaml", &issuer.url, free_port()).await;
    let keys = client().get(world.gateway.url("/.well-known/jwks.json")).send().await.unwrap();
    let keys: Value = serde_json::from_str(&keys.text().await.unwrap()).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    let alice = issuer.token("alice", "admin");
    for organisation in [ACME, OTHER] {
        assert_eq!(world.get(&list(organisation), Some(&alice)).await, 200);
        let token = claims(&only_token(&world.core));
        assert_eq!((&token["aud"], &token["sub"]), (&"one-core".into(), &"alice".into()));
        assert_eq!(token["organisationId"], organisation);
        assert_eq!(token["permissions"], serde_json::json!(["CREDENTIAL_LIST"]));
    }
    let reader = issuer.token("rosa", "reader");
    assert_eq!(world.get(&list(OTHER), Some(&reader)).await, 403);
    let (status, answer) = exchange(&world.gateway.url("/sts/token"), &reader, "one-core").await;
    assert_eq!(status, 200, "{answer}");
    let own = answer["access_token"].as_str().unwrap();
    assert_eq!(world.get(&list(ACME), Some(own)).await, 200);
    assert_eq!(only_token(&world.core), own);
    assert_eq!(world.sts.exchanges(), 0);
}

#[tokio::test]
async fn sts_only() {
    let issuer = Issuer::start().await;
    let world = World::start("sts-only.yaml", &issuer.url, free_port()).await;
    let alice = issuer.token("alice", "admin");
    let (status, _) = exchange(&world.gateway.url("/sts/token"), &alice, "one-core").await;
    assert_eq!(status, 200);
    let seen = world.bff.take();
    assert_eq!((seen.len(), seen[0].target()), (1, "/sts/token"));
    assert!(String::from_utf8_lossy(&seen[0].body).contains(&alice), "the form as it came");
    for (method, target, status) in [
        (Method::GET, "/sts/token", 405),
        (Method::POST, "/sts/token/x", 404),
        (Method::GET, "/api/sts/role/v1", 404),
        (Method::POST, "/api/sts/role/v1", 404),
        (Method::GET, "/", 404),
    ] {
        assert_eq!(world.ask(method, target, Some(&alice)).await, status, "{target}");
    }
    // Core is served with what the endpoint gives, and with nothing else.
    let url = format!("{}/sts/token", world.sts_url);
    let (_, answer) = exchange(&url, &alice, "one-core").await;
    let own = answer["access_token"].as_str().unwrap();
    let asked = world.sts.exchanges();
    assert_eq!(world.get(&list(ACME), Some(own)).await, 200);
    assert_eq!(only_token(&world.core), own, "as it came");
    assert_eq!(world.get(&list(OTHER), Some(own)).await, 403);
    assert_eq!(world.get(&list(ACME), Some(&alice)).await, 401, "an IAM token");
    assert_eq!(world.get(&list(ACME), None).await, 401);
    assert_eq!(world.sts.exchanges(), asked, "nothing is exchanged here");
    assert!(world.core.seen().is_empty() && world.bff.seen().is_empty());
}

/// The token of the client `wrpr` itself.
async fn token_of_wrpr(issuer: &str) -> String {
    let form =
        format!("grant_type=client_credentials&client_id=wrpr&client_secret={}", people::SECRET);
    let post = client()
        .post(format!("{issuer}/token"))
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = post.body(form).send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn technical_user() {
    let issuer = people::provider().await;
    let world = World::start("technical-user.yaml", &issuer, free_port()).await;
    let check = "/api/signature/v1/revocation-check";
    let alice = people::token_of(&issuer, "alice").await;
    let mut sent = Vec::new();
    for _ in 0..2 {
        assert_eq!(world.ask(Method::POST, check, Some(&alice)).await, 200);
        sent.push(only_token(&world.core));
    }
    assert_eq!(sent[0], sent[1], "cached");
    let token = claims(&sent[0]);
    assert_eq!((&token["sub"], &token["aud"]), (&"wrpr".into(), &"one-core".into()));
    assert_eq!(token["organisationId"], ACME);
    assert_eq!(token["permissions"], serde_json::json!(["TASK_CREATE"]));
    assert!(token.get("act").is_none());
    // Who asked, and who Core saw.
    let acted = [
        "\"kind\":\"audit\"",
        "\"subject\":\"alice\"",
        "\"technical_user\":\"wrpr-cron\"",
        "\"credential\":\"technical_user\"",
    ];
    world.gateway.says(&acted).await;
    // Nobody does through it what they may not do themselves.
    let rosa = people::token_of(&issuer, "rosa").await;
    assert_eq!(world.ask(Method::POST, check, Some(&rosa)).await, 403);
    assert_eq!(world.ask(Method::POST, check, None).await, 401);
    assert!(world.core.seen().is_empty());
    // A service with its own token is a caller.
    let own = token_of_wrpr(&issuer).await;
    assert_eq!(world.get(&list(ACME), Some(&own)).await, 403, "it holds TASK_CREATE alone");
    assert_eq!(world.ask(Method::POST, check, Some(&own)).await, 200);
    assert_eq!(claims(&only_token(&world.core))["sub"], "wrpr");
}

#[tokio::test]
async fn delegation() {
    let issuer = people::provider().await;
    let world = World::start("delegation.yaml", &issuer, free_port()).await;
    let issue = async |token: &str, organisation: &str| {
        let body = serde_json::json!({ "organisationId": organisation }).to_string();
        let post = client().post(world.gateway.url("/api/credential/v1")).bearer_auth(token);
        let answer = post.header("content-type", "application/json").body(body).send().await;
        answer.unwrap().status().as_u16()
    };
    let emil = people::token_of(&issuer, "emil").await;
    assert_eq!(issue(&emil, ACME).await, 200);
    let token = claims(&only_token(&world.core));
    assert_eq!((&token["sub"], &token["act"]["sub"]), (&"emil".into(), &"wrpr".into()));
    assert_eq!(token["permissions"], serde_json::json!(["CREDENTIAL_ISSUE"]));
    let lifetime = token["exp"].as_u64().unwrap() - token["iat"].as_u64().unwrap();
    assert_eq!((lifetime, &token["organisationId"]), (60, &ACME.into()));
    let acted = [
        "\"kind\":\"audit\"",
        "\"subject\":\"emil\"",
        "\"actor\":\"wrpr\"",
        "\"credential\":\"delegated\"",
    ];
    world.gateway.says(&acted).await;
    // The rule of the role: only on behalf of users who hold CREDENTIAL_LIST.
    let revoke = "/api/credential/v1/5/revoke";
    let rosa = people::token_of(&issuer, "rosa").await;
    assert_eq!(world.ask(Method::POST, revoke, Some(&emil)).await, 403);
    assert!(world.core.seen().is_empty());
    assert_eq!(world.ask(Method::POST, revoke, Some(&rosa)).await, 200);
    assert_eq!(
        claims(&only_token(&world.core))["permissions"],
        serde_json::json!(["CREDENTIAL_REVOKE"])
    );
    // In another organisation the service has no such role; nobody has one for strangers; and the
    // service does not act on behalf of itself.
    let alice = people::token_of(&issuer, "alice").await;
    assert_eq!(issue(&alice, OTHER).await, 403);
    world.gateway.says(&["\"subject\":\"alice\"", "\"reason\":\"delegation_not_allowed\""]).await;
    assert_eq!(issue(&people::token_of(&issuer, "norman").await, ACME).await, 403);
    let own = token_of_wrpr(&issuer).await;
    assert_eq!(issue(&own, ACME).await, 403);
    assert!(world.core.seen().is_empty());
    // The same at the exchange endpoint, by an actor token.
    let exchange = async |subject: &str, actor: &str, scope: &str| {
        let form = [
            ("grant_type", GRANT),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", actor),
            ("actor_token_type", ACCESS_TOKEN),
            ("organisationId", ACME),
            ("scope", scope),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let post = client()
            .post(world.gateway.url("/sts/token"))
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = post.body(form).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    let answer = exchange(&rosa, &own, "").await;
    let token = claims(answer["access_token"].as_str().unwrap());
    assert_eq!((&token["sub"], &token["act"]["sub"]), (&"rosa".into(), &"wrpr".into()));
    assert_eq!(answer["scope"], "CREDENTIAL_ISSUE CREDENTIAL_REVOKE CREDENTIAL_SHARE");
    assert_eq!(exchange(&emil, &own, "CREDENTIAL_SHARE").await["scope"], "CREDENTIAL_SHARE");
    for (subject, actor, scope, error) in [
        (&rosa, &rosa, "", "invalid_request"),
        (&own, &own, "", "invalid_grant"),
        (&rosa, &emil, "", "invalid_request"),
        (&emil, &own, "CREDENTIAL_REVOKE", "invalid_scope"),
        (&rosa, &"a.b.c".to_owned(), "", "invalid_request"),
    ] {
        assert_eq!(exchange(subject, actor, scope).await["error"], error);
    }
}

/// Both unsafe modes: who may, what Core is shown of it, and the record that is there first.
async fn unsafe_core(file: &str, shown: &[&str]) {
    let issuer = Issuer::start().await;
    let world = World::start(file, &issuer.url, free_port()).await;
    let rosa = issuer.token("rosa", "reader");
    assert_eq!(world.get(&list(ACME), Some(&rosa)).await, 200);
    let seen = world.core.take();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, shown.to_vec()));
    let id = seen[0].header("x-request-id")[0];
    let records = world.gateway.output();
    let first = records.lines().find(|line| line.contains(id)).unwrap();
    assert!(first.contains("\"kind\":\"audit_intent\""), "{first}");
    let norman = issuer.token("norman", "nothing");
    for (target, token, status) in [
        (list(OTHER), Some(&rosa), 403),
        ("/api/credential/v1".to_owned(), Some(&rosa), 400),
        (list(ACME), Some(&norman), 403),
        (list(ACME), None, 401),
    ] {
        assert_eq!(world.get(&target, token.map(String::as_str)).await, status, "{target}");
    }
    assert_eq!(world.ask(Method::DELETE, &list(ACME), Some(&rosa)).await, 405);
    assert!(world.core.seen().is_empty());
    assert_eq!(world.get("/ssi/a", None).await, 200);
    assert!(world.core.take()[0].header("authorization").is_empty());
}

#[tokio::test]
async fn core_in_unsafe_none() {
    unsafe_core("core-in-unsafe-none.yaml", &[]).await;
}

#[tokio::test]
async fn core_in_unsafe_static() {
    let shown = format!("Bearer {CORE_TOKEN}");
    unsafe_core("core-in-unsafe-static.yaml", &[&shown]).await;
}

#[tokio::test]
async fn moving_off_unsafe() {
    let issuer = Issuer::start().await;
    let world = World::start("moving-off-unsafe.yaml", &issuer.url, free_port()).await;
    let rosa = issuer.token("rosa", "reader");
    // What has moved: an app token of this gateway, which the new Core can check.
    assert_eq!(world.get(&list(ACME), Some(&rosa)).await, 200);
    let token = claims(&only_token(&world.bff));
    assert_eq!((&token["sub"], &token["organisationId"]), (&"rosa".into(), &ACME.into()));
    // What has not: the old Core is asked whose it is, and the recorder says nothing of use.
    let detail = "/api/credential/v1/00000000-0000-4000-8000-00000000000b";
    assert_eq!(world.get(detail, Some(&rosa)).await, 502);
    let asked = world.core.take();
    assert_eq!((asked.len(), asked[0].target()), (1, detail), "the look-up, and nothing else");
    assert_eq!(asked[0].header("authorization"), [format!("Bearer {CORE_TOKEN}")]);
    for (target, token, status) in
        [(list(OTHER), Some(&rosa), 403), (list(ACME), None, 401), (detail.to_owned(), None, 401)]
    {
        assert_eq!(world.get(&target, token.map(String::as_str)).await, status, "{target}");
    }
    assert_eq!(world.get("/ssi/a", None).await, 200);
    assert_eq!((world.bff.take().len(), world.core.seen().len()), (1, 0));
}

#[test]
fn every_pattern_has_its_test() {
    let source = include_str!("patterns.rs");
    let mut files = 0;
    for entry in fs::read_dir(DIRECTORY).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let test = name.strip_suffix(".yaml").unwrap().replace('-', "_");
        assert!(source.contains(&format!("async fn {test}() {{")), "{name} has no test {test}");
        assert!(source.contains(&format!("\"{name}\"")), "nothing starts {name}");
        files += 1;
    }
    assert!(files >= 11, "{files} patterns");
}
