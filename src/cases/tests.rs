use std::path::Path;

use serde_json::json;

use super::*;
use crate::{
    config,
    explain::{Kind, Who},
};

const NOW: Timestamp = Timestamp(1_800_000_000);

pub(super) const CONFIG: &str = "
public_url: http://localhost:8080
hosts: [localhost, gateway.test]
listeners: [ { address: '127.0.0.1:8080' } ]
iam:
  issuer: http://127.0.0.1:9
  audience: platform
  roles: /realm_access/roles
  client: { id: desk }
session: { keys: [ { env: SESSION } ] }
sts: { issuer: { iss: http://localhost:8080, keys: [ { env: STS } ] } }
system_roles: { issuer: [DID_LIST, DID_CREATE], reader: [DID_LIST] }
organisations:
  6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { name: Acme }
  7b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: { name: Other }
iam_roles:
  both: { '*': [issuer] }
  reader: { 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11: [reader] }
upstreams:
  core: { servers: ['127.0.0.1:9'], auth: { mode: STS, audience: one-core } }
  bff: { servers: ['127.0.0.1:9'], auth: { mode: IAM } }
routes:
  - { path: '/ssi/{*rest}', access: public, upstream: core }
  - { path: /api/did/v1, methods: [GET], accept: [session, iam, app], permissions: [DID_LIST, DID_RESOLVE], organisation: { query: organisationId }, upstream: core }
  - { path: /api/did/v1, methods: [POST], accept: [iam, app], permissions: [DID_CREATE], organisation: { body: /organisationId }, upstream: core }
  - { path: '/api/did/v1/{id}', methods: [GET], permissions: { all: [DID_DETAIL, DID_LIST] }, upstream: core }
  - { path: '/desk/{*rest}', accept: [session], upstream: bff }
";

pub(super) fn world() -> (Loaded, Explainer) {
    // Installed by whichever test is first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = crate::sts::issuer::generate().unwrap();
    let variable = |name: &str| match name {
        "SESSION" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        "STS" => Some(secrecy::ExposeSecret::expose_secret(&key).to_owned()),
        _ => None,
    };
    let loaded = config::parse(CONFIG, Path::new("gateway.yaml"), &variable).unwrap();
    let explainer = Explainer::new(&loaded).unwrap();
    (loaded, explainer)
}

fn read_all(text: &str, loaded: &Loaded) -> Vec<Case> {
    let mut faults = Faults::default();
    let cases = read("c.yaml", text, &loaded.config, &mut faults);
    assert!(faults.is_empty(), "{faults}");
    cases
}

pub(super) async fn outcomes(text: &str) -> Outcomes {
    let (loaded, explainer) = world();
    let explainer = Box::new(explainer);
    Box::pin(run(read_all(text, &loaded), &loaded, &explainer, NOW)).await.unwrap()
}

#[test]
fn every_fault_of_a_file_is_told_in_one_run() {
    let (loaded, _) = world();
    let text = "\
callers:
  nobody: {}
  alice: { role: [both] }
  batch: { by: app, roles: [both], permissions: [DID-LIST] }
  carol: { roles: [both], claims: { realm_access: { roles: [] } } }
  dan: { permissions: [DID_LIST], organisation: 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11, actor: x }
cases:
  - { who: alise, request: GET /a, expect: forwrad }
  - { request: /a, expect: { decision: forward, reason: no_route } }
  - { request: GET /a, headers: { 'a b': c, host: d, e: [f, \"g\\a\"] }, expects: forward }
  - { request: GET /a, client: here, expect: { reason: no_route, status: 403 } }
  - { request: GET /a, expect: { status: 403, credential: apps } }
  - [GET /a]
";
    let mut faults = Faults::default();
    assert!(read("c.yaml", text, &loaded.config, &mut faults).is_empty());
    let told = faults.sorted().to_string();
    let expected = "\
c.yaml:2:3: callers.nobody: is the name of whoever brings no credential
c.yaml:3:12: callers.alice.role: unknown key; did you mean `roles`?
c.yaml:4:28: callers.batch.roles: an app token carries permissions and no roles
c.yaml:4:50: callers.batch.permissions: `DID-LIST` is no permission
c.yaml:5:19: callers.carol.roles: stands in claims as well, at /realm_access/roles
c.yaml:6:23: callers.dan.permissions: go with `by: app`; else they come from roles
c.yaml:6:49: callers.dan.organisation: an IAM token has none; the request names it, or `by: session` has chosen it
c.yaml:6:94: callers.dan.actor: goes with `by: app`
c.yaml:8:12: cases[0].who: `alise` is none of callers; did you mean `alice`?
c.yaml:8:44: cases[0].expect: `forwrad` is no decision and no reason; did you mean `forward`?
c.yaml:9:16: cases[1].request: `/a` is not a method and a path, such as GET /api/credential/v1?page=0
c.yaml:9:57: cases[1].expect.reason: goes with the decision refuse
c.yaml:10:5: cases[2].expect: is missing
c.yaml:10:35: cases[2].headers[\"a b\"]: is not the name of a header
c.yaml:10:45: cases[2].headers.host: is a key of its own: host
c.yaml:10:61: cases[2].headers.e: is not the value of a header
c.yaml:10:71: cases[2].expects: unknown key; did you mean `expect`?
c.yaml:11:32: cases[3].client: `here` is not an IP address
c.yaml:11:74: cases[3].expect.status: can only be 404 for no_route
c.yaml:12:32: cases[4].expect.decision: is missing: forward, login or refuse
c.yaml:12:59: cases[4].expect.credential: `apps` is no credential; did you mean `app`?
c.yaml:13:5: cases[5]: must be a mapping with name, who, request, host, headers, body, client, expect, found a list";
    assert_eq!(told, expected, "\n{told}\n");
}

#[test]
fn a_caller_is_a_credential_of_its_kind() {
    let (loaded, _) = world();
    let cases = read_all(
        "
callers: { alice: { roles: [both] } }
cases:
  - { who: alice, request: GET /a, expect: no_route }
  - { who: { by: app, subject: s, organisation: 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11,
             permissions: [DID_LIST], actor: bridge }, request: GET /a, expect: no_route }
  - { who: { by: session, claims: { sub: t, exp: 1 } }, request: GET /a, expect: no_route }
  - { request: POST /a?b=c, body: { n: 1, o: [null, 'x'] }, expect: no_route }
  - { request: POST /a, body: '{}', expect: no_route }
",
        &loaded,
    );
    let claims = |at: usize| match &cases[at].question.who {
        Who::Claims { kind, claims } => (Some(*kind), json!(claims)),
        Who::Session { claims, organisation: None } => (None, json!(claims)),
        other => panic!("{other:?}"),
    };
    let alice = json!({ "sub": "alice", "realm_access": { "roles": ["both"] } });
    assert_eq!(claims(0), (Some(Kind::Iam), alice));
    let service = json!({
        "sub": "s",
        "organisationId": "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11",
        "permissions": ["DID_LIST"],
        "act": { "sub": "bridge" },
    });
    assert_eq!(claims(1), (Some(Kind::App), service));
    assert_eq!(claims(2), (None, json!({ "sub": "t", "exp": 1 })));
    let [json, text] = [3, 4].map(|at| &cases[at].question);
    assert_eq!(json.body.as_deref(), Some(&br#"{"n":1,"o":[null,"x"]}"#[..]));
    assert_eq!((json.headers.len(), text.headers.len()), (1, 0), "text is of no known type");
    assert_eq!((&*cases[3].name, cases[3].place.line), ("POST /a?b=c", 8));
}

#[tokio::test]
async fn what_is_not_as_expected_is_told_and_the_rest_is_not() {
    let found = outcomes(
        "
- who: { roles: [reader], subject: bob }
  request: GET /api/did/v1
  expect: { decision: forward, status: 200, route: /api/did/v1, upstream: core, credential: app,
            organisation: 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11, subject: bob, would_refuse: null }
- who: { roles: [reader], subject: bob }
  request: GET /api/did/v1
  expect: { decision: refuse, reason: permission_missing, status: 403, route: null, upstream: bff,
            credential: null, organisation: null, subject: carol, would_refuse: role_missing }
- { who: { roles: [reader] }, request: POST /api/did/v1, body: {}, expect: forward }
",
    )
    .await;
    let counts: Vec<_> = found.outcomes.iter().map(|each| each.differences.len()).collect();
    assert_eq!(counts, [0, 9, 1]);
    let text = report::text(&found);
    assert!(
        text.starts_with(
            "c.yaml:6: GET /api/did/v1: expected decision refuse, status 403, reason \
             permission_missing, organisation none, would_refuse role_missing, route none, \
             upstream bff, subject carol, credential none, got decision forward, status 200, \
             reason none, organisation 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11, would_refuse none, \
             route /api/did/v1, upstream core, subject bob, credential app\n    view           pass"
        ),
        "{text}"
    );
    assert!(text.contains("    policy         refuse       needs any of DID_CREATE; "), "{text}");
    assert!(text.contains("\n3 cases, 2 failed\n"), "{text}");
}

#[tokio::test]
async fn a_case_touches_the_route_that_decides_it_and_the_permissions_that_count() {
    let untouched = async |cases: &str| {
        let found = Box::pin(outcomes(cases)).await;
        let routes: Vec<_> = found.coverage.routes().untouched.iter().map(|r| r.line).collect();
        let permissions = found.coverage.permissions().untouched.join(" ");
        (routes, permissions)
    };
    let all = "DID_CREATE DID_DETAIL DID_LIST DID_RESOLVE".to_owned();
    let nothing = untouched("- { request: GET /nowhere, expect: no_route }").await;
    assert_eq!(nothing, (vec![23, 24, 25, 26, 27], all.clone()));
    // Decided before any permission counts.
    let early = untouched("- { request: GET /api/did/v1, expect: credential_missing }").await;
    assert_eq!(early, (vec![23, 25, 26, 27], all.clone()));
    // Forwarded with one of two, whatever else the caller holds.
    let with =
        untouched("- { who: { roles: [reader] }, request: GET /api/did/v1, expect: forward }");
    assert_eq!(with.await, (vec![23, 25, 26, 27], "DID_CREATE DID_DETAIL DID_RESOLVE".to_owned()));
    // Refused for the lack of all that the route names.
    let lack =
        "- { who: { roles: [reader] }, request: GET /api/did/v1/1, expect: permission_missing }";
    assert_eq!(untouched(lack).await, (vec![23, 24, 25, 27], "DID_CREATE DID_RESOLVE".to_owned()));
}

#[tokio::test]
async fn a_caller_who_cannot_exist_is_a_fault_at_its_case() {
    let (loaded, explainer) = world();
    let text = "- { request: GET /a, expect: no_route }
- { who: { by: session, claims: { sub: 5 } }, request: GET /a, expect: no_route }
";
    let faults = run(read_all(text, &loaded), &loaded, &explainer, NOW).await.unwrap_err();
    assert!(faults.to_string().starts_with("c.yaml:2:3: cases[1]: "), "{faults}");
}

#[tokio::test]
async fn for_machines_it_is_one_object() {
    let found = outcomes(
        "- { name: one, request: GET /ssi/a, expect: forward }
- { name: two, request: GET /ssi/a, expect: login }
",
    )
    .await;
    let report: serde_json::Value = serde_json::from_str(&report::json(&found).unwrap()).unwrap();
    assert_eq!((&report["total"], &report["failed"]), (&json!(2), &json!(1)));
    let passed = json!({ "file": "c.yaml", "line": 1, "name": "one", "passed": true });
    assert_eq!(report["cases"][0], passed);
    let failed = &report["cases"][1];
    let difference = json!({ "what": "decision", "expected": "login", "got": "forward" });
    assert_eq!((&failed["line"], &failed["differences"][0]), (&json!(2), &difference));
    assert_eq!(failed["explanation"]["route"], "/ssi/{*rest}");
    assert_eq!(report["routes"]["touched"], 1);
    assert_eq!(report["routes"]["untouched"][0]["methods"], json!(["GET"]));
    assert_eq!(report["permissions"]["untouched"].as_array().unwrap().len(), 4);
}
