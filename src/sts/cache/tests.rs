use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::permission::Permission;

const LIFETIMES: Lifetimes =
    Lifetimes { margin: Duration::from_secs(15), refresh_ahead: Duration::from_secs(40) };

fn space() -> KeySpace {
    KeySpace::new(&[b"client", b"1"])
}

fn parts(token: &str) -> Parts<'_> {
    Parts {
        subject: Subject::Token(token),
        actor: None,
        audience: "one-core",
        scope: None,
        organisation: None,
    }
}

fn set(names: &[&str]) -> PermissionSet {
    names.iter().map(|name| Permission::parse(name).unwrap()).collect()
}

fn lease(issued: u64, presented: u64) -> Option<Lease> {
    let key = Key([0; 32]);
    Lease::new(LIFETIMES, &key, Timestamp(issued), Timestamp(presented), Timestamp(1000))
}

#[test]
fn every_part_of_an_ask_makes_another_key() {
    let organisation = Organisation::parse("6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11");
    let plain = parts("a");
    let (few, more) = (set(&["A", "BC"]), set(&["AB", "C"]));
    let named = |issuer, subject, permissions| Parts {
        subject: Subject::Named { signer: "key-1", issuer, subject, permissions },
        ..plain
    };
    let asks = [
        plain,
        parts("b"),
        Parts { actor: Some("a"), ..plain },
        Parts { actor: Some(""), ..plain },
        Parts { audience: "other", ..plain },
        Parts { scope: Some("a"), ..plain },
        Parts { scope: Some(""), ..plain },
        Parts { organisation, ..plain },
        named("i", "s", &few),
        named("is", "", &few),
        named("", "is", &few),
        named("i", "s", &more),
    ];
    let mut keys: Vec<_> = asks.iter().map(|ask| space().key(ask)).collect();
    for other in [&[b"client".as_slice(), b"2"], &[b"clien", b"t1"], &[b"client1", b""]] {
        keys.push(KeySpace::new(other).key(&plain));
    }
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[at + 1..].contains(key), "key {at} is there twice");
    }
    assert_eq!(space().key(&plain), keys[0], "the same ask has the same key");
}

proptest! {
    /// Two asks whose parts read the same in a row, cut differently, have different keys.
    #[test]
    fn r20_moving_bytes_between_fields_changes_the_key(
        text in "[a-c]{3,12}",
        cuts in prop::array::uniform2(prop::array::uniform3(0_usize..=12)),
    ) {
        let ask = |mut cuts: [usize; 3]| {
            cuts = cuts.map(|cut| cut.min(text.len()));
            cuts.sort_unstable();
            let [a, b, c] = cuts;
            (&text[..a], &text[a..b], &text[b..c], &text[c..])
        };
        let key = |(token, actor, audience, scope)| {
            space().key(&Parts {
                subject: Subject::Token(token),
                actor: Some(actor),
                audience,
                scope: Some(scope),
                organisation: None,
            })
        };
        let [one, other] = cuts.map(ask);
        prop_assert_eq!(one == other, key(one) == key(other));
    }
}

#[test]
fn a_token_serves_up_to_its_end_less_the_margin() {
    let lease = lease(1300, 9000).unwrap();
    assert!(lease.serves(Timestamp(1284)));
    assert!(!lease.serves(Timestamp(1285)), "the end itself is too late");
    assert_eq!(lease.remaining(Timestamp(1000)), Duration::from_secs(285));
}

#[test]
fn a_token_never_outlives_the_subject_token() {
    let lease = lease(1300, 1100).unwrap();
    assert!(lease.serves(Timestamp(1084)) && !lease.serves(Timestamp(1085)));
    assert!(!lease.claim_renewal(Timestamp(1084), Duration::ZERO), "renewing would gain nothing");
}

#[test]
fn what_ends_within_the_margin_is_not_kept() {
    for (issued, presented) in [(1015, 9000), (1300, 1015), (900, 9000), (0, 0)] {
        assert!(lease(issued, presented).is_none(), "{issued} {presented}");
    }
    assert!(lease(1016, 9000).is_some());
}

#[test]
fn one_hit_starts_a_renewal_and_the_next_waits() {
    let lease = lease(1300, 9000).unwrap();
    let pause = Duration::from_millis(4100);
    assert!(!lease.claim_renewal(Timestamp(1259), pause));
    assert!(lease.claim_renewal(Timestamp(1260), pause));
    assert!(!lease.claim_renewal(Timestamp(1260), pause));
    assert!(!lease.claim_renewal(Timestamp(1264), pause));
    assert!(lease.claim_renewal(Timestamp(1265), pause));
}

#[test]
fn a_short_token_is_not_renewed_before_half_of_its_time() {
    let lease = lease(1035, 9000).unwrap();
    assert!(!lease.claim_renewal(Timestamp(1009), Duration::ZERO));
    assert!(lease.claim_renewal(Timestamp(1010), Duration::ZERO));
}

#[test]
fn renewals_of_many_keys_are_spread() {
    let mut starts = HashMap::new();
    for token in 0..256 {
        let key = space().key(&parts(&token.to_string()));
        let (end, now) = (Timestamp(5000), Timestamp(1000));
        let lease = Lease::new(LIFETIMES, &key, end, Timestamp(9000), now).unwrap();
        *starts.entry(lease.renew_from.into_inner()).or_insert(0) += 1;
    }
    assert!(starts.keys().all(|start| (4960..=4970).contains(start)), "{starts:?}");
    assert!(starts.len() >= 8, "{starts:?}");
}
