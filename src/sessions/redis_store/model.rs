//! Refresh and logout over two replicas, in every order of events.
//!
//! The words are those of [`script`](super::script): lease, intent, fence, commit, release. One
//! session; a provider that rotates refresh tokens and takes a second use for theft (RFC 9700,
//! section 4.14.2); replicas that may die at any moment, leases that may run out under a living
//! holder, answers that may be lost, scripts that may run twice, a logout, and a back-channel
//! logout at either replica: of the subject, or of the provider's session, which a refresh may
//! have replaced by another. Every reachable state is looked at. The variants each leave one rule out, and the tests demand that the model
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
    /// A mark is known to the replica that was told of the logout, and to no other.
    MarkedInMemory,
    /// Marks are looked up by what the ticket names, and not by what the record names since.
    MarksOfTheTicketAlone,
    /// A refresh makes a session that begins anew, which no earlier mark covers.
    BegunByRefresh,
}

/// A refresh token: the provider gives them out in order.
type Token = u8;

/// The provider's name for its own session. The browser's ticket has the first.
type Sid = u8;
const OF_THE_TICKET: Sid = 0;

/// What a back-channel logout named.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Mark {
    Subject,
    ProviderSession(Sid),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    record: Option<Record>,
    lease: Option<usize>,
    provider: Provider,
    replicas: [Replica; 2],
    logged_out: bool,
    /// The back-channel logout, and the replica that was told of it.
    mark: Option<(Mark, usize)>,
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
    sid: Sid,
    /// Whether it began after the back-channel logout.
    begun_since: bool,
    /// `MarkedInRecord`: the provider has ended it.
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Provider {
    newest: Token,
    reused: bool,
    sid: Sid,
    /// It has ended its session, and told of it.
    ended: bool,
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
        answer: Option<(Token, Sid)>,
    },
    /// It knows what came of it.
    Answered {
        fence: u8,
        token: Token,
        sid: Sid,
    },
    /// `ReleasedBeforeWritten`: it has said that it is done.
    Released {
        token: Token,
        sid: Sid,
    },
    /// Its release ran, the answer was lost, and it will run again.
    ReleasingAgain {
        fence: u8,
    },
    Dead,
}
use Replica::{Answered, Dead, Idle, Leased, Released, ReleasingAgain, Shown};

const BEGINNING: World = World {
    record: Some(Record {
        token: 0,
        intent: None,
        fence: 0,
        sid: OF_THE_TICKET,
        begun_since: false,
        ended: false,
    }),
    lease: None,
    provider: Provider { newest: 0, reused: false, sid: OF_THE_TICKET, ended: false },
    replicas: [Idle, Idle],
    logged_out: false,
    mark: None,
    crashes: 1,
    losses: 2,
    expiries: 2,
    refreshes: 3,
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
        if self.mark.is_none() && replica != Dead {
            for mark in [Mark::Subject, Mark::ProviderSession(self.provider.sid)] {
                step(&format!("is told of the end of {mark:?}"), &|world| {
                    world.mark = Some((mark, at));
                    world.provider.ended = true;
                    world.record = world.record.map(|record| Record { ended: true, ..record });
                });
            }
        }
        if self.crashes > 0 && replica != Dead {
            step("dies", &|world| {
                world.replicas[at] = Dead;
                world.crashes -= 1;
            });
        }
        match replica {
            Idle if self.refreshes > 0 && self.serves(at, variant) => {
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
                // The provider may go on with another session of its own, once.
                for sid in self.provider.sid..=1 {
                    step(&format!("shows the token, for session {sid}"), &|world| {
                        let provider = &mut world.provider;
                        provider.reused |= token < provider.newest;
                        // What was ended gives nothing any more.
                        let gives = !provider.reused && !provider.ended;
                        if gives {
                            provider.newest += 1;
                            provider.sid = sid;
                        }
                        let answer = gives.then_some((provider.newest, sid));
                        world.replicas[at] = Shown { fence, answer };
                    });
                }
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
                    world.replicas[at] =
                        answer.map_or(Idle, |(token, sid)| Answered { fence, token, sid });
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
            Answered { fence, token, sid } if variant == Variant::ReleasedBeforeWritten => {
                step("releases", &|world| {
                    world.release(at, fence, true, variant);
                    world.replicas[at] = Released { token, sid };
                });
            }
            Released { token, sid } => step("writes", &|world| {
                world.record = world.record.map(|record| Record { token, sid, ..record });
                world.replicas[at] = Idle;
            }),
            Answered { fence, token, sid } => step("commits", &|world| {
                world.commit(at, fence, (token, sid), variant);
                world.replicas[at] = Idle;
            }),
            Idle | Dead => {}
        }
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

    fn commit(&mut self, at: usize, fence: u8, (token, sid): (Token, Sid), variant: Variant) {
        let anew = variant == Variant::BegunByRefresh && self.mark.is_some();
        match &mut self.record {
            Some(record) if record.fence == fence => {
                let begun_since = record.begun_since || anew;
                *record = Record { token, intent: None, fence, sid, begun_since, ended: false };
            }
            None if variant == Variant::CommittedAfterLogout => {
                self.record = Some(Record {
                    token,
                    intent: None,
                    fence,
                    sid,
                    begun_since: false,
                    ended: false,
                });
            }
            _ => return,
        }
        self.drop_lease(at);
    }

    fn drop_lease(&mut self, at: usize) {
        self.lease = self.lease.filter(|holder| *holder != at);
    }

    /// Whether a request with the ticket would be served by a replica now.
    fn serves(&self, at: usize, variant: Variant) -> bool {
        let Some(record) = self.record else { return false };
        let alone = variant == Variant::MarksOfTheTicketAlone;
        let in_memory = variant == Variant::MarkedInMemory;
        let covered = self.mark.is_some_and(|(mark, told)| {
            let known = told == at || !in_memory;
            known && !record.begun_since && record.is_named_by(mark, alone)
        });
        let ended = match variant {
            Variant::WithoutMark => false,
            Variant::MarkedInRecord => record.ended,
            _ => covered,
        };
        self.replicas[at] != Dead && !ended
    }

    /// What must hold in every state.
    fn broken(&self, variant: Variant) -> Option<&'static str> {
        if self.provider.reused {
            return Some("a refresh token was shown twice");
        }
        if self.logged_out && self.record.is_some() {
            return Some("a session came back after its logout");
        }
        if let (Some(record), Some((mark, _))) = (self.record, self.mark)
            && record.is_named_by(mark, false)
            && (0..2).any(|at| self.serves(at, variant))
        {
            return Some("a session was served that the provider had ended");
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
            && record != (Record { token: self.provider.newest, intent: None, ..record })
        {
            return Some("nothing went wrong, and a refresh was lost");
        }
        None
    }
}

impl Record {
    fn is_named_by(self, mark: Mark, by_the_ticket_alone: bool) -> bool {
        match mark {
            Mark::Subject => true,
            Mark::ProviderSession(sid) => {
                sid == OF_THE_TICKET || (sid == self.sid && !by_the_ticket_alone)
            }
        }
    }
}

/// Looks at every state; the shortest way to a broken one, or how many there are.
fn explore(variant: Variant) -> Result<usize, (&'static str, Vec<String>)> {
    let mut seen: HashMap<World, Option<(String, World)>> = HashMap::from([(BEGINNING, None)]);
    let mut next = VecDeque::from([BEGINNING]);
    while let Some(world) = next.pop_front() {
        if let Some(why) = world.broken(variant) {
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

mod tests;
