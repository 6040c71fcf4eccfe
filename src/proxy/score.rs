//! What a request came to, counted exactly once.
//!
//! The score counts when it is dropped. A request ends in many ways, not all of which Pingora
//! reports (a dropped task, a panic in a hook), but all of which drop its context.

use std::sync::Arc;

use crate::clock::Clock;
use crate::core::routing::MeterId;
use crate::telemetry::{Outcome, OutcomeKind, Recorder, RetryKind};

use super::evidence::Evidence;

/// The score of one request, on the meter of the side that it was assigned.
#[derive(Debug)]
pub(super) struct Score {
    recorder: Arc<Recorder>,
    clock: Clock,
    meter: MeterId,
    started_us: u64,
    stand: Stand,
    evidence: Evidence,
}

/// What is known so far. The first attempt alone counts, so a failure is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Open,
    Answered(Outcome),
    Failed(Outcome),
}

impl Score {
    pub(super) fn new(
        recorder: Arc<Recorder>,
        clock: Clock,
        meter: MeterId,
        started_us: u64,
        evidence: Evidence,
    ) -> Self {
        Self { recorder, clock, meter, started_us, stand: Stand::Open, evidence }
    }

    /// The request is about to be written to a connection that stands.
    pub(super) fn sent(&mut self) {
        self.evidence.sent(self.clock.mono_us());
    }

    /// The target's final response header is there.
    pub(super) fn answered(&mut self, status: u16) {
        let now_us = self.clock.mono_us();
        let outcome = self.outcome(OutcomeKind::Status(status), now_us);
        self.stand = self.stand.answered(outcome);
        self.evidence.answered(status, now_us);
    }

    /// All that the header says is known, and the status of HTTP that stands for its `grpc-status`.
    pub(super) fn header_ended(&mut self, grpc: Option<u16>) {
        self.evidence.header_ended(grpc, &self.recorder);
    }

    /// Its target is given up sooner than one of the other side would be.
    pub(super) fn cut_short(&mut self) {
        self.evidence.cut_short(self.clock.mono_us());
    }

    /// A target refused the request untouched, and it is tried again: no failure to count, but not
    /// what the first attempt should have come to.
    pub(super) fn refused(&mut self) {
        self.evidence.failed(self.meter, &self.recorder, self.clock.mono_us());
    }

    /// An attempt failed, possibly inside the body of a response.
    pub(super) fn failed(&mut self, kind: OutcomeKind) {
        let now_us = self.clock.mono_us();
        let outcome = self.outcome(kind, now_us);
        self.stand = self.stand.failed(outcome);
        self.evidence.failed(self.meter, &self.recorder, now_us);
    }

    /// The answer turned out to be another one than its header said.
    pub(super) fn regraded(&mut self, status: u16) {
        self.stand = self.stand.regraded(status);
        if status != 200 {
            self.evidence.failed(self.meter, &self.recorder, self.clock.mono_us());
        }
    }

    /// What the failed attempt was followed by.
    pub(super) fn retried(&self, kind: RetryKind) {
        self.recorder.retried(self.meter, kind);
    }

    fn outcome(&self, kind: OutcomeKind, now_us: u64) -> Outcome {
        let latency_us = now_us.saturating_sub(self.started_us);
        Outcome { kind, latency_us, rescued: false }
    }
}

impl Stand {
    fn answered(self, outcome: Outcome) -> Self {
        match self {
            Self::Open => Self::Answered(outcome),
            Self::Answered(_) => self,
            Self::Failed(first) => {
                let rescued = matches!(outcome.kind, OutcomeKind::Status(status) if status < 500);
                Self::Failed(Outcome { rescued, ..first })
            }
        }
    }

    fn regraded(self, status: u16) -> Self {
        match self {
            Self::Answered(answer) => {
                Self::Answered(Outcome { kind: OutcomeKind::Status(status), ..answer })
            }
            Self::Failed(first) => {
                Self::Failed(Outcome { rescued: first.rescued && status < 500, ..first })
            }
            Self::Open => self,
        }
    }

    fn failed(self, outcome: Outcome) -> Self {
        match self {
            Self::Open => Self::Failed(outcome),
            Self::Answered(answer) => {
                Self::Failed(Outcome { latency_us: answer.latency_us, ..outcome })
            }
            // What broke after a rescue was seen to fail all the same.
            Self::Failed(first) => Self::Failed(Outcome { rescued: false, ..first }),
        }
    }
}

impl Drop for Score {
    fn drop(&mut self) {
        let now_us = self.clock.mono_us();
        let outcome = match self.stand {
            Stand::Open => self.outcome(OutcomeKind::ClientGone, now_us),
            Stand::Answered(outcome) | Stand::Failed(outcome) => outcome,
        };
        self.evidence.over(&self.recorder, now_us);
        self.recorder.record(self.meter, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(kind: OutcomeKind, latency_us: u64) -> Outcome {
        Outcome { kind, latency_us, rescued: false }
    }

    #[test]
    fn a_failed_first_attempt_counts_although_the_second_succeeds() {
        let failure = outcome(OutcomeKind::ConnectError, 5);
        let stand = Stand::Open.failed(failure).answered(outcome(OutcomeKind::Status(200), 9));
        assert_eq!(stand, Stand::Failed(Outcome { rescued: true, ..failure }));
        let stand = Stand::Open.failed(failure).answered(outcome(OutcomeKind::Status(503), 9));
        assert_eq!(stand, Stand::Failed(failure), "the user saw the second one fail, too");
    }

    #[test]
    fn an_answer_that_breaks_off_is_a_failure_with_the_latency_of_its_header() {
        let stand = Stand::Open
            .answered(outcome(OutcomeKind::Status(200), 7))
            .failed(outcome(OutcomeKind::BrokenAnswer, 900));
        assert_eq!(stand, Stand::Failed(outcome(OutcomeKind::BrokenAnswer, 7)));
    }
}
