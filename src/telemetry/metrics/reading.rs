//! What was counted, for whoever shows it without Prometheus.

use super::{CLASSES, Metrics, RouteCounters, RouteMetrics, VERDICTS};
use crate::{refusal::Reason, telemetry::record::Verdict};

/// Decisions and refusals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the order of [`Tally::VERDICTS`].
    pub decisions: [u64; 4],
    /// In the order of [`Reason::ALL`].
    pub refusals: Vec<u64>,
}

impl Tally {
    /// The order of the decisions.
    pub const VERDICTS: [Verdict; 4] = VERDICTS;

    /// What was counted since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut decisions = self.decisions;
        for (now, then) in decisions.iter_mut().zip(earlier.decisions) {
            *now = now.saturating_sub(then);
        }
        let then = earlier.refusals.iter().copied().chain(std::iter::repeat(0));
        let refusals = self.refusals.iter().zip(then).map(|(now, then)| now.saturating_sub(then));
        Self { decisions, refusals: refusals.collect() }
    }

    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.decisions.iter_mut().zip(other.decisions).for_each(|(sum, more)| *sum += more);
        self.refusals.resize(self.refusals.len().max(other.refusals.len()), 0);
        self.refusals.iter_mut().zip(&other.refusals).for_each(|(sum, more)| *sum += more);
    }

    /// Every decision.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.decisions.iter().sum()
    }

    /// Reasons that occurred, most frequent first.
    #[must_use]
    pub fn reasons(&self) -> Vec<(Reason, u64)> {
        let counted = Reason::ALL.iter().copied().zip(self.refusals.iter().copied());
        let mut occurred: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        occurred.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        occurred
    }
}

/// Requests of one route.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteTally {
    /// By class of status: none, 1xx to 5xx.
    pub classes: [u64; CLASSES.len()],
    /// Requests whose time was taken.
    pub timed: u64,
    /// Their time together, in seconds.
    pub seconds: f64,
}

impl RouteTally {
    /// Every request.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.classes.iter().sum()
    }
}

impl Metrics {
    /// Decisions and refusals since the start.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        tally.decisions.iter_mut().zip(&self.decisions).for_each(|(to, from)| *to = from.get());
        tally.refusals = self.refusals.iter().map(prometheus::IntCounter::get).collect();
        tally
    }

    /// Whether requests are counted by route.
    #[must_use]
    pub const fn is_per_route(&self) -> bool {
        self.per_route
    }
}

impl RouteCounters {
    /// Requests by route, in the order of the table; none where they are not told apart.
    #[must_use]
    pub fn read(&self) -> Vec<RouteTally> {
        self.routes.iter().map(RouteMetrics::read).collect()
    }

    /// Requests without a route, or of every route where they are not told apart.
    #[must_use]
    pub fn read_others(&self) -> RouteTally {
        self.no_route.read()
    }
}

impl RouteMetrics {
    fn read(&self) -> RouteTally {
        let mut classes = [0; CLASSES.len()];
        classes.iter_mut().zip(&self.classes).for_each(|(to, from)| *to = from.get());
        let (timed, seconds) = (self.seconds.get_sample_count(), self.seconds.get_sample_sum());
        RouteTally { classes, timed, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_since_then_is_what_was_added() {
        let then = Tally { decisions: [5, 0, 1, 0], refusals: vec![1, 0] };
        let mut now = then.clone();
        let more = Tally { decisions: [2, 1, 3, 0], refusals: vec![0, 3] };
        now.add(&more);
        assert_eq!(now.since(&then), more);
        assert_eq!(now.total(), 12);
        // Others than before, after a mistake somewhere: never a panic, never below zero.
        assert_eq!(then.since(&now).total(), 0);
    }

    #[test]
    fn reasons_come_most_frequent_first() {
        let mut tally = Tally { refusals: vec![0; Reason::ALL.len()], ..Tally::default() };
        tally.refusals[2] = 1;
        tally.refusals[4] = 7;
        assert_eq!(tally.reasons(), [(Reason::ALL[4], 7), (Reason::ALL[2], 1)]);
    }
}
