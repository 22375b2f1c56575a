//! What the pure steps of one request cost, each by itself.
//!
//! `cargo bench --bench request`.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use jsonwebtoken::Algorithm;
use portcullis::{
    bearer::{
        Rules,
        verified::{self, Verified},
    },
    identity::{Identity, Proof},
    organisation::{Organisation, body, query},
    permission::{Permission, PermissionSet, Requirement},
    policy::{Accepts, Acting, Authentication, Policy, Request, Rights, condition::Asked},
    request::path,
    roles::{Mapping, PermissionPattern, Reach, RoleMap, SystemRole, Tenant},
    session::key_ring::{KeyRing, Label},
    sts::issuer::{self, Issuer, IssuerSettings},
    time::Timestamp,
};

const ORGANISATION: &str = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11";
const NOW: Timestamp = Timestamp(1_790_000_000);

fn canonical_path(criterion: &mut Criterion) {
    let plain = format!("/api/credential/v1/{ORGANISATION}/share?organisationId={ORGANISATION}");
    let escaped = "/ssi/openid4vci/final-1.0/caf%C3%A9/%E2%82%AC?x=%2F";
    criterion.bench_function("path: plain", |b| b.iter(|| path::split(black_box(&plain))));
    criterion.bench_function("path: escaped", |b| b.iter(|| path::split(black_box(escaped))));
}

fn organisations(criterion: &mut Criterion) {
    let asked = format!("page=0&pageSize=30&sort=CREATED_DATE&organisationId={ORGANISATION}");
    criterion.bench_function("organisation: query", |b| {
        b.iter(|| query::read("organisationId", black_box(Some(&asked))));
    });
    let claims: Vec<String> =
        (0..100).map(|at| format!("{{\"path\":\"claim{at}\",\"value\":\"some value\"}}")).collect();
    let sent = format!(
        "{{\"name\":\"a\",\"claims\":[{}],\"organisationId\":\"{ORGANISATION}\"}}",
        claims.join(",")
    );
    criterion.bench_function(&format!("organisation: body of {} bytes", sent.len()), |b| {
        b.iter(|| body::read(black_box(sent.as_bytes()), "/organisationId"));
    });
}

fn permissions(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).unwrap()).collect()
}

fn identity(token: String) -> Identity {
    Identity {
        proof: Proof::IamToken,
        issuer: "https://iam.example.com/realms/one".into(),
        subject: "alice".into(),
        roles: vec!["user".into(), "admin".into()],
        organisation: None,
        permissions: None,
        actor: None,
        claims: Arc::default(),
        expires: NOW + Duration::from_secs(300),
        token: token.into(),
    }
}

fn decision(criterion: &mut Criterion) {
    let organisation = Organisation::parse(ORGANISATION).unwrap();
    let all =
        SystemRole { permissions: vec![PermissionPattern::parse("*").unwrap()], delegation: None };
    let reach = [(Reach::One(organisation), vec!["all".to_owned()])];
    let map = RoleMap::new(&Mapping {
        system_roles: [("all".to_owned(), all)].into(),
        iam_roles: [("admin".to_owned(), reach.into())].into(),
        organisations: [(organisation, Tenant::default())].into(),
        known_permissions: PermissionSet::default(),
    });
    let map = map.unwrap();
    let policy = Policy {
        public: false,
        accepts: Accepts { session: true, iam: true, app: true, certificate: false },
        permissions: Requirement::AnyOf(permissions(&["CREDENTIAL_LIST"])),
        roles: Vec::new(),
        app_token: true,
        named: false,
        condition: None,
        cross_organisation: false,
        acting: Acting::Caller,
        enforce: true,
    };
    let headers = HeaderMap::new();
    let request = Request {
        named: Some(organisation),
        own: false,
        injected: false,
        assumed: false,
        navigation: false,
        asked: Asked {
            method: "GET",
            path: "/api/credential/v1",
            host: "desk.example.com",
            query: None,
            headers: &headers,
            client: None,
        },
    };
    let who = Authentication::Authenticated(Arc::new(identity(String::new())));
    let rights = Rights::Roles { map: &map, carry_all: false };
    criterion.bench_function("policy: decide", |b| {
        b.iter(|| policy.decide(black_box(&who), black_box(&request), rights));
    });
}

fn seal(criterion: &mut Criterion) {
    let ring = KeyRing::new(vec![[1; 32], [2; 32]]).unwrap();
    let label = Label { purpose: "session", name: "__Host-portcullis", extra: "" };
    let session = vec![b'x'; 1500];
    let sealed = ring.seal(label, &session).unwrap();
    criterion.bench_function("session of 1500 bytes: seal", |b| {
        b.iter(|| ring.seal(label, black_box(&session)));
    });
    criterion.bench_function("session of 1500 bytes: open", |b| {
        b.iter(|| ring.open(label, black_box(&sealed)));
    });
}

fn remembered_token(criterion: &mut Criterion) {
    let settings = IssuerSettings {
        iss: "https://iam.example.com".into(),
        keys: vec![issuer::generate().unwrap().into()],
        lifetime: Duration::from_secs(300),
        delegated_lifetime: Duration::from_secs(60),
        core_jwks_lifetime: Duration::from_secs(600),
    };
    let keys = Issuer::new(settings, NOW).unwrap().verifying().load_full();
    let rules = Rules {
        proof: Proof::IamToken,
        issuer: "https://iam.example.com".into(),
        audience: "procivis-one-platform".into(),
        algorithms: vec![Algorithm::EdDSA],
        leeway: Duration::from_secs(60),
        roles: Some("/roles".into()),
    };
    let token = "x".repeat(900);
    let verified = Verified::new(1000);
    let scope = verified::Scope::of(&rules);
    let key = || verified::Key {
        scope,
        audience: &rules.audience,
        generation: keys.generation(),
        token: black_box(&token),
    };
    verified.remember(&key(), &Arc::new(identity(token.clone())), NOW);
    assert!(verified.identity(&key(), NOW).is_some());
    criterion.bench_function("bearer of 900 bytes: remembered", |b| {
        b.iter(|| verified.identity(&key(), NOW));
    });
}

criterion_group!(steps, canonical_path, organisations, decision, seal, remembered_token);
criterion_main!(steps);
