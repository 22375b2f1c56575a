//! Whose a resource is, asked of a Core that checks nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{ACME, Gateway, Issuer, OTHER, gateway::client, listener, reason};

const TOKEN: &str = "static-token-of-this-test";

/// A Core that knows resources, and writes down what it was asked.
#[derive(Default)]
pub(crate) struct Core {
    pub(crate) owners: Mutex<BTreeMap<Uuid, String>>,
    asked: Mutex<Vec<String>>,
    delay: Mutex<Duration>,
    /// In place of the truth.
    lie: Mutex<Option<(u16, String)>>,
}

impl Core {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn lies(&self, status: u16, body: &str) {
        *self.lie.lock().unwrap() = Some((status, body.to_owned()));
    }

    fn of(&self, organisation: &str) -> Uuid {
        let id = Uuid::new_v4();
        self.owners.lock().unwrap().insert(id, organisation.to_owned());
        id
    }
}

async fn answer(State(core): State<Arc<Core>>, request: Request) -> Response {
    let token = request.headers().get("authorization").map(|it| it.to_str().unwrap().to_owned());
    assert_eq!(token.unwrap(), format!("Bearer {TOKEN}"), "whoever asks shows the static token");
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let looked_up = request.headers().get("accept").is_some_and(|it| it == "application/json");
    core.asked.lock().unwrap().push(format!("{method} {path}"));
    if !looked_up {
        return "served".into_response();
    }
    let delay = *core.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    if let Some((status, body)) = core.lie.lock().unwrap().clone() {
        let status = StatusCode::from_u16(status).unwrap();
        return (status, [("location", "/elsewhere")], body).into_response();
    }
    let id = path.rsplit('/').next().and_then(|id| Uuid::try_parse(id).ok()).unwrap();
    match core.owners.lock().unwrap().get(&id) {
        Some(owner) => {
            let body = format!(
                r#"{{"id":"{id}","schema":{{"organisationId":"{owner}"}},"organisationId":"{owner}"}}"#
            );
            ([("content-type", "application/json")], body).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

struct World {
    issuer: Issuer,
    core: Arc<Core>,
    gateway: Gateway,
}

async fn world(cache: &str) -> World {
    let (issuer, core) = (Issuer::start().await, Arc::new(Core::default()));
    let (listener, address) = listener().await;
    let routes = axum::Router::new().fallback(any(answer)).with_state(Arc::clone(&core));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let gateway = Gateway::of(|port, admin| {
        format!(
            "public_url: http://localhost:{port}
listeners: [ {{ address: '127.0.0.1:{port}' }} ]
admin: {{ address: '127.0.0.1:{admin}' }}
iam: {{ issuer: '{}', audience: procivis-one-platform }}
allow_inline_secrets: true
system_roles:
  issuer: [CREDENTIAL_DETAIL, CREDENTIAL_ISSUE, CREDENTIAL_DELETE, KEY_LIST]
  reader: [CREDENTIAL_DETAIL]
organisations: {{ {ACME}: {{}}, {OTHER}: {{}} }}
iam_roles:
  admin: {{ {ACME}: [issuer] }}
  both: {{ {ACME}: [issuer], {OTHER}: [issuer] }}
  reader: {{ {ACME}: [reader] }}
upstreams:
  core:
    servers: ['{address}']
    auth: {{ mode: UNSAFE_STATIC, static_token: '{TOKEN}' }}
perimeter:
  acknowledge: [core]
  allow_clients: [127.0.0.0/8]
  organisation_lookup: {{ {cache} }}
logs: {{ format: json, level: debug }}
routes:
  - {{ path: '/api/credential/v1/{{id}}', methods: [GET], accept: [iam], permissions: [CREDENTIAL_DETAIL], organisation: {{ lookup: {{ path: '/api/credential/v1/{{id}}', pointer: /schema/organisationId }} }}, upstream: core }}
  - {{ path: '/api/credential/v1/{{id}}', methods: [DELETE], accept: [iam], permissions: [CREDENTIAL_DELETE], organisation: {{ lookup: {{ path: '/api/credential/v1/{{id}}', pointer: /schema/organisationId }} }}, upstream: core }}
  - path: /api/credential/v1
    methods: [POST]
    accept: [iam]
    permissions: [CREDENTIAL_ISSUE]
    organisation:
      - {{ lookup: {{ path: '/api/credential-schema/v1/{{/credentialSchemaId}}', pointer: /organisationId }} }}
      - {{ lookup: {{ path: '/api/key/v1/{{/keys/*}}', pointer: /organisationId }} }}
    upstream: core
",
            issuer.url
        )
    });
    World { gateway: gateway.await, issuer, core }
}

impl World {
    async fn get(&self, id: impl std::fmt::Display, role: &str) -> (u16, String) {
        let url = self.gateway.url(&format!("/api/credential/v1/{id}"));
        let token = self.issuer.token("alice", role);
        outcome(client().get(url).bearer_auth(token)).await
    }

    async fn post(&self, body: String, role: &str) -> (u16, String) {
        let token = self.issuer.token("alice", role);
        let post = client().post(self.gateway.url("/api/credential/v1")).bearer_auth(token);
        outcome(post.header("content-type", "application/json").body(body)).await
    }
}

async fn outcome(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap();
    (status, if status == 200 { body } else { reason(&body) })
}

fn refused(status: u16, why: &str) -> (u16, String) {
    (status, why.to_owned())
}

#[tokio::test]
async fn own_resources_are_served_and_others_do_not_exist() {
    let world = world("").await;
    let (mine, theirs) = (world.core.of(ACME), world.core.of(OTHER));
    assert_eq!(world.get(mine, "admin").await, (200, "served".to_owned()));
    let lookup = format!("GET /api/credential/v1/{mine}");
    assert_eq!(world.core.asked(), [lookup.clone(), lookup.clone()], "asked, then served");
    assert_eq!(world.get(mine, "reader").await.0, 200);
    assert_eq!(world.core.asked(), [lookup], "known by now, whoever asks");
    for id in [theirs, Uuid::new_v4()] {
        assert_eq!(world.get(id, "admin").await, refused(404, "no_route"), "{id}");
        assert_eq!(world.core.asked().len(), 1, "the look-up alone");
    }
    assert_eq!(world.get(theirs, "both").await.0, 200, "one of their organisations");
    // Whoever may do this nowhere learns nothing, and makes nobody work.
    world.core.asked();
    assert_eq!(world.get(Uuid::new_v4(), "nothing").await, refused(403, "role_missing"));
    let delete =
        client().delete(world.gateway.url(&format!("/api/credential/v1/{}", Uuid::new_v4())));
    let delete = delete.bearer_auth(world.issuer.token("rosa", "reader"));
    assert_eq!(outcome(delete).await, refused(403, "permission_missing"));
    let nobody = client().get(world.gateway.url(&format!("/api/credential/v1/{theirs}")));
    assert_eq!(outcome(nobody).await, refused(401, "credential_missing"));
    assert!(world.core.asked().is_empty());
    assert!(!world.gateway.output().contains(TOKEN), "not even at debug level");
}

#[tokio::test]
async fn no_spelling_of_an_id_leads_elsewhere() {
    let world = world("").await;
    let theirs = world.core.of(OTHER);
    let (upper, simple) = (theirs.to_string().to_uppercase(), theirs.simple().to_string());
    for spelling in [upper, simple, format!("urn:uuid:{theirs}")] {
        assert_eq!(world.get(&spelling, "admin").await.0, 404, "{spelling}");
    }
    for wrong in ["1", "x", "search", "..%2f..%2forganisation", &format!("{theirs}%20"), "%7Bid%7D"]
    {
        let (status, why) = world.get(wrong, "admin").await;
        assert_eq!(status, 400, "{wrong}: {why}");
    }
    let expected = format!("GET /api/credential/v1/{theirs}");
    assert!(world.core.asked().iter().all(|asked| *asked == expected));
}

#[tokio::test]
async fn every_resource_in_a_body_has_to_be_of_one_organisation() {
    let world = world("").await;
    let (schema, key) = (world.core.of(ACME), world.core.of(ACME));
    let (foreign, foreign_key) = (world.core.of(OTHER), world.core.of(OTHER));
    let body = |schema: Uuid, keys: &[Uuid]| {
        serde_json::json!({ "credentialSchemaId": schema, "keys": keys }).to_string()
    };
    assert_eq!(world.post(body(schema, &[key]), "admin").await.0, 200);
    let record = [
        "\"kind\":\"audit\"",
        &format!("\"/api/credential-schema/v1/\":[\"{schema}\"]"),
        &format!("\"/api/key/v1/\":[\"{key}\"]"),
    ];
    world.gateway.says(&record).await;
    world.core.asked();
    for (body, role, status, why) in [
        (body(foreign, &[key]), "admin", 404, "no_route"),
        (body(schema, &[key, foreign_key]), "admin", 404, "no_route"),
        (body(foreign, &[foreign_key, key]), "both", 400, "organisation_invalid"),
        (body(schema, &[Uuid::new_v4()]), "admin", 404, "no_route"),
        ("{}".to_owned(), "admin", 400, "organisation_missing"),
        (r#"{"credentialSchemaId":"x"}"#.to_owned(), "admin", 400, "organisation_invalid"),
        (
            format!(r#"{{"credentialSchemaId":"{schema}","credentialSchemaId":"{foreign}"}}"#),
            "admin",
            400,
            "organisation_invalid",
        ),
    ] {
        assert_eq!(world.post(body.clone(), role).await, refused(status, why), "{body}");
    }
    // What Core may read otherwise than as JSON is not read at all.
    for (kind, encoding) in [("text/plain", "identity"), ("application/json", "gzip")] {
        let post = client()
            .post(world.gateway.url("/api/credential/v1"))
            .bearer_auth(world.issuer.token("alice", "admin"))
            .header("content-type", kind)
            .header("content-encoding", encoding)
            .body(body(schema, &[key]));
        assert_eq!(outcome(post).await, refused(400, "organisation_invalid"), "{kind} {encoding}");
    }
    assert!(world.core.asked().iter().all(|asked| asked.starts_with("GET ")), "only look-ups");
    assert_eq!(world.post(body(foreign, &[foreign_key]), "both").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_cold_requests_ask_once() {
    let world = world("").await;
    let mine = world.core.of(ACME);
    *world.core.delay.lock().unwrap() = Duration::from_millis(500);
    let (client, token) = (client(), world.issuer.token("alice", "admin"));
    let mut crowd = JoinSet::new();
    for _ in 0..500 {
        let url = world.gateway.url(&format!("/api/credential/v1/{mine}"));
        let get = client.get(url).bearer_auth(&token);
        crowd.spawn(async move { get.send().await.unwrap().status().as_u16() });
    }
    assert!(crowd.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(world.core.asked().len(), 1 + 500, "one look-up, and everybody's request");
    let metrics = world.gateway.metrics().await;
    let count = |outcome: &str| {
        let name = format!("portcullis_organisation_lookups_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!((count("asked"), count("coalesced") + count("hit")), (1, 499));
}

#[tokio::test]
async fn what_is_no_answer_is_a_refusal_and_never_kept() {
    let world = world("timeout: 500ms, negative: 4s").await;
    let mine = world.core.of(ACME);
    for (status, body, expected) in [
        (500, "", refused(502, "upstream_failed")),
        (401, "", refused(502, "upstream_failed")),
        (302, "", refused(502, "upstream_failed")),
        (200, "<html>", refused(502, "upstream_failed")),
        (200, "{}", refused(502, "upstream_failed")),
        (200, r#"{"schema":{"organisationId":null}}"#, refused(502, "upstream_failed")),
        (
            200,
            r#"{"schema":{"organisationId":"6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11"},"schema":{}}"#,
            refused(502, "upstream_failed"),
        ),
    ] {
        world.core.lies(status, body);
        assert_eq!(world.get(mine, "admin").await, expected, "{status} {body}");
    }
    *world.core.lie.lock().unwrap() = None;
    *world.core.delay.lock().unwrap() = Duration::from_secs(5);
    assert_eq!(world.get(mine, "admin").await, refused(504, "upstream_timeout"));
    *world.core.delay.lock().unwrap() = Duration::ZERO;
    assert_eq!(world.core.asked().len(), 8, "nothing but look-ups");
    assert_eq!(world.get(mine, "admin").await.0, 200, "and the truth counts at once");
    // That there is no such thing is believed for a moment.
    let later = Uuid::new_v4();
    assert_eq!(world.get(later, "admin").await.0, 404);
    world.core.owners.lock().unwrap().insert(later, ACME.to_owned());
    assert_eq!(world.get(later, "admin").await.0, 404);
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while world.get(later, "admin").await.0 == 404 {
        assert!(std::time::Instant::now() < until, "it is believed for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.get(later, "admin").await.0, 200);
}

#[tokio::test]
async fn explain_says_that_the_upstream_would_be_asked() {
    let world = world("").await;
    let claims = world.gateway.file().with_file_name("claims.json");
    std::fs::write(&claims, r#"{ "sub": "alice", "roles": ["admin"] }"#).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["explain", "--config"])
        .arg(world.gateway.file())
        .args(["GET", &format!("/api/credential/v1/{ACME}"), "--json", "--claims"])
        .arg(&claims)
        .output()
        .await
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["decision"], &told["credential"]), (&"forward".into(), &"static".into()));
    assert!(
        told["steps"].to_string().contains("the upstream would be asked whose it is"),
        "{told}"
    );
    assert!(world.core.asked().is_empty());
}
