//! Refresh and logout over two replicas, in every order of events.
//!
//! The words are those of [`script`](super::script): lease, intent, fence, commit, release. One
//! session; a provider that rotates refresh tokens and takes a second use for theft (RFC 9700,
//! section 4.14.2); replicas that may die at any moment, leases that may run out under a living
//! holder, answers that may be lost, scripts that may run twice, a logout, and a logout of the
//! provider's (back-channel), whose mark stands beside the record. Every reachable state is looked
//! at. The variants each leave one rule out, and the tests demand that the model
//! finds what that breaks: else it would prove nothing.

use std::collections::{HashMap, VecDeque};

#[derive(Clone, Copy, PartialEq)]
enum Variant {
    /// As `script` has it.
    Whole,
    /// The lease is granted whoever holds it, and says nothing before a token is shown.
    WithoutLease,
    /// A lease says nothing of the token that will be shown.
    WithoutIntent,
    /// A release does not look whether there was a later lease.
    WithoutFence,
    /// The intent and the lease go in one step, and the new token comes in another.
    ReleasedBeforeWritten,
    /// An intent is forgotten when the lease is released, though the token may be used.
    ReleasedAsUnused,
    /// A commit writes a record that is gone.
    CommittedAfterLogout,
    /// A request looks at the record and not at the mark beside it.
    WithoutMark,
    /// What the provider ended is written into the record, where a commit writes over it.
    MarkedInRecord,
}

/// A refresh token: the provider gives them out in order.
type Token = u8;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    record: Option<Record>,
    lease: Option<usize>,
    provider: Provider,
    replicas: [Replica; 2],
    logged_out: bool,
    /// The provider's logout was answered with success, by whichever replica.
    ended: bool,
    /// The mark that it left.
    marked: bool,
    /// A request that began afterwards was served.
    served_ended: bool,
    /// What may still go wrong, so that there is an end.
    crashes: u8,
    losses: u8,
    expiries: u8,
    refreshes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Record {
    token: Token,
    intent: Option<Token>,
    fence: u8,
    /// `MarkedInRecord`: the provider has ended it.
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Provider {
    newest: Token,
    reused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Replica {
    Idle,
    /// It has the lease.
    Leased {
        token: Token,
        fence: u8,
    },
    /// It has shown the token.
    Shown {
        fence: u8,
        answer: Option<Token>,
    },
    /// It knows what came of it.
    Answered {
        fence: u8,
        token: Token,
    },
    /// `ReleasedBeforeWritten`: it has said that it is done.
    Released {
        token: Token,
    },
    /// Its release ran, the answer was lost, and it will run again.
    ReleasingAgain {
        fence: u8,
    },
    Dead,
}
use Replica::{Answered, Dead, Idle, Leased, Released, ReleasingAgain, Shown};

const BEGINNING: World = World {
    record: Some(Record { token: 0, intent: None, fence: 0, ended: false }),
    lease: None,
    provider: Provider { newest: 0, reused: false },
    replicas: [Idle, Idle],
    logged_out: false,
    ended: false,
    marked: false,
    served_ended: false,
    crashes: 1,
    losses: 2,
    expiries: 2,
    refreshes: 4,
};

type Step = (String, World);

impl World {
    fn steps(&self, variant: Variant) -> Vec<Step> {
        let mut steps = Vec::new();
        for at in 0..2 {
            self.steps_of(at, variant, &mut steps);
        }
        if !self.logged_out {
            let world = Self { record: None, lease: None, logged_out: true, ..self.clone() };
            steps.push(("logout".to_owned(), world));
        }
        if !self.ended {
            let mut world = Self { ended: true, ..self.clone() };
            if variant == Variant::MarkedInRecord {
                world.record = world.record.map(|record| Record { ended: true, ..record });
            } else {
                world.marked = true;
            }
            steps.push(("back-channel logout".to_owned(), world));
        }
        if self.lease.is_some() && self.expiries > 0 {
            let world = Self { lease: None, expiries: self.expiries - 1, ..self.clone() };
            steps.push(("the lease runs out".to_owned(), world));
        }
        steps
    }

    fn steps_of(&self, at: usize, variant: Variant, steps: &mut Vec<Step>) {
        let mut step = |what: &str, change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            steps.push((format!("{at} {what}"), world));
        };
        let replica = self.replicas[at];
        if self.crashes > 0 && replica != Dead {
            step("dies", &|world| {
                world.replicas[at] = Dead;
                world.crashes -= 1;
            });
        }
        if replica != Dead && self.counts(variant) {
            step("serves a request", &|world| world.served_ended |= world.ended);
        }
        match replica {
            Idle if self.refreshes > 0 && self.counts(variant) => {
                if let Some((token, fence, record)) = self.lease(variant) {
                    step("takes the lease", &|world| {
                        world.record = Some(record);
                        world.lease = Some(at);
                        world.replicas[at] = Leased { token, fence };
                        world.refreshes -= 1;
                    });
                }
            }
            Leased { token, fence } => {
                step("shows the token", &|world| {
                    let provider = &mut world.provider;
                    // A family that was ended gives nothing any more.
                    provider.reused |= token < provider.newest;
                    provider.newest += u8::from(!provider.reused);
                    let answer = (!provider.reused).then_some(provider.newest);
                    world.replicas[at] = Shown { fence, answer };
                });
                step("cannot reach the provider", &|world| {
                    world.release(at, fence, true, variant);
                    world.replicas[at] = Idle;
                });
                if self.losses > 0 {
                    step("cannot reach the provider, nor hear that it released", &|world| {
                        world.release(at, fence, true, variant);
                        world.replicas[at] = ReleasingAgain { fence };
                        world.losses -= 1;
                    });
                }
            }
            ReleasingAgain { fence } => step("releases again", &|world| {
                world.release(at, fence, true, variant);
                world.replicas[at] = Idle;
            }),
            Shown { fence, answer } => {
                step("gets the answer", &|world| {
                    world.replicas[at] = answer.map_or(Idle, |token| Answered { fence, token });
                    world.record = world.record.filter(|_| answer.is_some());
                });
                if self.losses > 0 {
                    step("gets no answer", &|world| {
                        let unused = variant == Variant::ReleasedAsUnused;
                        world.release(at, fence, unused, variant);
                        world.losses -= 1;
                        world.replicas[at] = Idle;
                    });
                }
            }
            Answered { fence, token } if variant == Variant::ReleasedBeforeWritten => {
                step("releases", &|world| {
                    world.release(at, fence, true, variant);
                    world.replicas[at] = Released { token };
                });
            }
            Released { token } => step("writes", &|world| {
                world.record = world.record.map(|record| Record { token, ..record });
                world.replicas[at] = Idle;
            }),
            Answered { fence, token } => step("commits", &|world| {
                world.commit(at, fence, token, variant);
                world.replicas[at] = Idle;
            }),
            Idle | Dead => {}
        }
    }

    /// Whether a request that begins now finds the session.
    fn counts(&self, variant: Variant) -> bool {
        let marked = self.marked && variant != Variant::WithoutMark;
        self.record.is_some_and(|record| !record.ended) && !marked
    }

    /// What the lease's script grants: the token to show, the fence, and the record after it.
    fn lease(&self, variant: Variant) -> Option<(Token, u8, Record)> {
        let record = self.record?;
        let unguarded = variant == Variant::WithoutLease;
        if self.lease.is_some() && !unguarded {
            return None;
        }
        if record.intent == Some(record.token) {
            // It may be used already.
            return None;
        }
        let silent = unguarded || variant == Variant::WithoutIntent;
        let intent = if silent { None } else { Some(record.token) };
        let fence = record.fence + 1;
        Some((record.token, fence, Record { intent, fence, ..record }))
    }

    fn release(&mut self, at: usize, fence: u8, unused: bool, variant: Variant) {
        if let Some(record) = &mut self.record
            && unused
            && (record.fence == fence || variant == Variant::WithoutFence)
        {
            record.intent = None;
        }
        self.drop_lease(at);
    }

    fn commit(&mut self, at: usize, fence: u8, token: Token, variant: Variant) {
        match &mut self.record {
            Some(record) if record.fence == fence => {
                *record = Record { token, intent: None, fence, ended: false };
            }
            None if variant == Variant::CommittedAfterLogout => {
                self.record = Some(Record { token, intent: None, fence, ended: false });
            }
            _ => return,
        }
        self.drop_lease(at);
    }

    fn drop_lease(&mut self, at: usize) {
        self.lease = self.lease.filter(|holder| *holder != at);
    }

    /// What must hold in every state.
    fn broken(&self) -> Option<&'static str> {
        if self.provider.reused {
            return Some("a refresh token was shown twice");
        }
        if self.logged_out && self.record.is_some() {
            return Some("a session came back after its logout");
        }
        if self.served_ended {
            return Some("a request was served after the provider had ended its session");
        }
        if let Some(record) = self.record
            && record.token < self.provider.newest
            && record.intent != Some(record.token)
        {
            return Some("the record holds a used token as if it were good");
        }
        let quiet = self.replicas == [Idle, Idle];
        let nothing_lost = self.losses == BEGINNING.losses && self.crashes == BEGINNING.crashes;
        if let Some(record) = self.record
            && quiet
            && nothing_lost
            && (record.token, record.intent) != (self.provider.newest, None)
        {
            return Some("nothing went wrong, and a refresh was lost");
        }
        None
    }
}

/// Looks at every state; the shortest way to a broken one, or how many there are.
fn explore(variant: Variant) -> Result<usize, (&'static str, Vec<String>)> {
    let mut seen: HashMap<World, Option<(String, World)>> = HashMap::from([(BEGINNING, None)]);
    let mut next = VecDeque::from([BEGINNING]);
    while let Some(world) = next.pop_front() {
        if let Some(why) = world.broken() {
            let mut way = Vec::new();
            let mut at = &world;
            while let Some(Some((step, before))) = seen.get(at) {
                way.push(step.clone());
                at = before;
            }
            way.reverse();
            return Err((why, way));
        }
        for (step, after) in world.steps(variant) {
            if !seen.contains_key(&after) {
                seen.insert(after.clone(), Some((step, world.clone())));
                next.push_back(after);
            }
        }
    }
    Ok(seen.len())
}

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
        (Variant::WithoutMark, "a request was served after the provider had ended its session"),
        (Variant::MarkedInRecord, "a request was served after the provider had ended its session"),
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
        let mut seen = std::collections::HashSet::from([BEGINNING]);
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
