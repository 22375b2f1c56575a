//! How many further tries there are: a share of the requests of the last seconds, so that retries
//! never multiply the load on an upstream that is in trouble.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Moment;

/// A bound on further tries within any [`WINDOW`] seconds.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Of the requests in that time, in hundredths.
    pub percent: u32,
    /// And as many for each second, however few requests there are.
    pub min_per_second: u32,
}

impl Budget {
    const fn allows(self, retries: u32, requests: u32) -> bool {
        let share = requests as u64 * self.percent as u64 / 100;
        (retries as u64) < share + self.min_per_second as u64 * WINDOW
    }
}

/// Counts requests and further tries. Requests only add one to a counter and look whether another
/// second has begun; the rest is done by whoever sees it first.
#[derive(Default)]
pub struct Ledger {
    /// Requests, each of which is once tried first.
    turns: AtomicU64,
    retries: AtomicU32,
    /// The last second that has its mark.
    second: AtomicU64,
    /// What was counted when each of the last seconds began: turns and retries, 32 bits each.
    marks: [AtomicU64; MARKS],
}

impl Ledger {
    /// One more request: its number.
    pub(super) fn turn(&self, now: Moment) -> u64 {
        self.mark(now);
        self.turns.fetch_add(1, Relaxed)
    }

    /// The number of the last request.
    pub(super) fn last(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// One more retry, if the budget has it.
    pub(super) fn retry(&self, budget: Option<Budget>, now: Moment) -> bool {
        self.mark(now);
        let second = now.0 / 1000;
        // The mark of the oldest second stands where the next one's will.
        let oldest = usize::try_from((second + 1) % WINDOW).unwrap_or_default();
        let (turns_then, retries_then) =
            split(self.marks.get(oldest).map_or(0, |mark| mark.load(Relaxed)));
        let (turns, _) = split(joined(self.turns.load(Relaxed), 0));
        let take = |retries: u32| {
            let recent = retries.wrapping_sub(retries_then);
            let requests = turns.wrapping_sub(turns_then);
            let allowed = budget.is_none_or(|budget| budget.allows(recent, requests));
            allowed.then(|| retries.wrapping_add(1))
        };
        self.retries.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    fn mark(&self, now: Moment) {
        let second = now.0 / 1000;
        let last = self.second.load(Relaxed);
        if second <= last || self.second.compare_exchange(last, second, Relaxed, Relaxed).is_err() {
            return;
        }
        let mark = joined(self.turns.load(Relaxed), self.retries.load(Relaxed));
        for begun in (last + 1).max((second + 1).saturating_sub(WINDOW))..=second {
            let at = usize::try_from(begun % WINDOW).unwrap_or_default();
            if let Some(slot) = self.marks.get(at) {
                slot.store(mark, Relaxed);
            }
        }
    }
}

const fn joined(turns: u64, retries: u32) -> u64 {
    (turns << 32) | retries as u64
}

fn split(mark: u64) -> (u32, u32) {
    let low = u32::try_from(mark & u64::from(u32::MAX)).unwrap_or_default();
    (u32::try_from(mark >> 32).unwrap_or_default(), low)
}

/// Seconds that a budget looks back.
const WINDOW: u64 = 10;
/// One for each of them.
const MARKS: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUDGET: Budget = Budget { percent: 20, min_per_second: 3 };

    #[test]
    fn a_share_of_the_requests_and_a_few_besides() {
        let ledger = Ledger::default();
        for _ in 0..1000 {
            ledger.turn(Moment(50_000));
        }
        let taken = (0..1000).filter(|_| ledger.retry(Some(BUDGET), Moment(50_500))).count();
        assert_eq!(taken, 200 + 30);
        assert!(!ledger.retry(Some(BUDGET), Moment(58_999)));
        assert!(ledger.retry(Some(BUDGET), Moment(60_000)), "they are forgotten");
        let left = (0..1000).filter(|_| ledger.retry(Some(BUDGET), Moment(60_000))).count();
        assert_eq!(left, 29, "and so are the requests");
        assert!(ledger.retry(None, Moment(60_000)));
    }

    #[test]
    fn no_further_try_at_all() {
        let none = Budget { percent: 0, min_per_second: 0 };
        assert!(!Ledger::default().retry(Some(none), Moment(1)));
    }

    proptest! {
        /// Whatever happens, no further try is one more than the budget of the window that it ends.
        #[test]
        fn no_window_has_more(steps in proptest::collection::vec((0_u64..2500, 0_u32..40, 0_u32..60), 1..60)) {
            let ledger = Ledger::default();
            let (mut now, mut log) = (1_u64, Vec::new());
            for (pause, requests, asked) in steps {
                now += pause;
                for _ in 0..requests {
                    ledger.turn(Moment(now));
                }
                let taken = (0..asked).filter(|_| ledger.retry(Some(BUDGET), Moment(now))).count();
                log.push((now / 1000, u64::from(requests), taken as u64));
                let recent = log.iter().filter(|(second, ..)| second + WINDOW > now / 1000);
                let (requests, retries) = recent.fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.2));
                let most = requests * 20 / 100 + 3 * WINDOW;
                prop_assert!(taken == 0 || retries <= most, "{retries} of {most}");
            }
        }
    }
}
