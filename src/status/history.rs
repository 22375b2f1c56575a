//! Decisions of the last minutes, from counters that are looked at now and then: a request costs
//! nothing for it. No clock: time is an argument.

use std::{collections::VecDeque, time::Duration};

use crate::{telemetry::metrics::Tally, time::Timestamp};

/// How often the counters are looked at.
pub(super) const BIN: Duration = Duration::from_secs(10);
/// Looks that are remembered: a quarter of an hour.
pub(super) const BINS: usize = 90;

/// What was decided between looks at the counters.
pub(super) struct History {
    bins: VecDeque<Bin>,
    /// The counters when the last bin was closed.
    counted: Tally,
    closed: Timestamp,
}

/// What was decided in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    /// Its beginning.
    pub(super) began: Timestamp,
    /// What was decided.
    pub(super) counts: Tally,
}

impl History {
    /// Begins with what was counted so far.
    #[must_use]
    pub(super) const fn new(counted: Tally, now: Timestamp) -> Self {
        Self { bins: VecDeque::new(), counted, closed: now }
    }

    /// Closes the bin at hand.
    pub(super) fn close(&mut self, counted: Tally, now: Timestamp) {
        let open = self.open(&counted);
        if self.bins.len() >= BINS {
            self.bins.pop_front();
        }
        self.bins.push_back(open);
        (self.counted, self.closed) = (counted, now);
    }

    /// Every bin, the oldest first; the last one is still open.
    #[must_use]
    pub(super) fn read(&self, counted: &Tally) -> Vec<Bin> {
        self.bins.iter().cloned().chain([self.open(counted)]).collect()
    }

    fn open(&self, counted: &Tally) -> Bin {
        Bin { began: self.closed, counts: counted.since(&self.counted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(forwarded: u64) -> Tally {
        Tally { decisions: [forwarded, 0, 0, 0], refusals: Vec::new() }
    }

    fn forwarded(bins: &[Bin]) -> Vec<u64> {
        bins.iter().map(|bin| bin.counts.decisions[0]).collect()
    }

    #[test]
    fn bins_hold_what_came_between_looks_and_the_last_one_is_live() {
        let mut history = History::new(counted(7), Timestamp(100));
        assert_eq!(forwarded(&history.read(&counted(9))), [2]);
        history.close(counted(10), Timestamp(110));
        history.close(counted(10), Timestamp(120));
        let bins = history.read(&counted(15));
        assert_eq!(forwarded(&bins), [3, 0, 5]);
        assert_eq!(bins.iter().map(|bin| bin.began.0).collect::<Vec<_>>(), [100, 110, 120]);
    }

    #[test]
    fn it_forgets_what_is_older_than_a_quarter_of_an_hour() {
        let mut history = History::new(counted(0), Timestamp(0));
        for at in 1..=200 {
            history.close(counted(at), Timestamp(at * 10));
        }
        let bins = history.read(&counted(200));
        assert_eq!(bins.len(), BINS + 1);
        assert_eq!(bins[0].began, Timestamp((200 - BINS as u64) * 10));
    }
}
