//! The watch over a running upstream's OpenAPI document: it tells once, and changes nothing.

use std::{
    process::Output,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{ACME, Gateway, Issuer, gateway::client, gateway::secrets, listener};

const BEFORE: &str = r#"{
  "openapi": "3.1.0", "info": { "title": "Core", "version": "1.0.0" },
  "paths": {
    "/api/key/v1": { "get": { "x-permissions": ["KEY_LIST"] } },
    "/ssi/offer/v1/{id}": { "get": {} }
  } }"#;

/// A Core whose document a test changes; every other path answers `ok`.
#[derive(Clone)]
struct Core {
    answer: Arc<Mutex<(StatusCode, String)>>,
}

impl Core {
    async fn start() -> (Self, std::net::SocketAddr) {
        let (listener, address) = listener().await;
        let core = Self { answer: Arc::new(Mutex::new((StatusCode::OK, BEFORE.to_owned()))) };
        let shared = core.clone();
        let document = move || async move { shared.answer.lock().unwrap().clone().into_response() };
        let routes = Router::new()
            .route("/api-docs/openapi.json", get(document))
            .fallback(|| async { "ok" });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (core, address)
    }

    fn answers(&self, status: StatusCode, document: &str) {
        *self.answer.lock().unwrap() = (status, document.to_owned());
    }
}

async fn gateway(issuer: &Issuer, core: std::net::SocketAddr) -> Gateway {
    Gateway::of(|port, admin| {
        format!(
            "public_url: http://localhost:{port}
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}' }}
iam: {{ issuer: '{}', audience: procivis-one-platform }}
sts: {{ issuer: {{ iss: 'http://localhost:{port}', keys: [ {{ env: TEST_STS_KEY }} ] }} }}
system_roles: {{ reader: [KEY_LIST] }}
organisations: {{ {ACME}: {{ name: Acme }} }}
iam_roles: {{ reader: {{ {ACME}: [reader] }} }}
upstreams:
  core:
    servers: ['{core}']
    auth: {{ mode: STS, audience: one-core }}
    openapi: {{ url: 'http://{core}/api-docs/openapi.json', interval: 50ms }}
routes:
  - {{ path: /api/key/v1, methods: [GET], accept: [iam], permissions: [KEY_LIST], upstream: core }}
  - {{ path: '/ssi/{{*rest}}', access: public, upstream: core }}
logs: {{ format: json }}
",
            issuer.url
        )
    })
    .await
}

/// Messages of the watch, with their levels.
fn told(gateway: &Gateway) -> Vec<String> {
    let output = gateway.output();
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = lines.filter(|line| line["target"] == "portcullis::watch");
    ours.map(|line| {
        assert_eq!(line["upstream"], "core");
        format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap())
    })
    .collect()
}

/// Waits until so many lines are told.
async fn wait(gateway: &Gateway, lines: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = told(gateway);
        if told.len() >= lines {
            return told;
        }
        assert!(Instant::now() < deadline, "{told:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn gauge(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn diff(gateway: &Gateway, core: std::net::SocketAddr) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "diff", "--config"])
        .arg(gateway.file())
        .args(["--from", &format!("http://{core}/api-docs/openapi.json")])
        .envs(secrets())
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_document_that_changes_is_told_once_and_changes_no_route() {
    const PERMISSIONS: &str = "portcullis_policy_drift{kind=\"permissions\",upstream=\"core\"}";
    const NO_ROUTE: &str = "portcullis_policy_drift{kind=\"no_route\",upstream=\"core\"}";
    const CHECKED: &str = "portcullis_policy_drift_checked_timestamp_seconds{upstream=\"core\"}";
    let issuer = Issuer::start().await;
    let (core, address) = Core::start().await;
    let gateway = gateway(&issuer, address).await;
    assert_eq!(wait(&gateway, 1).await, ["info routes agree with Core 1.0.0"]);
    let metrics = gateway.metrics().await;
    assert_eq!((gauge(&metrics, PERMISSIONS), gauge(&metrics, NO_ROUTE)), (Some(0.0), Some(0.0)));
    let first = gauge(&metrics, CHECKED).unwrap();
    assert!(first > 1e9, "{metrics}");

    // The running Core lets everybody read keys, asks for more, and has an operation of its own.
    let after = BEFORE
        .replace("1.0.0", "1.1.0")
        .replace("\"KEY_LIST\"", "\"KEY_LIST\", \"KEY_DETAIL\"")
        .replace("\"paths\": {", "\"paths\": { \"/api/new/v1\": { \"post\": {} },");
    core.answers(StatusCode::OK, &after);
    let drift = wait(&gateway, 4).await;
    assert!(
        drift[1].starts_with(
            "warn policy drift: GET /api/key/v1: the rule asks for any of KEY_LIST, the document \
             for any of KEY_DETAIL, KEY_LIST ("
        ) && drift[1].contains("gateway.yaml:"),
        "{drift:#?}"
    );
    assert_eq!(
        drift[2..],
        [
            "warn policy drift: POST /api/new/v1: no route leads to this operation",
            "warn 2 differences between routes and Core 1.1.0; nothing was changed, `portcullis \
             policy diff` tells all",
        ]
    );
    let metrics = gateway.metrics().await;
    assert_eq!((gauge(&metrics, PERMISSIONS), gauge(&metrics, NO_ROUTE)), (Some(1.0), Some(1.0)));
    // The command says the same of the running upstream.
    let output = diff(&gateway, address).await;
    assert_eq!(output.status.code(), Some(1));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = lines.lines().map(|line| format!("warn policy drift: {line}")).collect();
    assert_eq!(lines, drift[1..3]);

    // What is served is what the operator wrote.
    let ask = |path: &str| {
        let token = issuer.token("alice", "reader");
        let request = client().get(gateway.url(path)).bearer_auth(token);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((ask("/api/key/v1").await, ask("/api/new/v1").await), (200, 404));

    // Unreadable: told once, the last findings stand, and requests are served on.
    core.answers(StatusCode::SERVICE_UNAVAILABLE, "later");
    let unread = wait(&gateway, 5).await;
    assert!(
        unread[4].starts_with("warn the OpenAPI document answers 503 Service Unavailable;"),
        "{unread:#?}"
    );
    assert_eq!(ask("/api/key/v1").await, 200);
    assert_eq!(gauge(&gateway.metrics().await, PERMISSIONS), Some(1.0));

    core.answers(StatusCode::OK, BEFORE);
    let told = wait(&gateway, 9).await;
    assert_eq!(told[5], "info the OpenAPI document is read: Core 1.0.0");
    assert!(told[6].starts_with("info policy drift is gone: GET /api/key/v1"), "{told:#?}");
    assert!(told[7].starts_with("info policy drift is gone: POST /api/new/v1"), "{told:#?}");
    assert_eq!(told[8..], ["info routes agree with Core 1.0.0"]);
    let metrics = gateway.metrics().await;
    assert_eq!((gauge(&metrics, PERMISSIONS), gauge(&metrics, NO_ROUTE)), (Some(0.0), Some(0.0)));
    assert!(gauge(&metrics, CHECKED).unwrap() >= first);
    assert_eq!(diff(&gateway, address).await.status.code(), Some(0));
}
