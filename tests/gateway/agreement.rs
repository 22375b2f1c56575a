//! `explain` and the server agree: thousands of random requests over keep-alive connections, and
//! for each the access record of the one beside the answer of the other.
//!
//! A failure prints its seed; `AGREEMENT_SEED=… cargo test agreement` does the same again.

mod world;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use axum::Router;
use portcullis::{
    config,
    explain::{Explainer, Explanation, Question},
    telemetry::record::Verdict,
    time::Timestamp,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use self::world::{Chance, World};
use crate::support::{
    ACME, Gateway, Issuer, OTHER, Settings,
    issuer::{AUDIENCE, now},
    listener,
};

const REQUESTS: usize = 10_000;
const CONNECTIONS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_and_the_server_agree_on_10_000_random_requests() {
    let seed = std::env::var("AGREEMENT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 32 | now());
    let issuer = Issuer::start().await;
    let (upstream, core) = listener().await;
    // A server that answers without reading a body may close the connection that it came on.
    let core_that_reads = Router::new().fallback(|_: axum::body::Bytes| async { "ok" });
    tokio::spawn(async move { axum::serve(upstream, core_that_reads).await });
    let settings =
        Settings { whole: Some(config(&issuer, core)), ..Settings::new(&issuer.url, core) };
    let gateway = Gateway::start(settings).await;
    let variable = |name: &str| {
        gateway.secrets.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    };
    let file = std::fs::read_to_string(gateway.file()).unwrap();
    let loaded = config::parse(&file, &gateway.file(), &variable).unwrap();
    let explainer = Explainer::new(&loaded).unwrap();
    explainer.fetch_keys().await.unwrap();

    let mut chance = Chance(seed);
    let world = World::new(
        &issuer,
        &gateway,
        loaded
            .config
            .routes
            .iter()
            .map(|route| {
                (
                    route.path.as_str().to_owned(),
                    route.methods.iter().map(|m| m.as_str().to_owned()).collect(),
                )
            })
            .collect(),
    );
    let questions: Vec<Question> = (0..REQUESTS).map(|_| world.question(&mut chance)).collect();

    let share = REQUESTS.div_ceil(CONNECTIONS);
    let clients =
        questions.chunks(share).map(|part| tokio::spawn(send(gateway.address, part.to_vec())));
    let mut answers = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        answers.extend(client.await.unwrap());
    }
    let records = records(&gateway, answers.len()).await;

    let mut kinds = HashMap::<String, usize>::new();
    for (question, (status, id)) in questions.iter().zip(&answers) {
        let now = Timestamp(now());
        let told = explainer.explain(question, now).await.unwrap();
        let kind = told.reason.map_or(told.decision.word(), |reason| reason.word());
        *kinds.entry(kind.to_owned()).or_default() += 1;
        let failed = || format!("AGREEMENT_SEED={seed}\n{question:?}\n{told:#?}");
        let record = records.get(id).unwrap_or_else(|| panic!("no record of {id}\n{}", failed()));
        if record["path"] == "" {
            // Pingora reads it no further, and so nobody knows what it was.
            assert_eq!(told.status, Some(*status), "{}\n{record:#}", failed());
            continue;
        }
        assert_eq!(facts(record, &told), told_facts(&told), "{}\n{record:#}", failed());
    }
    for kind in [
        "forward",
        "login",
        "own",
        "malformed_request",
        "ambiguous_path",
        "duplicate_header",
        "unknown_host",
        "no_route",
        "method_not_allowed",
        "credential_missing",
        "credential_invalid",
        "credential_expired",
        "session_expired",
        "origin_mismatch",
        "organisation_missing",
        "organisation_invalid",
        "organisation_mismatch",
        "role_missing",
        "permission_missing",
        "condition_failed",
        "body_too_large",
        "headers_too_large",
        "target_too_long",
    ] {
        assert!(kinds.contains_key(kind), "AGREEMENT_SEED={seed}: no {kind} among {kinds:?}");
    }
}

/// Sends each in turn and returns its status and the id of its record.
async fn send(address: SocketAddr, questions: Vec<Question>) -> Vec<(u16, String)> {
    let mut answers = Vec::with_capacity(questions.len());
    let mut connection: Option<TcpStream> = None;
    for question in questions {
        let bytes = bytes(&question);
        // A connection that was closed meanwhile has answered nothing yet.
        let answer = match &mut connection {
            Some(open) => exchange(open, &bytes, &question.method).await,
            None => None,
        };
        let (status, id, closes) = if let Some(answer) = answer {
            answer
        } else {
            let fresh = connection.insert(TcpStream::connect(address).await.unwrap());
            let answer = exchange(fresh, &bytes, &question.method).await;
            answer.unwrap_or_else(|| panic!("no answer to {question:?}"))
        };
        if closes {
            connection = None;
        }
        answers.push((status, id));
    }
    answers
}

/// Written apart from `explain`'s own writer, so that one mistake cannot hide in both.
fn bytes(question: &Question) -> Vec<u8> {
    let Question { method, target, host, headers, body, .. } = question;
    let mut lines = vec![format!("Host: {}", host.as_deref().unwrap()).into_bytes()];
    for (name, value) in headers {
        lines.push([name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
    }
    lines.extend(body.as_ref().map(|body| format!("Content-Length: {}", body.len()).into_bytes()));
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    bytes.extend(lines.join(&b"\r\n"[..]));
    bytes.extend(b"\r\n\r\n");
    bytes.extend(body.as_deref().unwrap_or_default());
    bytes
}

/// Status, request id, and whether the connection is over; `None` when nothing came.
async fn exchange(
    stream: &mut TcpStream,
    bytes: &[u8],
    method: &str,
) -> Option<(u16, String, bool)> {
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut answer));
        if !read.await.unwrap().is_ok_and(|read| read > 0) {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
    };
    let length = field("content-length").map_or(0, |length| length.parse().unwrap());
    let whole = if method == "HEAD" { end } else { end + length };
    while answer.len() < whole {
        if !stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {
            break;
        }
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let closes = field("connection").is_some_and(|word| word == "close");
    Some((status, field("x-request-id").unwrap_or_default(), closes))
}

/// The access records by their id, once they are all written.
async fn records(gateway: &Gateway, count: usize) -> HashMap<String, Value> {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let output = gateway.output();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let access = lines.filter(|line| line["kind"] == "access");
        let records: HashMap<String, Value> =
            access.map(|line| (line["request_id"].as_str().unwrap().to_owned(), line)).collect();
        if records.len() >= count || std::time::Instant::now() > deadline {
            return records;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What both know, as they write it.
fn facts(record: &Value, told: &Explanation) -> Value {
    let own = told.decision == Verdict::Own;
    let status = if own && told.status.is_none() { Value::Null } else { record["status"].clone() };
    // What one of our own endpoints says to a request is not explained, only that it does.
    if own && told.status.is_none() {
        return json!({ "route": record["route"] });
    }
    json!({
        "decision": record["decision"], "status": status, "reason": record["reason"],
        "route": record["route"], "upstream": record["upstream"],
        "organisation": record["organisation"], "subject": record["subject"],
        "credential": record["credential"],
        "would_refuse": record.get("would_refuse").cloned().unwrap_or(Value::Null),
    })
}

fn told_facts(told: &Explanation) -> Value {
    if told.decision == Verdict::Own && told.status.is_none() {
        return json!({ "route": told.route });
    }
    let mut told = serde_json::to_value(told).unwrap();
    let told = told.as_object_mut().unwrap();
    told.remove("steps");
    told.entry("would_refuse").or_insert(Value::Null);
    Value::Object(std::mem::take(told))
}

fn config(issuer: &Issuer, core: SocketAddr) -> String {
    let routes = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/core-1.74.2-routes.yaml");
    format!(
        "public_url: http://localhost:PORT
hosts: [localhost, gateway.test]
listeners: [ {{ address: '127.0.0.1:PORT' }} ]
admin: {{ address: '127.0.0.1:ADMIN' }}
iam:
  issuer: {issuer}
  audience: {AUDIENCE}
  client: {{ id: desk, secret: {{ env: TEST_CLIENT_SECRET }} }}
session: {{ keys: [ {{ env: TEST_SESSION_KEY }} ] }}
sts: {{ issuer: {{ iss: 'http://localhost:PORT', keys: [ {{ env: TEST_STS_KEY }} ] }} }}
system_roles: {{ all: ['*'], issuer: [CREDENTIAL_*, DID_*], reader: [CREDENTIAL_LIST] }}
organisations: {{ {ACME}: {{ name: Acme }}, {OTHER}: {{ name: Other }} }}
iam_roles:
  admin: {{ {ACME}: [all] }}
  issuer: {{ {ACME}: [issuer] }}
  reader: {{ {ACME}: [reader] }}
  both: {{ {ACME}: [all], {OTHER}: [issuer] }}
upstreams:
  core: {{ servers: ['{core}'], auth: {{ mode: STS, audience: one-core }} }}
  bff: {{ servers: ['{core}'], auth: {{ mode: IAM }} }}
include: ['{routes}']
routes:
  - {{ path: '/desk/{{*rest}}', accept: [session], upstream: bff }}
  - {{ path: '/any/{{id}}', accept: [session, iam, app], upstream: core }}
  - {{ path: '/mine/{{id}}', accept: [session, iam, app], organisation: [ {{ path: id }}, session, token ], permissions: [CREDENTIAL_LIST], upstream: core }}
  - {{ path: /headed, accept: [iam, app], organisation: {{ header: x-organisation }}, upstream: core }}
  - {{ path: '/trial/{{id}}', accept: [session, iam], permissions: {{ all: [CREDENTIAL_ISSUE, DID_LIST] }}, organisation: {{ query: organisationId, inject: true }}, enforce: false, upstream: core }}
  - {{ path: /roles, accept: [session, iam], roles: [issuer, admin], upstream: bff }}
  - {{ path: /night, accept: [iam, app], condition: 'request.method == \"GET\" && subject != \"bob\"', upstream: core }}
  - {{ path: /small, accept: [iam], limits: {{ body: 100B }}, upstream: bff }}
  - {{ path: /only, hosts: [gateway.test], access: public, upstream: core }}
logs: {{ format: json, level: warn, audit: off }}
",
        issuer = issuer.url,
    )
}
