//! One run of everything that handles a secret, with every line that the gateway can write, and a
//! search for all of them.
//!
//! Whoever holds a secret in this story writes it down: the provider what it issues and is shown,
//! Core what it gets, the browser its cookies, and the test what it makes up itself.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use url::form_urlencoded;

use crate::{
    demo::stand_in::sts::Handle,
    login::{Browser, location},
    support::{
        ACME, Gateway, Provider, Recorder, Redis, Settings, collector::Collector, free_port,
        gateway::client, outside_sts, raw, status,
    },
};

const PASSWORD: &str = "password-of-the-redis-of-this-test";

/// What must not be seen anywhere.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    fn add(&mut self, secret: &str) {
        assert!(secret.len() >= 12, "{secret:?} may stand somewhere by chance");
        self.0.insert(secret.to_owned());
    }

    /// Whole ones, and pieces: one that was cut is still told.
    fn not_in(&self, text: &str, what: &str) {
        assert!(self.0.len() > 25, "{}", self.0.len());
        for secret in &self.0 {
            let pieces = secret.as_bytes().chunks(PIECE).filter(|it| it.len() == PIECE);
            let pieces = pieces.map(|piece| str::from_utf8(piece).unwrap());
            for piece in pieces.chain([secret.as_str()]) {
                if let Some(at) = text.find(piece) {
                    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
                    let line = text[start..].lines().next().unwrap();
                    panic!("{piece:?} of {secret:?} stands in {what}: {line}");
                }
            }
        }
    }
}

/// By chance no text of so many characters stands anywhere.
const PIECE: usize = 24;

struct World {
    provider: std::sync::Arc<Provider>,
    core: Recorder,
    collector: Collector,
    gateway: Gateway,
    secrets: Secrets,
    _redis: Redis,
}

impl World {
    async fn start() -> Self {
        let (provider, core) = (Provider::start().await, Recorder::start("").await);
        provider.with(|script| script.role = "admin");
        let redis = Redis::start(&["--requirepass", PASSWORD]);
        let collector = Collector::start().await;
        let service = outside_sts::start(&provider.url, Handle::default()).await;
        let (gone, otlp) = (free_port(), &collector.url);
        let store = redis.url(&format!(":{PASSWORD}@"));
        let mut settings = Settings::new(&provider.url, core.address)
            .with(&format!(
                "logs: {{ format: json, level: trace }}
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ], store: {{ redis: {{ url: '{store}' }} }} }}
allow_inline_secrets: true
tracing: {{ otlp: '{otlp}', sample: 1, headers: {{ x-key: {{ env: TEST_CLIENT_SECRET }} }} }}
technical_users: {{ wrpr: {{ client: {{ id: wrpr, secret: {TECHNICAL} }} }} }}
"
            ))
            .route("path: /as/cron, accept: [iam], permissions: [CREDENTIAL_LIST], act_as: { technical_user: wrpr }");
        settings.routes.push_str("  - { path: /gone, accept: [iam, session], upstream: gone }\n");
        settings.upstreams =
            format!("  gone: {{ servers: ['127.0.0.1:{gone}'], auth: {{ mode: IAM }} }}\n");
        let proof = ", client: { id: portcullis, secret: { env: TEST_CLIENT_SECRET } }";
        settings.sts = Some(outside_sts::section(&service, proof));
        settings.ready = false;
        let gateway = Gateway::start(settings).await;
        let mut secrets = Secrets::default();
        secrets.add(PASSWORD);
        secrets.add(TECHNICAL);
        for (_, secret) in &gateway.secrets {
            // A key file has lines of its own at both ends.
            for line in secret.lines().filter(|line| !line.contains("---")) {
                secrets.add(line);
            }
        }
        Self { provider, core, collector, gateway, secrets, _redis: redis }
    }

    fn url(&self, target: &str) -> String {
        self.gateway.url(target)
    }

    fn token(&mut self) -> String {
        let now = portcullis::time::Timestamp::now().0;
        let token = self.provider.key.sign(
            "JWT",
            &json!({
                "iss": self.provider.url, "aud": "procivis-one-platform", "sub": "alice",
                "iat": now, "exp": now + 300, "roles": ["admin"],
                "jti": uuid::Uuid::new_v4().simple().to_string(),
            }),
        );
        self.secrets.add(&token);
        token
    }

    /// What the browser holds by now.
    fn note(&mut self, browser: &Browser) {
        for value in browser.cookies.values() {
            self.secrets.add(value);
        }
    }

    /// A login with all that the browser, the provider and the way between them see of it.
    async fn log_in(&mut self, lifetime: u64) -> Browser {
        self.provider.with(|script| script.lifetime = lifetime);
        let mut browser = Browser::default();
        let start = browser.navigate(&self.url("/desk/x")).await;
        self.note(&browser);
        let authorize = location(&start);
        for (name, value) in authorize.query_pairs() {
            if ["state", "nonce"].contains(&&*name) {
                self.secrets.add(&value);
            }
        }
        let sent = client().get(authorize).send().await.unwrap();
        let callback = location(&sent);
        let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1;
        self.secrets.add(&code);
        let mut late = browser.clone();
        let done = browser.navigate(callback.as_str()).await;
        assert_eq!(done.status(), 303, "{}", done.text().await.unwrap());
        self.note(&browser);
        // The same once more, whose code is used up.
        late.navigate(callback.as_str()).await;
        self.provider.with(|script| script.lifetime = 600);
        browser
    }

    /// The provider ends another one.
    async fn provider_ends_one(&mut self) {
        let mut other = self.log_in(600).await;
        let claims = self.provider.logout_claims(&json!({ "sid": "sid-2" }));
        let logout_token = self.provider.key.sign("logout+jwt", &claims);
        self.secrets.add(&logout_token);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("logout_token", &logout_token)
            .finish();
        let post = client()
            .post(self.url("/.portcullis/backchannel-logout"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        assert_eq!(post.send().await.unwrap().status(), 200);
        assert_eq!(other.fetch(&self.url("/desk/page")).await.status(), 401);
    }

    /// A good token over both protocols, a technical user, and a token that is none.
    async fn programs(&mut self) {
        let token = self.token();
        for target in ["/api/credential/v1", "/as/cron", "/api/desk/v1/me"] {
            assert_eq!(self.get(target, &token).await, 200, "{target}");
        }
        let http2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
        let get = http2.get(self.url("/api/credential/v1")).bearer_auth(&token);
        assert_eq!(get.send().await.unwrap().status(), 200);
        let wrong = format!("{}{}", &token[..token.len() - 30], "A".repeat(30));
        self.secrets.add(&wrong);
        assert_eq!(self.get("/api/credential/v1", &wrong).await, 401);
        assert_eq!(self.get("/gone", &token).await, 502);
        self.secrets_elsewhere(&token).await;
    }

    /// Secrets where they do not belong: in queries, bodies, cookies, broken heads.
    async fn secrets_elsewhere(&mut self, token: &str) {
        for name in ["query", "body", "cookie", "head", "basic"] {
            self.secrets.add(&format!("made-up-secret-in-the-{name}"));
        }
        for path in ["/api/credential/v1", "/ssi/x", "/nowhere", "/.portcullis/callback"] {
            let target = format!("{path}?code=made-up-secret-in-the-query&access_token={token}");
            client().get(self.url(&target)).send().await.unwrap();
        }
        let post = client().post(self.url("/api/credential/v1")).bearer_auth(token);
        post.body("{\"password\":\"made-up-secret-in-the-body\"}").send().await.unwrap();
        let get = client().get(self.url("/desk/x"));
        let get = get.header("cookie", "portcullis=1.made-up-secret-in-the-cookie; other=1");
        get.send().await.unwrap();
        let get = client().get(self.url("/desk/x"));
        get.basic_auth("alice", Some("made-up-secret-in-the-basic")).send().await.unwrap();
        for head in [
            "Authorization: Bearer made-up-secret-in-the-head\r\nAuthorization: Bearer x\r\n",
            "Authorization: Bearer made-up-secret-in-the-head\r\nHost: elsewhere\r\n",
            "Cookie: portcullis=made-up-secret-in-the-head\r\nTransfer-Encoding: gzip\r\n",
            "Authorization: made-up-secret-in-the-head\r\nBroken line\r\n",
            "X: \u{1}\r\nAuthorization: made-up-secret-in-the-head\r\n",
        ] {
            let request = format!(
                "GET /api/credential/v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n"
            );
            let answer = raw(self.gateway.address, request.as_bytes()).await;
            assert!((400..500).contains(&status(&answer)), "{head}: {answer}");
        }
    }

    async fn get(&self, target: &str, token: &str) -> u16 {
        client().get(self.url(target)).bearer_auth(token).send().await.unwrap().status().as_u16()
    }
}

const TECHNICAL: &str = "secret-of-the-technical-user";

#[tokio::test]
async fn no_secret_is_in_any_log_metric_or_span_of_a_whole_run() {
    let mut world = World::start().await;

    // A browser: login, pages, an exchange, a renewal, another organisation, logout.
    let mut browser = world.log_in(1).await;
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    for target in ["/desk/page", "/api/config/v1", "/api/credential/v1", "/gone"] {
        let status = browser.fetch(&world.url(target)).await.status().as_u16();
        assert_eq!(status, if target == "/gone" { 502 } else { 200 }, "{target}");
        world.note(&browser);
    }
    assert_eq!(world.provider.refreshes(), 1);
    let info = browser.fetch(&world.url("/.portcullis/session")).await;
    assert_eq!(info.status(), 200);
    let origin = world.url("");
    for path in ["organisation", "logout"] {
        let post = client().post(world.url(&format!("/.portcullis/{path}")));
        let body = json!({ "organisation": ACME }).to_string();
        let post = post.header("origin", &origin).header("content-type", "application/json");
        let answer = browser.send(post.body(body)).await;
        assert!(answer.status().as_u16() < 400, "{path}: {}", answer.status());
        world.note(&browser);
    }

    world.provider_ends_one().await;
    world.programs().await;

    // A configuration with a slip is read again, and then the end.
    let slip = std::fs::read_to_string(world.gateway.file()).unwrap();
    let slip = slip.replace("allow_inline_secrets: true", "allow_inline_secrets: false");
    std::fs::write(world.gateway.file(), slip).unwrap();
    world.gateway.signal("HUP");
    world.gateway.says(&["stays at work"]).await;
    let metrics = world.gateway.metrics().await;
    world.gateway.signal("TERM");
    assert!(world.gateway.ended().await.success());

    for secret in world.provider.secrets() {
        world.secrets.add(&secret);
    }
    for request in world.core.take() {
        for credential in request.header("authorization") {
            world.secrets.add(credential.strip_prefix("Bearer ").unwrap());
        }
    }
    let output = world.gateway.output();
    // All of it was seen: each level, each kind of record, and what the story consists of.
    for part in [
        "\"level\":\"trace\"",
        "\"level\":\"debug\"",
        "\"kind\":\"access\"",
        "\"kind\":\"audit\"",
        "\"event\":\"login_completed\"",
        "\"event\":\"logout\"",
        "\"event\":\"provider_logout\"",
        "\"credential\":\"technical_user\"",
        "\"reason\":\"credential_invalid\"",
        "\"reason\":\"upstream_failed\"",
        "must not stand here",
    ] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
    world.secrets.not_in(&output, "the log");
    world.secrets.not_in(&metrics, "the metrics");
    let mut exported = 0;
    for (_, body) in world.collector.requests() {
        world.secrets.not_in(&String::from_utf8_lossy(&body), "an export");
        exported += 1;
    }
    assert!(exported > 0);
    // The provider and the token service are calls of the requests that needed them.
    let spans = world.collector.spans();
    for name in ["iam", "exchange", "upstream", "GET /.portcullis", "credential"] {
        assert!(spans.iter().any(|span| span.name == name), "{name}: {spans:#?}");
    }
}
