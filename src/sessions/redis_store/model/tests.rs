use std::collections::HashSet;

use super::*;

#[test]
fn no_order_of_events_shows_a_token_twice_or_brings_a_session_back() {
    let states = explore(Variant::Whole).unwrap_or_else(|(why, way)| panic!("{why}: {way:#?}"));
    assert!(states > 1_000, "{states} states are not all of them");
}

#[test]
fn each_rule_is_needed() {
    for (variant, expected) in [
        (Variant::WithoutLease, "the record holds a used token as if it were good"),
        (Variant::WithoutIntent, "the record holds a used token as if it were good"),
        (Variant::WithoutFence, "the record holds a used token as if it were good"),
        (Variant::ReleasedBeforeWritten, "the record holds a used token as if it were good"),
        (Variant::ReleasedAsUnused, "the record holds a used token as if it were good"),
        (Variant::CommittedAfterLogout, "a session came back after its logout"),
        (Variant::WithoutMark, "a session was served that the provider had ended"),
        (Variant::MarkedInRecord, "a session was served that the provider had ended"),
        (Variant::MarkedInMemory, "a session was served that the provider had ended"),
        (Variant::MarksOfTheTicketAlone, "a session was served that the provider had ended"),
        (Variant::BegunByRefresh, "a session was served that the provider had ended"),
    ] {
        let found = explore(variant).map_err(|(why, _)| why);
        assert_eq!(found, Err(expected));
    }
}

/// What a used token in a record leads to, without which the rule above would be a mere notion.
#[test]
fn a_used_token_in_a_record_is_shown_again() {
    for variant in [
        Variant::WithoutLease,
        Variant::WithoutIntent,
        Variant::WithoutFence,
        Variant::ReleasedBeforeWritten,
        Variant::ReleasedAsUnused,
    ] {
        let mut seen = HashSet::from([BEGINNING]);
        let mut next = vec![BEGINNING];
        let mut reused = false;
        while let Some(world) = next.pop() {
            reused |= world.provider.reused;
            let steps = world.steps(variant).into_iter().map(|(_, after)| after);
            next.extend(steps.filter(|after| seen.insert(after.clone())));
        }
        assert!(reused);
    }
}

/// Else the rules about marks would hold for want of anything to break them.
#[test]
fn a_back_channel_logout_comes_while_a_lease_is_held_elsewhere_and_is_committed_over() {
    let mut seen = HashSet::from([BEGINNING]);
    let mut next = vec![BEGINNING];
    let (mut during_a_lease, mut committed_over) = (false, false);
    while let Some(world) = next.pop() {
        if let (Some(record), Some((mark, told))) = (world.record, world.mark) {
            during_a_lease |= world.lease.is_some_and(|holder| holder != told);
            let replaced = mark == Mark::ProviderSession(1) && record.sid == 1;
            committed_over |= replaced && record.intent.is_none();
        }
        let steps = world.steps(Variant::Whole).into_iter().map(|(_, after)| after);
        next.extend(steps.filter(|after| seen.insert(after.clone())));
    }
    assert!(during_a_lease && committed_over);
}
