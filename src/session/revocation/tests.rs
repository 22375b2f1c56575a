use proptest::prelude::*;

use super::{super::tests::session, *};

const NOW: Timestamp = Timestamp(2_000);
const UNTIL: Timestamp = Timestamp(10_000);

fn ended(mark: Mark<'_>) -> Revocations {
    let mut ended = Revocations::new(10);
    assert!(ended.revoke(mark, NOW, UNTIL, NOW));
    ended
}

#[test]
fn a_session_is_ended_by_its_id_its_providers_session_and_its_subject() {
    let session = session();
    for mark in [
        Mark::Session(&session.id),
        Mark::ProviderSession("provider session"),
        Mark::Subject("alice"),
    ] {
        let ended = ended(mark);
        assert!(ended.covers(&session, NOW), "{mark:?}");
        assert!(!ended.covers(&session, UNTIL), "it is over anyhow");
        let later = Session { began: Timestamp(2_001), ..session.clone() };
        assert!(!ended.covers(&later, NOW), "{mark:?}: another login");
        let other = Session {
            id: [8; 16],
            provider_session: Some("another".into()),
            subject: "bob".into(),
            ..session.clone()
        };
        assert!(!ended.covers(&other, NOW), "{mark:?}");
    }
}

#[test]
fn kinds_do_not_mix() {
    let session = Session {
        subject: "provider session".into(),
        provider_session: Some("alice".into()),
        ..session()
    };
    assert!(!ended(Mark::ProviderSession("provider session")).covers(&session, NOW));
    assert!(!ended(Mark::Subject("alice")).covers(&session, NOW));
    assert!(!ended(Mark::LogoutToken("alice")).covers(&session, NOW));
    assert!(ended(Mark::LogoutToken("j")).holds(Mark::LogoutToken("j"), NOW));
    assert!(!ended(Mark::LogoutToken("j")).holds(Mark::LogoutToken("j"), UNTIL));
}

#[test]
fn a_second_ending_never_shortens_the_first() {
    let mut ended = ended(Mark::Subject("alice"));
    assert!(ended.revoke(Mark::Subject("alice"), Timestamp(3_000), Timestamp(5_000), NOW));
    let late = Session { began: Timestamp(2_500), ..session() };
    assert!(ended.covers(&late, Timestamp(9_999)));
}

proptest! {
    #[test]
    fn it_is_bounded_and_forgets_what_is_nearest_to_its_end(
        ends in prop::collection::vec((0..50u8, 0..1_000u64), 1..200), most in 1..20usize,
    ) {
        let mut ended = Revocations::new(most);
        for (at, (name, until)) in (0u64..).zip(ends) {
            let now = Timestamp(at);
            let _ = ended.revoke(Mark::Session(&[name; 16]), now, Timestamp(until), now);
            prop_assert!(ended.marks.len() <= most);
            prop_assert_eq!(ended.marks.len(), ended.order.len());
            prop_assert!(ended.order.iter().all(|(until, _)| *until > now));
        }
    }
}
