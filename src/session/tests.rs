use super::*;

pub(crate) fn session() -> Session {
    let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","dept":"ops"}"#);
    Session {
        id: [7; 16],
        issuer: "https://iam.example".into(),
        subject: "alice".into(),
        name: Some("Alice".into()),
        provider_session: Some("provider session".into()),
        roles: vec!["admin".into()],
        access_token: format!("eyJ.{payload}.sig").into(),
        token_since: Timestamp(1_000),
        token_expires: Timestamp(5_000),
        id_token: Some("id".to_owned().into()),
        refresh_token: None,
        began: Timestamp(1_000),
        last_seen: Timestamp(1_000),
        ends: Timestamp(10_000),
        provider_ends: None,
        revision: 0,
        organisation: Organisation::parse("6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11"),
    }
}

const IDLE: Duration = Duration::from_mins(10);
const ABSOLUTE: Duration = Duration::from_mins(150);

#[test]
fn states_by_time() {
    let check = |now| session().check(Timestamp(now), IDLE, ABSOLUTE);
    assert_eq!(check(1_000), State::Active);
    assert_eq!(check(1_059), State::Active);
    assert_eq!(check(1_060), State::Touch);
    assert_eq!(check(1_599), State::Touch);
    assert_eq!(check(1_600), State::Expired(Limit::Idle));
    assert_eq!(check(900), State::Active, "a clock that went back ends nobody's session");
}

#[test]
fn activity_slides_the_idle_limit_and_neither_of_the_others() {
    let mut session = session();
    let mut now = session.began;
    let ended = loop {
        now = now + Duration::from_secs(500);
        match session.check(now, IDLE, ABSOLUTE) {
            State::Touch => session = session.seen(now),
            State::Expired(limit) => break limit,
            State::Active => panic!("500 s without a touch"),
        }
    };
    assert_eq!((ended, now), (Limit::Token, Timestamp(5_000)));
    session.token_expires = Timestamp(50_000);
    let session = session.seen(Timestamp(9_999));
    assert_eq!(session.check(Timestamp(9_999), IDLE, ABSOLUTE), State::Active);
    assert_eq!(session.check(Timestamp(10_000), IDLE, ABSOLUTE), State::Expired(Limit::Absolute));
}

#[test]
fn a_shorter_absolute_setting_ends_old_sessions_and_a_longer_one_revives_none() {
    let session = session().seen(Timestamp(3_000));
    let short = Duration::from_mins(25);
    assert_eq!(session.check(Timestamp(3_000), IDLE, short), State::Expired(Limit::Absolute));
    let session = session.seen(Timestamp(10_000));
    let long = Duration::from_secs(1_000_000);
    assert_eq!(session.check(Timestamp(10_000), IDLE, long), State::Expired(Limit::Absolute));
}

#[test]
fn a_very_short_idle_limit_touches_at_most_once_a_second() {
    let idle = Duration::from_secs(3);
    assert_eq!(session().check(Timestamp(1_000), idle, ABSOLUTE), State::Active);
    assert_eq!(session().check(Timestamp(1_001), idle, ABSOLUTE), State::Touch);
}

#[test]
fn the_identity_has_the_tokens_claims() {
    let identity = session().identity();
    assert_eq!(identity.proof, Proof::Session);
    assert_eq!(identity.claims.get("dept"), Some(&Value::from("ops")));
    assert_eq!(identity.expires, Timestamp(5_000));
    let mut opaque = session();
    opaque.access_token = "opaque".to_owned().into();
    assert_eq!(opaque.identity().claims.get("sub"), Some(&Value::from("alice")));
}

#[test]
fn bytes_round_trip_and_other_versions_are_refused() {
    let session = session();
    let bytes = session.to_bytes();
    assert_eq!(Session::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    value["v"] = 1.into();
    assert!(Session::from_bytes(value.to_string().as_bytes()).is_none());
}

#[test]
fn neither_debug_nor_the_public_id_tells_a_secret() {
    let session = session();
    let shown = format!("{session:?}");
    assert!(!shown.contains("eyJ"), "{shown}");
    assert_eq!(session.public_id().len(), 22);
    assert_ne!(session.public_id(), URL_SAFE_NO_PAD.encode(session.id));
}

#[test]
fn r14_every_login_has_a_new_id() {
    let begin = || {
        let identity = session().identity();
        let grant = Grant {
            identity,
            name: None,
            id_token: None,
            refresh_token: None,
            provider_session: None,
            provider_ends: None,
        };
        Session::begin(grant, Timestamp(1), ABSOLUTE).unwrap()
    };
    assert_ne!(begin().id, begin().id);
}
