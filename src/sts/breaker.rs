//! A circuit breaker: when to leave a token service alone that has stopped answering.
//!
//! A state machine without a clock: time is the length since some fixed moment, and an argument.

use std::time::Duration;

/// Closed until `failures` calls in a row have failed, then open for a while, then half-open:
/// one probe decides between closed and open again.
#[derive(Debug)]
pub struct Breaker {
    limit: u32,
    open: Duration,
    state: State,
    /// Counts the states gone through; a report from a former one says nothing about this one.
    epoch: u64,
}

#[derive(Debug)]
enum State {
    Closed { failed: u32 },
    Open { until: Duration },
    HalfOpen { probed: Duration },
}

/// The right to one call, whose outcome has to be reported with it.
#[derive(Debug)]
pub struct Pass(u64);

impl Breaker {
    /// A closed one that opens for `open` after `failures` in a row; zero counts as one.
    #[must_use]
    pub fn new(failures: u32, open: Duration) -> Self {
        Self { limit: failures.max(1), open, state: State::Closed { failed: 0 }, epoch: 0 }
    }

    /// Asks for a call.
    ///
    /// # Errors
    /// How long to wait before it is worth asking again.
    pub fn allow(&mut self, now: Duration) -> Result<Pass, Duration> {
        let wait = match self.state {
            State::Closed { .. } => return Ok(Pass(self.epoch)),
            State::Open { until } => until.saturating_sub(now),
            // A probe that never reports must not keep everyone out for ever.
            State::HalfOpen { probed } => probed.saturating_add(self.open).saturating_sub(now),
        };
        if wait.is_zero() {
            self.enter(State::HalfOpen { probed: now });
            Ok(Pass(self.epoch))
        } else {
            Err(wait)
        }
    }

    /// The service answered.
    pub fn success(&mut self, pass: &Pass) {
        if pass.0 == self.epoch {
            match &mut self.state {
                State::Closed { failed } => *failed = 0,
                State::Open { .. } | State::HalfOpen { .. } => {
                    self.enter(State::Closed { failed: 0 });
                }
            }
        }
    }

    /// The service did not answer, or with its own failure.
    pub fn failure(&mut self, pass: &Pass, now: Duration) {
        if pass.0 != self.epoch {
            return;
        }
        let failed = match self.state {
            State::Closed { failed } => failed.saturating_add(1),
            State::Open { .. } | State::HalfOpen { .. } => self.limit,
        };
        if failed >= self.limit {
            self.enter(State::Open { until: now.saturating_add(self.open) });
        } else {
            self.state = State::Closed { failed };
        }
    }

    /// Whether calls pass freely.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3, OPEN);
        for _ in 0..3 {
            let pass = breaker.allow(at(0)).unwrap();
            breaker.failure(&pass, at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(3, OPEN);
        for outcome in [false, false, true, false, false] {
            let pass = breaker.allow(at(0)).unwrap();
            if outcome {
                breaker.success(&pass);
            } else {
                breaker.failure(&pass, at(0));
            }
            assert!(breaker.is_closed());
        }
        let pass = breaker.allow(at(0)).unwrap();
        breaker.failure(&pass, at(1));
        assert_eq!(breaker.allow(at(4)).unwrap_err(), at(7), "what is left of 10 s from 1 s on");
    }

    #[test]
    fn half_open_lets_exactly_one_probe() {
        let mut breaker = opened();
        assert!(breaker.allow(at(9)).is_err());
        let probe = breaker.allow(at(10)).unwrap();
        assert!(breaker.allow(at(10)).is_err());
        breaker.success(&probe);
        assert!(breaker.allow(at(10)).is_ok() && breaker.allow(at(10)).is_ok());
    }

    #[test]
    fn a_failed_probe_opens_it_again_at_once() {
        let mut breaker = opened();
        let probe = breaker.allow(at(10)).unwrap();
        breaker.failure(&probe, at(12));
        assert_eq!(breaker.allow(at(12)).unwrap_err(), OPEN);
    }

    #[test]
    fn a_probe_that_never_reports_is_replaced() {
        let mut breaker = opened();
        let lost = breaker.allow(at(10)).unwrap();
        assert!(breaker.allow(at(19)).is_err());
        let probe = breaker.allow(at(20)).unwrap();
        breaker.success(&lost);
        assert!(!breaker.is_closed(), "the lost probe says nothing any more");
        breaker.success(&probe);
        assert!(breaker.is_closed());
    }

    #[test]
    fn reports_from_before_it_opened_count_for_nothing() {
        let mut breaker = Breaker::new(1, OPEN);
        let early = breaker.allow(at(0)).unwrap();
        let late = breaker.allow(at(0)).unwrap();
        let third = breaker.allow(at(0)).unwrap();
        breaker.failure(&early, at(0));
        breaker.success(&late);
        breaker.failure(&third, at(5));
        assert_eq!(breaker.allow(at(5)).unwrap_err(), at(5), "neither closed nor prolonged");
    }
}
