use proptest::prelude::*;

use super::{
    super::{Limit, State, tests::session},
    *,
};

const NOW: Timestamp = Timestamp(4_990);

fn refreshable() -> Session {
    Session { refresh_token: Some("first".to_owned().into()), ..session() }
}

fn renewal(expires: u64, refresh_token: Option<&str>) -> Outcome {
    let identity = Identity {
        expires: Timestamp(expires),
        roles: vec!["reader".into()],
        token: "new".to_owned().into(),
        ..session().identity()
    };
    Outcome::Renewed(Box::new(Renewal {
        identity,
        id_token: None,
        refresh_token: refresh_token.map(|token| token.to_owned().into()),
        provider_session: None,
        provider_ends: Some(Timestamp(9_000)),
    }))
}

fn secret(token: Option<&SecretString>) -> Option<&str> {
    token.map(secrecy::ExposeSecret::expose_secret)
}

#[test]
fn plans_by_time() {
    let session = refreshable();
    // A life of 4,000 s: a minute ahead, less at most a quarter of it.
    assert_eq!(plan(&session, Timestamp(4_939)), Plan::Keep);
    assert_eq!(plan(&session, Timestamp(4_955)), Plan::Ahead);
    assert_eq!(plan(&session, Timestamp(4_999)), Plan::Ahead);
    assert_eq!(plan(&session, Timestamp(5_000)), Plan::Due);
    let without = Session { refresh_token: None, ..session };
    assert_eq!(plan(&without, Timestamp(4_999)), Plan::Keep);
}

#[test]
fn sessions_that_began_together_do_not_ask_together() {
    let begins = |first: u8| {
        let session = Session { id: [first; 16], ..refreshable() };
        (4_000..5_000).find(|at| plan(&session, Timestamp(*at)) == Plan::Ahead).unwrap()
    };
    let moments: std::collections::BTreeSet<_> = (0..=255).map(begins).collect();
    assert!(moments.len() > 10 && moments.iter().all(|at| (4_940..=4_955).contains(at)));
}

#[test]
fn new_tokens_leave_the_login_as_it_was() {
    let Next::Renewed(new) = conclude(&refreshable(), renewal(6_000, None), 3, NOW) else {
        panic!("renewed");
    };
    let old = refreshable();
    assert_eq!((new.id, new.began, new.ends), (old.id, old.began, old.ends));
    assert_eq!((new.organisation, new.last_seen), (old.organisation, old.last_seen));
    assert_eq!((new.token_since, new.token_expires), (NOW, Timestamp(6_000)));
    assert_eq!(secret(Some(&new.access_token)), Some("new"));
    assert_eq!(secret(new.refresh_token.as_ref()), Some("first"), "it is good again");
    assert_eq!(secret(new.id_token.as_ref()), Some("id"));
    assert_eq!(new.provider_session, old.provider_session);
    assert_eq!(&*new.roles[0], "reader", "R26: roles are those of the new token");
    assert_eq!(new.revision, 1);
}

#[test]
fn a_session_ends_with_the_end_that_the_provider_names() {
    let Next::Renewed(new) = conclude(&refreshable(), renewal(9_500, Some("second")), 0, NOW)
    else {
        panic!("renewed");
    };
    assert_eq!(secret(new.refresh_token.as_ref()), Some("second"));
    let long = Duration::from_secs(100_000);
    let new = new.seen(Timestamp(8_999));
    assert!(!matches!(new.check(Timestamp(8_999), long, long), State::Expired(_)));
    assert_eq!(new.check(Timestamp(9_000), long, long), State::Expired(Limit::Provider));
    assert_eq!(new.last_moment(long), Timestamp(9_000));
}

#[test]
fn only_a_definite_refusal_ends_a_session_whose_tokens_serve() {
    let session = refreshable();
    let kept = |outcome| match conclude(&session, outcome, 0, NOW) {
        Next::Kept { session, retry } => {
            (session.and_then(|new| secret(new.refresh_token.as_ref()).map(str::to_owned)), retry)
        }
        _ => panic!("kept"),
    };
    assert_eq!(kept(Outcome::Unavailable { may_be_used: false }), (None, Timestamp(4_991)));
    // What may have been used up is not shown again while there is another way.
    assert_eq!(kept(Outcome::Unavailable { may_be_used: true }), (None, Timestamp(5_000)));
    let rotated =
        Outcome::Unacceptable { refresh_token: Some("second".to_owned().into()), for_now: false };
    assert_eq!(kept(rotated), (Some("second".into()), Timestamp(4_991)));
    assert_eq!(kept(renewal(NOW.0, Some("second"))).0, Some("second".into()), "over at once");
    assert!(matches!(conclude(&session, Outcome::Refused, 0, NOW), Next::Ended(_)));
}

#[test]
fn tokens_about_somebody_else_end_it() {
    for change in [
        (|identity: &mut Identity| identity.subject = "mallory".into()) as fn(&mut Identity),
        |identity| identity.issuer = "https://evil.example".into(),
    ] {
        let Outcome::Renewed(mut renewal) = renewal(6_000, None) else { unreachable!() };
        change(&mut renewal.identity);
        let next = conclude(&refreshable(), Outcome::Renewed(renewal), 0, NOW);
        assert!(matches!(next, Next::Ended(_)));
    }
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let token = prop::option::of("[a-z]{1,4}");
    prop_oneof![
        (0..10_000u64, token.clone())
            .prop_map(|(expires, token)| renewal(expires, token.as_deref())),
        (token, any::<bool>()).prop_map(|(token, for_now)| Outcome::Unacceptable {
            refresh_token: token.map(Into::into),
            for_now,
        }),
        any::<bool>().prop_map(|may_be_used| Outcome::Unavailable { may_be_used }),
        Just(Outcome::Refused),
    ]
}

proptest! {
    #[test]
    fn plans_only_ever_get_more_urgent(first: [u8; 16], revision: u32, life in 0..100_000u64, steps in prop::collection::vec(0..50_000u64, 1..20)) {
        let session = Session {
            id: first,
            revision,
            token_since: Timestamp(1_000),
            token_expires: Timestamp(1_000 + life),
            ..refreshable()
        };
        let rank = |plan| match plan { Plan::Keep => 0, Plan::Ahead => 1, Plan::Due => 2 };
        let (mut now, mut last) = (1_000, 0);
        for step in steps {
            now += step;
            let plan = plan(&session, Timestamp(now));
            prop_assert_eq!(plan == Plan::Due, now >= 1_000 + life);
            prop_assert!(rank(plan) >= last);
            last = rank(plan);
        }
    }

    #[test]
    fn an_attempt_never_moves_a_limit_nor_loses_a_refresh_token(
        outcome in outcomes(), failures: u32, now in 0..10_000u64,
    ) {
        let (session, now) = (refreshable(), Timestamp(now));
        let lives = now < session.token_expires;
        let refused = matches!(outcome, Outcome::Refused);
        let newer = match conclude(&session, outcome, failures, now) {
            Next::Renewed(new) => {
                prop_assert!(new.token_expires > now);
                Some(new)
            }
            Next::Kept { session, retry } => {
                prop_assert!(!refused);
                prop_assert!(retry > now && retry <= now.max(Timestamp(5_000)) + LONGEST_PAUSE);
                session
            }
            Next::Ended(_) => {
                prop_assert!(refused || !lives);
                None
            }
        };
        if let Some(new) = newer {
            prop_assert!(new.revision > session.revision && new.refresh_token.is_some());
            prop_assert_eq!((new.id, new.began, new.ends), (session.id, session.began, session.ends));
            prop_assert_eq!((new.subject, new.issuer), (session.subject, session.issuer));
        }
    }
}
