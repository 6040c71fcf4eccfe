//! A circuit breaker: a gate that fails again and again is left alone for a while.
//!
//! Open, it answers for the gate at once, with an error that says why; what that does to a rollout
//! is for `on_error` to say, as with any other error. After its rest one call is let through: it
//! closes the circuit or opens it for another rest.

use crate::core::model::{MonoTime, Span};

/// The breaker of one gate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breaker {
    /// Failures since the last answer that was none.
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Calls pass.
    #[default]
    Closed,
    /// None passes before then.
    Open { until: MonoTime },
    /// One passes, and is under way.
    HalfOpen,
}

/// What a call came to, as far as a breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a verdict.
    Well,
    /// With an error of the gate's.
    Failed,
    /// Without the gate being to blame.
    Neither,
}

impl Breaker {
    /// How many failures in a row open it.
    pub(super) const FAILURES: u32 = 5;
    /// How long it stays open.
    pub(super) const REST: Span = Span::from_secs(30);

    /// Whether a call may pass; if not, how long none may, which is unknown while one is tried.
    pub(super) fn admit(&mut self, now: MonoTime) -> Result<(), Option<Span>> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if now < until => Err(Some(until.since(now))),
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Ok(())
            }
            State::HalfOpen => Err(None),
        }
    }

    /// Takes what came of a call that was let pass.
    pub(super) fn settle(&mut self, ended: Ended, now: MonoTime) {
        match (ended, self.state) {
            (Ended::Well, _) => *self = Self::default(),
            (Ended::Failed, _) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= Self::FAILURES {
                    self.state = State::Open { until: now.plus(Self::REST) };
                }
            }
            (Ended::Neither, State::HalfOpen) => {
                self.state = State::Open { until: now.plus(Self::REST) };
            }
            (Ended::Neither, State::Closed | State::Open { .. }) => {}
        }
    }

    /// Whether calls do not pass.
    pub(super) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Failures since the last answer that was none.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(times: u32, at: MonoTime) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..times {
            assert_eq!(breaker.admit(at), Ok(()));
            breaker.settle(Ended::Failed, at);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        let now = MonoTime::from_ms(1_000);
        let mut breaker = failing(Breaker::FAILURES - 1, now);
        breaker.settle(Ended::Well, now);
        assert_eq!((breaker.failures(), breaker.is_open()), (0, false));
        let mut breaker = failing(Breaker::FAILURES, now);
        assert!(breaker.is_open());
        assert_eq!(breaker.admit(now), Err(Some(Breaker::REST)));
    }

    #[test]
    fn what_is_not_the_gates_fault_does_not_count() {
        let now = MonoTime::from_ms(1_000);
        let mut breaker = failing(Breaker::FAILURES - 1, now);
        (0..9).for_each(|_| breaker.settle(Ended::Neither, now));
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn after_its_rest_one_call_decides() {
        let now = MonoTime::from_ms(1_000);
        let later = now.plus(Breaker::REST);
        for (ended, is_open) in
            [(Ended::Well, false), (Ended::Failed, true), (Ended::Neither, true)]
        {
            let mut breaker = failing(Breaker::FAILURES, now);
            assert_eq!(breaker.admit(later), Ok(()));
            assert_eq!(breaker.admit(later), Err(None), "one is under way");
            breaker.settle(ended, later);
            assert_eq!(breaker.is_open(), is_open, "{ended:?}");
            assert_eq!(breaker.admit(later).is_err(), is_open, "{ended:?}");
        }
    }
}
