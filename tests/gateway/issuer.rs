//! The gateway as the token service: keys that rotate, the exchange endpoint, records of what was
//! issued, and tokens that are for one upstream alone.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::{
    demo::stand_in::{core, jose::Parts},
    support::{
        ACME, Gateway, Issuer, OTHER, Recorder, Settings, free_port, gateway::client, listener,
        reason,
    },
};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Key files that a gateway watches.
struct KeyFiles(PathBuf);

impl KeyFiles {
    fn new(port: u16) -> Self {
        let directory =
            std::env::temp_dir().join(format!("portcullis-keys-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, pem: &str) {
        fs::write(self.0.join(name), pem).unwrap();
    }
}

impl Drop for KeyFiles {
    fn drop(&mut self) {
        // Best effort: the system clears its temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key() -> String {
    portcullis::sts::issuer::generate().unwrap().expose_secret().to_owned()
}

fn kid_of(token: &str) -> String {
    let header = Parts::split(token).unwrap().header;
    header["kid"].as_str().unwrap().to_owned()
}

async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_loses_no_request() {
    let (port, issuer) = (free_port(), Issuer::start().await);
    let files = KeyFiles::new(port);
    let old = key();
    files.write("first.pem", &old);
    files.write("second.pem", &key());
    let (core_listener, core_address) = listener().await;
    let recorder = core::Recorder::default();
    let url = format!("http://localhost:{port}");
    let mode = core::Mode::Sts {
        issuer: url.clone(),
        audience: "one-core".to_owned(),
        jwks: format!("{url}/.well-known/jwks.json"),
        ttl: Duration::from_secs(2),
        leeway: Duration::from_secs(60),
    };
    let one_core = core::Settings { mode, organisations: Vec::new(), recorder: recorder.clone() };
    tokio::spawn(core::serve(core_listener, one_core));
    let mut settings = Settings::new(&issuer.url, core_address);
    settings.port = Some(port);
    let (first, second) = (files.path("first.pem"), files.path("second.pem"));
    settings.sts = Some(format!(
        "issuer: {{ iss: '{url}', core_jwks_lifetime: 2s, \
         keys: [ {{ file: '{first}' }}, {{ file: '{second}' }} ] }}"
    ));
    let gateway = Arc::new(Gateway::start(settings).await);
    let issuer = Arc::new(issuer);
    let ask = |subject: &str| {
        client().get(gateway.url("/api/config/v1")).bearer_auth(issuer.token(subject, "admin"))
    };
    let last_kid = || {
        let all = recorder.all();
        let (_, value) = all.last()?.headers.iter().find(|(name, _)| name == "authorization")?;
        Some(kid_of(value.strip_prefix("Bearer ")?))
    };
    // Core asks for the keys until it has them.
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask("alice").send().await.unwrap().status() != 200 {
        assert!(Instant::now() < deadline, "{}", gateway.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = last_kid().unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|worker| {
            let (stop, issuer, gateway) =
                (Arc::clone(&stop), Arc::clone(&issuer), Arc::clone(&gateway));
            tokio::spawn(async move {
                let (client, mut statuses) = (client(), BTreeSet::new());
                for count in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Old acquaintances have cached tokens, new ones need fresh ones.
                    for subject in ["alice".to_owned(), format!("user-{worker}-{count}")] {
                        let token = issuer.token(&subject, "admin");
                        let get = client.get(gateway.url("/api/config/v1")).bearer_auth(token);
                        statuses.insert(get.send().await.unwrap().status().as_u16());
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                statuses
            })
        })
        .collect();
    files.write("second.pem", &old);
    files.write("first.pem", &key());
    wait_for("the new key signs", || last_kid().is_some_and(|kid| kid != before)).await;
    assert_eq!(ask("alice").send().await.unwrap().status(), 200);
    stop.store(true, Ordering::Relaxed);
    for worker in load {
        assert_eq!(worker.await.unwrap(), BTreeSet::from([200]), "{}", gateway.output());
    }
    // A token of the old key is handed out no more, though it is valid still.
    assert_eq!(ask("alice").send().await.unwrap().status(), 200);
    assert_ne!(last_kid().unwrap(), before);
    let output = gateway.output();
    for told in ["is the first and will sign from", "signs from now on"] {
        assert!(output.contains(told), "{told}: {output}");
    }

    files.write("first.pem", "-----BEGIN PRIVATE KEY-----\n");
    wait_for("the bad file is told of", || {
        gateway.output().contains("so the keys from before stay: key 1 is not one Ed25519")
    })
    .await;
    assert_eq!(ask("bob").send().await.unwrap().status(), 200);
}

struct World {
    issuer: Issuer,
    core: Recorder,
    gateway: Gateway,
}

/// A gateway with its endpoint and three audiences.
async fn world() -> World {
    let (port, issuer) = (free_port(), Issuer::start().await);
    let core = Recorder::start("").await;
    let mut settings = Settings::new(&issuer.url, core.address);
    settings.port = Some(port);
    settings.sts = Some(format!(
        "issuer: {{ iss: 'http://localhost:{port}', keys: [ {{ env: TEST_STS_KEY }} ], \
         endpoint: true }}"
    ));
    let gateway = Gateway::start(settings).await;
    World { issuer, core, gateway }
}

impl World {
    async fn exchange(&self, changes: &[(&str, &str)]) -> (u16, Value) {
        let token = self.issuer.token("alice", "admin");
        let mut form = vec![
            ("grant_type", GRANT),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", "one-core"),
            ("organisationId", ACME),
        ];
        form.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        form.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let post = client()
            .post(self.gateway.url("/sts/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = post.send().await.unwrap();
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }
}

#[tokio::test]
async fn the_key_set_is_for_core_and_may_be_cached_for_a_while() {
    let world = world().await;
    let url = world.gateway.url("/.well-known/jwks.json");
    let answer = client().get(&url).send().await.unwrap();
    assert_eq!(answer.headers()[CACHE_CONTROL], "public, max-age=60");
    let tag = answer.headers()[ETAG].clone();
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    for key in document["keys"].as_array().unwrap() {
        assert_eq!((&key["kty"], &key["crv"]), (&"OKP".into(), &"Ed25519".into()));
        assert!(key["kid"].is_string() && key.get("d").is_none());
    }
    let again = client().get(&url).header(IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    assert!(world.core.seen().is_empty());
}

#[tokio::test]
async fn the_endpoint_issues_what_the_caller_holds_and_nothing_more() {
    let world = world().await;
    let (status, answer) = world.exchange(&[]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["issued_token_type"], ACCESS_TOKEN);
    assert_eq!(answer["scope"], "CREDENTIAL_ISSUE CREDENTIAL_LIST");
    let token = answer["access_token"].as_str().unwrap();
    let claims = Parts::split(token).unwrap().claims;
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["organisationId"], ACME);
    let accepted = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(token);
    assert_eq!(accepted.send().await.unwrap().status(), 200);

    let (_, narrow) = world.exchange(&[("scope", "CREDENTIAL_LIST KEY_CREATE")]).await;
    assert_eq!(narrow["scope"], "CREDENTIAL_LIST");
    let token = narrow["access_token"].as_str().unwrap();
    let issue = client().post(world.gateway.url("/api/credential/v1")).bearer_auth(token);
    assert_eq!(issue.send().await.unwrap().status(), 403);

    for (changes, error) in [
        (&[("subject_token", "a.b.c")][..], "invalid_request"),
        (&[("subject_token", token)], "invalid_request"),
        (&[("audience", "elsewhere")], "invalid_target"),
        (&[("organisationId", OTHER)], "invalid_grant"),
        (&[("scope", "KEY_CREATE")], "invalid_scope"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("actor_token", token)], "invalid_request"),
    ] {
        let (status, answer) = world.exchange(changes).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{changes:?}");
    }
    let get = client().get(world.gateway.url("/sts/token")).send().await.unwrap();
    assert_eq!((get.status().as_u16(), get.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let post = client().post(world.gateway.url("/sts/token")).body("x".repeat(64 * 1024));
    assert_eq!(post.send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn without_the_word_there_is_no_endpoint() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    let answer = client().post(gateway.url("/sts/token")).body("").send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(reason(&answer.text().await.unwrap()), "no_route");
}

#[tokio::test]
async fn one_gateway_is_the_token_service_of_another() {
    let world = world().await;
    let core = Recorder::start("").await;
    let mut settings = Settings::new(&world.issuer.url, core.address);
    let (url, iss) = (world.gateway.url(""), world.gateway.url(""));
    settings.sts = Some(format!(
        "exchange: {{ url: '{url}/sts/token', issuer: '{iss}', \
         jwks: '{url}/.well-known/jwks.json', \
         parameters: {{ organisationId: '{{organisation}}' }} }}"
    ));
    let second = Gateway::start(settings).await;
    let list = |token: String| client().get(second.url("/api/credential/v1")).bearer_auth(token);
    let answer = list(world.issuer.token("alice", "admin")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", second.output());
    let seen = core.take();
    let token = seen[0].header("authorization")[0].strip_prefix("Bearer ").unwrap();
    let claims = Parts::split(token).unwrap().claims;
    assert_eq!((&claims["iss"], &claims["aud"]), (&iss.into(), &"one-core".into()));
    assert_eq!(claims["organisationId"], ACME);
    let metrics = second.metrics().await;
    assert!(metrics.contains("portcullis_app_tokens_total{outcome=\"miss\"} 1"), "{metrics}");
}

#[tokio::test]
async fn each_issued_token_is_in_the_audit_log_once_and_never_itself() {
    let world = world().await;
    let token = world.issuer.token("alice", "admin");
    for _ in 0..3 {
        let list = client().get(world.gateway.url("/api/credential/v1")).bearer_auth(&token);
        assert_eq!(list.send().await.unwrap().status(), 200);
    }
    let (_, exchanged) = world.exchange(&[]).await;
    let sent = world.core.take();
    let sent = sent[0].header("authorization")[0].strip_prefix("Bearer ").unwrap();
    let id = Parts::split(sent).unwrap().claims["jti"].as_str().unwrap().to_owned();
    wait_for("every record", || world.gateway.output().contains("token_exchange")).await;
    let output = world.gateway.output();
    let lines: Vec<Value> =
        output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let issued: Vec<_> = lines.iter().filter(|line| line["event"] == "app_token_issued").collect();
    assert_eq!(issued.len(), 2, "{output}");
    let line = issued[0];
    assert_eq!(line["kind"], "audit");
    assert_eq!((&line["subject"], &line["organisation"]), (&"alice".into(), &ACME.into()));
    assert_eq!((&line["audience"], &line["token_id"]), (&"one-core".into(), &id.clone().into()));
    let with = |kind: &str| {
        let forwarded = lines.iter().filter(|line| line["decision"] == "forward");
        forwarded.filter(|line| line["kind"] == kind && line["token_id"] == *id).count()
    };
    assert_eq!((with("access"), with("audit")), (3, 3));
    let exchange = lines.iter().find(|line| line["event"] == "token_exchange").unwrap();
    assert_eq!(
        (&exchange["subject"], &exchange["audience"]),
        (&"alice".into(), &"one-core".into())
    );
    for secret in [&token, sent, exchanged["access_token"].as_str().unwrap()] {
        assert!(!output.contains(secret));
    }
    let metrics = world.gateway.metrics().await;
    for line in ["{outcome=\"hit\"} 2", "{outcome=\"miss\"} 2"] {
        assert!(metrics.contains(&format!("portcullis_app_tokens_total{line}")), "{metrics}");
    }
}

#[tokio::test]
async fn a_token_for_one_upstream_is_never_sent_to_another() {
    let (issuer, core) = (Issuer::start().await, Recorder::start("").await);
    let (bridge, wrpr) = (Recorder::start("").await, Recorder::start("").await);
    let mut settings = Settings::new(&issuer.url, core.address);
    for (name, upstream) in [("bridge", &bridge), ("wrpr", &wrpr)] {
        settings.upstreams.extend([format!(
            "  {name}: {{ servers: ['{}'], auth: {{ mode: STS, audience: one-{name} }} }}\n",
            upstream.address
        )]);
        settings.routes.extend([format!(
            "  - {{ path: /{name}/v1, methods: [GET], accept: [iam, app], \
             permissions: [CREDENTIAL_LIST], upstream: {name} }}\n"
        )]);
    }
    let gateway = Gateway::start(settings).await;
    let upstreams = [
        ("/api/credential/v1", "one-core", &core),
        ("/bridge/v1", "one-bridge", &bridge),
        ("/wrpr/v1", "one-wrpr", &wrpr),
    ];
    let iam = issuer.token("alice", "admin");
    let get = |path: &str, token: &str| client().get(gateway.url(path)).bearer_auth(token);
    let mut tokens = Vec::new();
    for _cold_and_warm in 0..2 {
        for (path, audience, upstream) in upstreams {
            assert_eq!(get(path, &iam).send().await.unwrap().status(), 200);
            let seen = upstream.take();
            let [request] = &seen[..] else { panic!("{path}: {}", seen.len()) };
            let token = request.header("authorization")[0].strip_prefix("Bearer ").unwrap();
            assert_eq!(Parts::split(token).unwrap().claims["aud"], audience);
            tokens.push((audience, token.to_owned()));
        }
    }
    let distinct: BTreeSet<_> = tokens.iter().map(|(_, token)| token).collect();
    assert_eq!(distinct.len(), 3, "the cache keeps them apart");
    for (path, audience, upstream) in upstreams {
        for (own, token) in &tokens {
            let status = get(path, token).send().await.unwrap().status();
            assert_eq!(status, if *own == audience { 200 } else { 401 }, "{own} at {path}");
        }
        assert_eq!(upstream.take().len(), 2, "{path} saw its own tokens alone");
    }
}
