//! State machines beside naive models of them: the circuit breaker and the endings of sessions.

use std::{collections::HashMap, time::Duration};

use super::choice;
use crate::{
    session::revocation::{Mark, Revocations},
    sts::breaker::{Breaker, Pass},
    time::Timestamp,
};

/// Operations, two bytes each.
pub(super) fn machine(input: &[u8]) {
    let (chosen, rest) = choice(input);
    if chosen & 1 == 0 { breaker(rest, 1 + u32::from(chosen >> 1) % 4) } else { endings(rest) }
}

const OPEN: Duration = Duration::from_secs(10);

/// What the breaker should be, from the whole history of what counted.
#[derive(Default)]
struct Watched {
    in_a_row: u32,
    /// When it opened or sent its last probe.
    shut_at: Option<Duration>,
    probing: bool,
}

fn breaker(operations: &[u8], limit: u32) {
    let mut breaker = Breaker::new(limit, OPEN);
    let (mut model, mut now) = (Watched::default(), Duration::ZERO);
    // Passes with the state of the model in which they were given.
    let mut passes: Vec<(Pass, u64)> = Vec::new();
    let mut era = 0;
    for operation in operations.chunks_exact(2) {
        let &[what, value] = operation else { return };
        match what % 4 {
            0 => now += Duration::from_secs(u64::from(value % 16)),
            1 => match (breaker.allow(now), model.shut_at) {
                (Ok(pass), None) => passes.push((pass, era)),
                (Ok(pass), Some(at)) => {
                    assert!(now >= at + OPEN, "a call passes an open breaker");
                    era += 1;
                    (model.shut_at, model.probing) = (Some(now), true);
                    passes.push((pass, era));
                }
                (Err(wait), Some(at)) => {
                    assert_eq!(now + wait, at + OPEN, "it says how long");
                    assert!(!wait.is_zero());
                }
                (Err(_), None) => panic_closed(),
            },
            outcome if !passes.is_empty() => {
                let (pass, given) = passes.swap_remove(usize::from(value) % passes.len());
                let failed = outcome == 2;
                if failed {
                    breaker.failure(&pass, now);
                } else {
                    breaker.success(&pass);
                }
                if given == era {
                    report(&mut model, failed, limit, now, &mut era);
                }
            }
            _ => {}
        }
        assert_eq!(breaker.is_closed(), model.shut_at.is_none());
    }
}

fn report(model: &mut Watched, failed: bool, limit: u32, now: Duration, era: &mut u64) {
    if failed {
        model.in_a_row += 1;
        if model.probing || model.in_a_row >= limit {
            *era += 1;
            *model = Watched { shut_at: Some(now), ..Watched::default() };
        }
    } else if model.probing {
        *era += 1;
        *model = Watched::default();
    } else {
        model.in_a_row = 0;
    }
}

fn panic_closed() {
    assert!(std::hint::black_box(false), "a closed breaker keeps a call out");
}

const MOST: usize = 4;

/// What was ended is remembered to its time, and the memory is bounded; only what has to make room
/// is forgotten, and that is told.
fn endings(operations: &[u8]) {
    let mut endings = Revocations::new(MOST);
    let mut model: HashMap<u8, u64> = HashMap::new();
    let (mut now, mut forgotten) = (1_000, false);
    for operation in operations.chunks_exact(2) {
        let &[what, value] = operation else { return };
        let name = value % 8;
        let subject = name.to_string();
        match what % 3 {
            0 => now += u64::from(value),
            1 => {
                let until = now + 1 + u64::from(what);
                let mark = Mark::Subject(&subject);
                let (at, until_at) = (Timestamp(now), Timestamp(until));
                let whole = endings.revoke(mark, at, until_at, at);
                model.retain(|_, until| *until > now);
                let known = model.entry(name).or_insert(until);
                *known = until.max(*known);
                assert!(whole || model.len() > MOST, "something is forgotten without need");
                forgotten |= !whole;
            }
            _ => {
                let held = endings.holds(Mark::Subject(&subject), Timestamp(now));
                let ended = model.get(&name).is_some_and(|until| now < *until);
                assert!(ended || !held, "what was never ended");
                assert!(held || !ended || forgotten, "an ending is forgotten");
            }
        }
    }
}
