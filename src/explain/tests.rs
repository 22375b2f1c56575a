use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::*;
use crate::config;

const NOW: Timestamp = Timestamp(1_800_000_000);
const ACME: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const OTHER: &str = "7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";

const CONFIG: &str = "
public_url: http://localhost:8080
hosts: [localhost, gateway.test]
listeners: [ { address: '127.0.0.1:8080' } ]
iam:
  issuer: http://127.0.0.1:9
  audience: platform
  algorithms: [RS256]
  roles: /realm_access/roles
  client: { id: desk, secret: { env: SECRET } }
session: { keys: [ { env: SESSION } ] }
sts: { issuer: { iss: http://localhost:8080, keys: [ { env: STS } ] } }
system_roles: { issuer: [CREDENTIAL_ISSUE, CREDENTIAL_LIST], reader: [CREDENTIAL_LIST] }
organisations:
  6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { name: Acme }
  7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { name: Other }
iam_roles:
  admin: { '*': [issuer] }
  reader: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: [reader] }
upstreams:
  core: { servers: ['127.0.0.1:9'], auth: { mode: STS, audience: one-core } }
  bff: { servers: ['127.0.0.1:9'], auth: { mode: IAM } }
routes:
  - { path: '/ssi/{*rest}', access: public, upstream: core }
  - { path: /api/did/v1, methods: [GET], accept: [session, iam, app], permissions: [CREDENTIAL_LIST], organisation: { query: organisationId }, upstream: core }
  - { path: /api/did/v1, methods: [POST], accept: [iam], permissions: [CREDENTIAL_ISSUE], organisation: { body: /organisationId }, limits: { body: 100B }, upstream: core }
  - { path: /api/trial/v1, accept: [iam], permissions: [CREDENTIAL_ISSUE], enforce: false, upstream: core }
  - { path: /api/night/v1, accept: [iam], condition: 'claims.shift == \"night\"', upstream: core }
  - { path: '/desk/{*rest}', accept: [session], upstream: bff }
";

fn explainer() -> Explainer {
    // Installed by whichever test is first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = crate::sts::issuer::generate().unwrap();
    let variable = |name: &str| match name {
        "SESSION" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        "STS" => Some(secrecy::ExposeSecret::expose_secret(&key).to_owned()),
        "SECRET" => Some("a-secret-of-the-test".to_owned()),
        _ => None,
    };
    let loaded = config::parse(CONFIG, std::path::Path::new("gateway.yaml"), &variable).unwrap();
    Explainer::new(&loaded).unwrap()
}

fn object(claims: Value) -> Map<String, Value> {
    let Value::Object(claims) = claims else { panic!("no object") };
    claims
}

fn with_role(role: &str) -> Who {
    iam(json!({ "sub": "alice", "realm_access": { "roles": [role] } }))
}

fn iam(claims: Value) -> Who {
    Who::Claims { kind: Kind::Iam, claims: object(claims) }
}

fn app(claims: Value) -> Who {
    Who::Claims { kind: Kind::App, claims: object(claims) }
}

fn ask(method: &str, target: &str, who: Who) -> Question {
    Question { method: method.into(), target: target.into(), who, ..Question::default() }
}

fn header(mut question: Question, name: &str, value: &str) -> Question {
    question.headers.push((name.parse().unwrap(), value.parse().unwrap()));
    question
}

async fn answer(question: &Question) -> Explanation {
    explainer().explain(question, NOW).await.unwrap()
}

/// Decision, status, reason.
fn outcome(found: &Explanation) -> (&'static str, u16, &'static str) {
    (found.decision.word(), found.status.unwrap_or(0), found.reason.map_or("", Reason::word))
}

/// The step with the last word, which has to be the only one that is not passed or skipped.
fn last_word(found: &Explanation) -> &'static str {
    let ends = |verdict| !matches!(verdict, StepVerdict::Pass | StepVerdict::Skip);
    let mut ending = found.steps.iter().filter(|step| ends(step.verdict));
    let word = ending.next().map_or("", |step| step.step);
    assert_eq!(ending.count(), 0, "{found:#?}");
    word
}

#[tokio::test]
async fn every_step_has_its_refusals() {
    let explainer = explainer();
    let named = |organisation: &str| format!("/api/did/v1?organisationId={organisation}");
    let mut body = ask("POST", "/api/did/v1", with_role("admin"));
    body.body = Some(Bytes::from(format!("{{\"organisationId\": \"{ACME}\"}}")));
    let json = header(body.clone(), "content-type", "application/json");
    let mut large = json.clone();
    large.body = Some(Bytes::from("x".repeat(101)));
    let mut unknown = ask("GET", "/api/did/v1", Who::Nobody);
    unknown.host = Some("elsewhere.test".into());
    let expired = iam(json!({ "sub": "alice", "exp": NOW.0 - 61 }));
    let foreign = iam(json!({ "sub": "alice", "aud": "another" }));
    let held = |list: &[&str]| json!({ "organisationId": ACME, "permissions": list });
    for (question, step, expected) in [
        (unknown, "view", ("refuse", 421, "unknown_host")),
        (ask("GET", "/api//did", Who::Nobody), "view", ("refuse", 400, "ambiguous_path")),
        (ask("GET", "nowhere", Who::Nobody), "view", ("refuse", 400, "malformed_request")),
        (ask("CONNECT", "/", Who::Nobody), "view", ("refuse", 405, "method_not_allowed")),
        (
            header(ask("GET", "/api/did/v1", with_role("admin")), "authorization", "Bearer x"),
            "view",
            ("refuse", 400, "duplicate_header"),
        ),
        (ask("GET", "/.portcullis/login", Who::Nobody), "own_endpoint", ("own", 0, "")),
        (ask("GET", "/.well-known/jwks.json", Who::Nobody), "own_endpoint", ("own", 200, "")),
        (
            ask("POST", "/.well-known/jwks.json", Who::Nobody),
            "own_endpoint",
            ("refuse", 405, "method_not_allowed"),
        ),
        (ask("GET", "/api/nothing", Who::Nobody), "route", ("refuse", 404, "no_route")),
        (ask("PUT", "/api/did/v1", Who::Nobody), "route", ("refuse", 405, "method_not_allowed")),
        (
            ask("GET", "/api/did/v1", Who::Nobody),
            "authentication",
            ("refuse", 401, "credential_missing"),
        ),
        (
            ask("GET", "/api/did/v1", expired),
            "authentication",
            ("refuse", 401, "credential_expired"),
        ),
        (
            ask("GET", "/api/did/v1", foreign),
            "authentication",
            ("refuse", 401, "credential_invalid"),
        ),
        (
            ask("GET", "/desk/page", with_role("admin")),
            "authentication",
            ("refuse", 401, "credential_invalid"),
        ),
        (
            header(ask("GET", "/desk/page", Who::Nobody), "accept", "text/html"),
            "authentication",
            ("login", 302, ""),
        ),
        (
            ask("GET", &named("x"), with_role("admin")),
            "organisation",
            ("refuse", 400, "organisation_invalid"),
        ),
        (
            ask("GET", &named(OTHER), with_role("reader")),
            "organisation",
            ("refuse", 403, "organisation_mismatch"),
        ),
        (
            ask("GET", "/api/did/v1", with_role("admin")),
            "organisation",
            ("refuse", 400, "organisation_missing"),
        ),
        (
            ask("GET", "/api/did/v1", app(held(&["DID_LIST"]))),
            "policy",
            ("refuse", 403, "permission_missing"),
        ),
        (body, "organisation", ("refuse", 400, "organisation_invalid")),
        (large, "organisation", ("refuse", 413, "body_too_large")),
        (json, "", ("forward", 200, "")),
        (
            ask("GET", "/api/night/v1", with_role("admin")),
            "policy",
            ("refuse", 403, "condition_failed"),
        ),
        (ask("GET", "/api/did/v1", app(held(&["CREDENTIAL_LIST"]))), "", ("forward", 200, "")),
        (ask("GET", "/ssi/offer", with_role("admin")), "", ("forward", 200, "")),
        (ask("GET", &named(ACME), with_role("reader")), "", ("forward", 200, "")),
    ] {
        let found = explainer.explain(&question, NOW).await.unwrap();
        assert_eq!(
            (outcome(&found), last_word(&found)),
            (expected, step),
            "{question:?}\n{found:#?}"
        );
    }
}

#[tokio::test]
async fn what_is_forwarded_is_told_in_full() {
    let found = answer(&ask("GET", "/api/did/v1", with_role("reader"))).await;
    let found = serde_json::to_value(found).unwrap();
    let keys: Vec<_> = found.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "decision",
        "status",
        "reason",
        "route",
        "upstream",
        "credential",
        "organisation",
        "subject",
        "steps",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    for (key, value) in [
        ("route", "/api/did/v1"),
        ("upstream", "core"),
        ("credential", "app"),
        ("organisation", ACME),
        ("subject", "alice"),
    ] {
        assert_eq!(found[key], value);
    }
    assert!(found["reason"].is_null());
    let steps = found["steps"].as_array().unwrap();
    let words: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(words, Step::ALL.map(Step::word));
    assert!(steps.iter().all(|step| step["verdict"] == "pass"), "{steps:#?}");
    let detail = |at: usize| steps[at]["detail"].as_str().unwrap();
    assert!(detail(3).contains("alice by an IAM token of http://127.0.0.1:9, roles: reader"));
    assert!(detail(5).contains("needs any of CREDENTIAL_LIST; the caller holds CREDENTIAL_LIST"));
}

#[tokio::test]
async fn a_session_takes_the_way_of_a_cookie() {
    let session =
        |claims: Value, organisation| Who::Session { claims: object(claims), organisation };
    let roles = json!({ "sub": "alice", "realm_access": { "roles": ["admin"] } });
    let found = answer(&ask("GET", "/desk/page", session(roles.clone(), None))).await;
    assert_eq!(outcome(&found), ("forward", 200, ""), "{found:#?}");
    assert_eq!(found.credential, Some("iam"));
    let chosen = Organisation::parse(OTHER);
    let found = answer(&ask("GET", "/api/did/v1", session(roles.clone(), chosen))).await;
    assert_eq!((outcome(&found), found.organisation), (("forward", 200, ""), chosen));
    let by_script = ask("POST", "/desk/page", session(roles.clone(), None));
    let by_script = header(by_script, "origin", "http://evil.test");
    assert_eq!(outcome(&answer(&by_script).await), ("refuse", 403, "origin_mismatch"));
    let over = json!({ "sub": "alice", "exp": NOW.0 - 10 });
    let found = answer(&ask("GET", "/desk/page", session(over, None))).await;
    assert_eq!(outcome(&found), ("refuse", 401, "session_expired"), "{found:#?}");
    let nobody = ask("GET", "/desk/page", session(json!({ "sub": 5 }), None));
    let why = explainer().explain(&nobody, NOW).await.unwrap_err().to_string();
    assert!(why.contains("subject"), "{why}");
}

#[tokio::test]
async fn a_route_on_trial_says_what_would_refuse() {
    let found = answer(&ask("GET", "/api/trial/v1", with_role("reader"))).await;
    assert_eq!(outcome(&found), ("forward", 200, ""));
    assert_eq!(found.would_refuse, Some(Reason::PermissionMissing));
    let policy = &found.steps[5];
    assert_eq!((policy.step, policy.verdict), ("policy", StepVerdict::WouldRefuse));
}

/// The vouching key counts for described callers and for nobody else.
#[tokio::test]
async fn what_serves_believes_no_claims() {
    let explainer = explainer();
    let claims = object(json!({ "sub": "alice", "realm_access": { "roles": ["admin"] } }));
    let token = explainer.voucher.token(Kind::Iam, &claims, None, NOW).unwrap();
    explainer.explain(&ask("GET", "/api/did/v1", with_role("reader")), NOW).await.unwrap();
    let accept = crate::authentication::Accepted { iam: true, app: Some("one-core") };
    let [vouching, serving] = [&explainer.vouching, &explainer.serving.state];
    assert!(vouching.authenticator.bearer(&token, accept, NOW).await.is_ok());
    let refused = serving.authenticator.bearer(&token, accept, NOW).await.unwrap_err();
    // Nobody listens at the issuer's address.
    assert_eq!(refused.reason, Reason::IamUnavailable);
}

#[tokio::test]
async fn a_question_that_is_two_requests_is_none() {
    for (method, target) in [("GET", "/a\r\nx: y"), ("G T", "/a"), ("GET\n", "/a"), ("", "/a")] {
        let question = ask(method, target, Who::Nobody);
        assert!(explainer().explain(&question, NOW).await.is_err(), "{method:?} {target:?}");
    }
}
