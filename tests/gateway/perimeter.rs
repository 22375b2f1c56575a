//! An upstream that checks nothing itself: what it is sent, who comes near it, and that nothing
//! passes without its audit record.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};

use crate::support::{
    ACME, Gateway, Issuer, OTHER, Recorder, Settings, free_port, gateway::client, raw,
};

const TOKEN: &str = "the-static-token-of-core-7f3a";

/// A configuration with an unsafe Core behind it.
fn yaml(issuer: &str, core: SocketAddr, auth: &str, extra: &str, perimeter: &str) -> String {
    format!(
        "public_url: http://localhost:PORT
listeners: [ {{ address: '127.0.0.1:PORT' }} ]
admin: {{ address: '127.0.0.1:ADMIN' }}
allow_inline_secrets: true
iam: {{ issuer: {issuer}, audience: procivis-one-platform }}
system_roles: {{ reader: [CREDENTIAL_LIST] }}
organisations: {{ {ACME}: {{ name: Acme }}, {OTHER}: {{ name: Other }} }}
iam_roles: {{ reader: {{ {ACME}: [reader] }} }}
upstreams: {{ core: {{ servers: ['{core}'], auth: {{ {auth} }} }} }}
perimeter: {{ acknowledge: [core], {perimeter} }}
routes:
  - {{ path: '/ssi/{{*rest}}', access: public, upstream: core }}
  - path: /api/credential/v1
    methods: [GET]
    accept: [iam]
    permissions: [CREDENTIAL_LIST]
    organisation: {{ query: organisationId }}
    upstream: core
  - path: /api/organisation/v1/{{id}}
    methods: [GET]
    accept: [iam]
    permissions: [CREDENTIAL_LIST]
    organisation: {{ path: id }}
    upstream: core
{extra}
"
    )
}

async fn start(
    issuer: &Issuer,
    core: &Recorder,
    auth: &str,
    extra: &str,
    perimeter: &str,
) -> Gateway {
    let mut settings = Settings::new(&issuer.url, core.address);
    settings.whole = Some(yaml(&issuer.url, core.address, auth, extra, perimeter));
    Gateway::start(settings).await
}

fn statics() -> String {
    format!("mode: UNSAFE_STATIC, static_token: {TOKEN}")
}

const LOOPBACK: &str = "allow_clients: [127.0.0.0/8, '::1/128']";
const DEBUG: &str = "logs: { format: json, level: debug }";

fn list(organisation: &str) -> String {
    format!("/api/credential/v1?organisationId={organisation}")
}

async fn get(gateway: &Gateway, target: &str, token: &str) -> StatusCode {
    let request = client().get(gateway.url(target)).bearer_auth(token);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn core_gets_no_credential_of_a_caller_and_only_what_is_allowed() {
    let issuer = Issuer::start().await;
    for (auth, expected) in
        [("mode: UNSAFE_NONE".to_owned(), None), (statics(), Some(format!("Bearer {TOKEN}")))]
    {
        let core = Recorder::start("").await;
        let gateway = start(&issuer, &core, &auth, DEBUG, LOOPBACK).await;
        let rosa = issuer.token("rosa", "reader");
        assert_eq!(get(&gateway, &list(ACME), &rosa).await, 200);
        let seen = core.take();
        assert_eq!(
            seen[0].header("authorization"),
            expected.as_deref().into_iter().collect::<Vec<_>>()
        );
        assert!(!seen[0].head.contains(&rosa));
        for (target, token, status) in [
            (list(OTHER), &rosa, 403),
            ("/api/credential/v1".to_owned(), &rosa, 400),
            (list(ACME), &issuer.token("norman", "nothing"), 403),
            (list(ACME), &"rubbish".to_owned(), 401),
            ("/api/key/v1".to_owned(), &rosa, 404),
        ] {
            assert_eq!(get(&gateway, &target, token).await, status, "{target}");
        }
        assert!(core.seen().is_empty());
        // A protocol's own token passes, and Core's static one is not for everybody.
        assert_eq!(get(&gateway, "/ssi/a", "a-wallets-token").await, 200);
        assert_eq!(core.take()[0].header("authorization"), ["Bearer a-wallets-token"]);
        assert!(gateway.output().contains("this gateway alone answers for"));
    }
}

#[tokio::test]
async fn who_comes_from_elsewhere_is_refused_before_anything_else() {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let networks = "allow_clients: [192.0.2.0/24]";
    let proxies = format!("trusted_proxies: [127.0.0.0/8, '::1/128']\n{DEBUG}");
    let behind = start(&issuer, &core, "mode: UNSAFE_NONE", &proxies, networks).await;
    let direct = start(&issuer, &core, "mode: UNSAFE_NONE", DEBUG, networks).await;
    let rosa = issuer.token("rosa", "reader");
    for (gateway, client_address, status) in
        [(&behind, "192.0.2.9", 200), (&behind, "198.51.100.9", 403), (&direct, "192.0.2.9", 403)]
    {
        for target in [&*list(ACME), "/ssi/a"] {
            let request = client().get(gateway.url(target)).bearer_auth(&rosa);
            let answer = request.header("x-forwarded-for", client_address).send().await.unwrap();
            assert_eq!(answer.status(), status, "{client_address} {target}");
            if status == 403 {
                let body = answer.text().await.unwrap();
                assert_eq!(crate::support::reason(&body), "client_not_allowed");
            }
        }
    }
    assert_eq!(core.take().len(), 2);
    let malformed = raw(direct.address, b"GET /%2e HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(malformed.contains("client_not_allowed"), "{malformed}");
    assert!(behind.output().contains("\"client\":\"198.51.100.9\""));
}

#[tokio::test]
async fn the_static_token_is_shown_nowhere() {
    let issuer = Issuer::start().await;
    // As a server does that writes what it got into its answer's headers.
    let core = Recorder::start("X-Echo: Bearer the-static-token-of-core-7f3a\r\n").await;
    let gateway = start(&issuer, &core, &statics(), DEBUG, LOOPBACK).await;
    let rosa = issuer.token("rosa", "reader");
    let mut shown = String::new();
    for method in ["GET", "HEAD", "POST", "DELETE", "TRACE", "OPTIONS", "PROPFIND"] {
        for target in [
            &*list(ACME),
            &list(OTHER),
            "/api/credential/v1",
            "/ssi/a",
            "/",
            "/.portcullis/session",
        ] {
            for token in [Some(&*rosa), Some(TOKEN), None] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let mut request = client().request(method, gateway.url(target));
                if let Some(token) = token.filter(|token| *token != TOKEN || target != "/ssi/a") {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await.unwrap();
                // A public route passes the answer as it is; the token never went there.
                if target != "/ssi/a" {
                    shown.extend([format!("{:?}", answer.headers()), "\n".to_owned()]);
                    shown.push_str(&answer.text().await.unwrap());
                }
            }
        }
    }
    let static_sent = format!("Bearer {TOKEN}");
    assert!(core.seen().iter().any(|request| request.header("authorization") == [&*static_sent]));
    for page in ["", "healthz", "readyz", "metrics", "config"] {
        let url = format!("http://{}/{page}", gateway.admin);
        shown.push_str(&reqwest::get(url).await.unwrap().text().await.unwrap());
    }
    for arguments in [&["check"][..], &["explain", "--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).arg("--config").arg(gateway.file());
        if arguments[0] == "explain" {
            command.args(["GET", &list(ACME)]);
        }
        let output = command.output().unwrap();
        shown.push_str(&String::from_utf8_lossy(&output.stdout));
        shown.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    shown.push_str(&gateway.output());
    assert!(shown.contains("\"credential\":\"static\"") && shown.contains("debug"));
    let leak = shown.lines().find(|line| line.contains(TOKEN));
    assert!(leak.is_none(), "the token is shown: {leak:?}");
}

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("portcullis-perimeter-{}-{}", std::process::id(), free_port());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Lets the audit file's name lead here.
    fn lead(&self, to: &Path) {
        symlink(to, self.0.join("next")).unwrap();
        fs::rename(self.0.join("next"), self.0.join("audit.log")).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks until the answer is this one.
async fn until(gateway: &Gateway, token: &str, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while get(gateway, &list(ACME), token).await != status {
        assert!(Instant::now() < deadline, "never {status}: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn no_audit_no_service_and_service_again_by_itself() {
    let (issuer, core, place) = (Issuer::start().await, Recorder::start("").await, Place::new());
    let disk = place.0.join("disk");
    fs::write(&disk, "").unwrap();
    place.lead(&disk);
    let logs = format!("logs: {{ audit: {{ file: '{}' }} }}", place.0.join("audit.log").display());
    let gateway = start(&issuer, &core, "mode: UNSAFE_NONE", &logs, LOOPBACK).await;
    let rosa = issuer.token("rosa", "reader");
    assert_eq!(get(&gateway, &list(ACME), &rosa).await, 200);
    // A device that is always full, as the file's own disk would be.
    place.lead(Path::new("/dev/full"));
    until(&gateway, &rosa, 503).await;
    let sent = core.seen().len();
    let answer = client().get(gateway.url(&list(ACME))).bearer_auth(&rosa).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().contains_key("retry-after")),
        (503, true)
    );
    assert_eq!(crate::support::reason(&answer.text().await.unwrap()), "audit_unavailable");
    assert_eq!(get(&gateway, "/ssi/a", &rosa).await, 503, "nor to a public route");
    assert_eq!(core.seen().len(), sent, "nothing was forwarded");
    let ready = reqwest::get(format!("http://{}/readyz", gateway.admin)).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("audit records cannot be written"));
    assert!(gateway.metrics().await.contains("portcullis_records_writable{kind=\"audit\"} 0"));
    place.lead(&disk);
    until(&gateway, &rosa, 200).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gateway.metrics().await.contains("portcullis_records_writable{kind=\"audit\"} 1") {
        assert!(Instant::now() < deadline);
    }

    let written = fs::read_to_string(&disk).unwrap();
    let records: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let intents: BTreeSet<_> = records
        .iter()
        .filter(|record| record["kind"] == "audit_intent")
        .map(|record| record["request_id"].as_str().unwrap().to_owned())
        .collect();
    for request in core.seen() {
        let id = request.header("x-request-id")[0].to_owned();
        assert!(intents.contains(&id), "{id} was forwarded without a record");
    }
    let audit = records.iter().find(|record| record["kind"] == "audit").unwrap();
    for (field, expected) in [
        ("version", serde_json::json!(1)),
        ("subject", "rosa".into()),
        ("organisation", ACME.into()),
        ("route", "/api/credential/v1".into()),
        ("decision", "forward".into()),
        ("upstream_status", 200.into()),
        ("status", 200.into()),
    ] {
        assert_eq!(audit[field], expected, "{audit}");
    }
}

#[tokio::test]
async fn ways_around_the_gateway_are_told() {
    let (issuer, core, other) =
        (Issuer::start().await, Recorder::start("").await, Recorder::start("").await);
    let perimeter = format!("{LOOPBACK}, probe: ['http://{}/health']", other.address);
    let gateway = start(&issuer, &core, "mode: UNSAFE_NONE", DEBUG, &perimeter).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gateway.metrics().await.contains("portcullis_perimeter_breaches{way=\"probe\"} 1") {
        assert!(Instant::now() < deadline, "{}", gateway.metrics().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gateway.metrics().await.contains("portcullis_perimeter_breaches{way=\"listener\"} 0"));
    assert!(gateway.output().contains("perimeter.probe says that nobody may get an answer"));
}

#[tokio::test]
async fn it_does_not_start_and_says_each_reason() {
    let place = Place::new();
    let file = place.0.join("gateway.yaml");
    let core = "core: { servers: ['core.example.com:3000'], auth: { mode: UNSAFE_NONE } }";
    fs::write(
        &file,
        format!(
            "public_url: https://desk.example.com
listeners: [ {{ address: '127.0.0.1:{}' }} ]
iam: {{ issuer: https://iam.example.com, audience: one }}
upstreams: {{ {core} }}
routes: [ {{ path: /api/credential/v1, access: public, enforce: false, upstream: core }} ]
",
            free_port()
        ),
    )
    .unwrap();
    for command in ["run", "check"] {
        let mut gateway = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let output = gateway.args([command, "--config"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        for fault in [
            "upstreams.core.auth.mode: UNSAFE_NONE: whoever reaches this upstream",
            "upstreams.core.servers[0]: is plain HTTP to another machine",
            "routes[0].access: public takes in /api,",
            "routes[0].enforce: false lets every caller pass",
            "perimeter: is missing",
        ] {
            assert!(said.contains(fault), "{fault} is missing in {said}");
        }
        assert_eq!(said.lines().count(), 5, "{said}");
    }
}
