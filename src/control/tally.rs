//! What a rollout's requests came to on green, added up over restarts.
//!
//! A request is counted when it is drawn for green, and again when it is over: what lies between is
//! in flight. What of that is lost with a process, or takes longer than anybody waits, is counted
//! as missing: of every request it is said what it came to, or that it is not known.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::analysis::Counts;
use crate::telemetry::Turn;

/// Counters of one rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Requests that were drawn for green.
    pub green_requests: u64,
    /// Those that failed there.
    pub green_failed: u64,
    /// Those of them that no user saw: a second attempt was answered.
    #[serde(default)]
    pub rescued: u64,
    /// Requests that green was sent after the verdict against it fell.
    #[serde(default)]
    pub sent_after_verdict: u64,
    /// Requests that are not over yet.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests of which it will not be known any more what they came to.
    #[serde(default)]
    pub outcomes_missing: u64,
    /// Whether a verdict against green fell that no person took upon themselves.
    #[serde(default)]
    pub is_after_verdict: bool,
}

impl Tally {
    /// Requests that failed on green and were seen by a user.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        self.green_failed.saturating_sub(self.rescued)
    }

    /// What the ledger says of it.
    pub(super) fn detail(&self) -> Value {
        serde_json::json!({
            "green_requests": self.green_requests, "green_failed": self.green_failed,
            "rescued": self.rescued, "leaked": self.leaked(),
            "sent_after_verdict": self.sent_after_verdict,
            "in_flight": self.in_flight, "outcomes_missing": self.outcomes_missing,
        })
    }

    /// Waits no longer for what is in flight.
    pub(super) fn give_up(&mut self) {
        self.outcomes_missing += std::mem::take(&mut self.in_flight);
    }
}

/// A tally that goes on, with the last snapshot of green's meter.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) tally: Tally,
    last: Counts,
    turn: Turn,
    /// What the ledger was told last, or was there before.
    told: Tally,
}

impl Running {
    /// Goes on from a tally in a turn of green's meter; what that counted before is not the
    /// rollout's.
    pub(super) fn resume(tally: Tally, turn: Turn, meter: Counts) -> Self {
        Self { tally, last: meter, turn, told: tally }
    }

    /// Goes on from what another process has left: what was in flight there is seen no more.
    pub(super) fn restore(tally: Tally, turn: Turn, meter: Counts) -> Self {
        let mut running = Self::resume(tally, turn, meter);
        running.tally.give_up();
        running
    }

    /// Takes over what another process has counted in the meantime.
    pub(super) fn catch_up(&mut self, tally: Tally) {
        if tally.green_requests > self.tally.green_requests {
            (self.tally, self.told) = (tally, tally);
            self.tally.give_up();
        }
    }

    /// The turn of green's meter in which the rollout's requests are counted.
    pub(super) fn turn(&self) -> Turn {
        self.turn
    }

    /// Adds what happened since the last look.
    pub(super) fn add(&mut self, meter: Counts) {
        if meter.continues(&self.last) {
            let more = meter.since(&self.last);
            let tally = &mut self.tally;
            tally.green_requests += more.begun;
            tally.green_failed += more.failed();
            tally.rescued += more.rescued;
            tally.in_flight = (tally.in_flight + more.begun).saturating_sub(more.requests());
            if tally.is_after_verdict {
                tally.sent_after_verdict += more.begun;
            }
        }
        self.last = meter;
    }

    /// A verdict against green fell: what green is sent from now on is counted apart.
    pub(super) fn verdict_fell(&mut self) {
        self.tally.is_after_verdict = true;
    }

    /// A person took the verdict upon themselves: what green is sent from now on is as before it.
    pub(super) fn accept(&mut self) {
        self.tally.is_after_verdict = false;
    }

    /// The ledger is told of it as it is now.
    pub(super) fn tell(&mut self) -> Value {
        self.told = self.tally;
        self.tally.detail()
    }

    /// Whether it is something else than the ledger was told.
    pub(super) fn has_news(&self) -> bool {
        self.tally != self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter that was given so many requests, of which so many were answered and so many failed.
    fn meter(begun: u64, answered: u64, failed: u64) -> Counts {
        Counts { by_class: [0, answered, 0, 0, failed], begun, ..Counts::default() }
    }

    fn running() -> Running {
        Running::resume(Tally::default(), Turn::default(), meter(100, 90, 3))
    }

    #[test]
    fn every_request_is_over_or_in_flight_or_missing() {
        let mut running = running();
        running.add(meter(121, 95, 14));
        let tally = running.tally;
        assert_eq!((tally.green_requests, tally.green_failed, tally.in_flight), (21, 11, 5));
        running.add(meter(121, 97, 15));
        assert_eq!((running.tally.green_requests, running.tally.in_flight), (21, 2));
        running.tally.give_up();
        assert_eq!((running.tally.in_flight, running.tally.outcomes_missing), (0, 2));
    }

    #[test]
    fn what_is_sent_after_the_verdict_is_counted_until_a_person_accepts_it() {
        let mut running = running();
        running.add(meter(110, 90, 3));
        running.verdict_fell();
        running.add(meter(117, 90, 13));
        assert_eq!(running.tally.sent_after_verdict, 7);
        running.accept();
        running.add(meter(130, 90, 23));
        assert_eq!((running.tally.green_requests, running.tally.sent_after_verdict), (30, 7));
    }

    #[test]
    fn a_verdict_stays_one_over_a_restart() {
        let mut running = running();
        running.verdict_fell();
        running.add(meter(103, 90, 3));
        let saved = serde_json::to_string(&running.tally).expect("numbers");
        let saved = serde_json::from_str(&saved).expect("readable");
        let mut running = Running::restore(saved, Turn::default(), Counts::default());
        running.add(meter(4, 0, 0));
        assert_eq!(running.tally.sent_after_verdict, 7);
        let earlier = r#"{ "green_requests": 3, "green_failed": 1 }"#;
        let earlier: Tally = serde_json::from_str(earlier).expect("of an earlier release");
        assert!(!earlier.is_after_verdict);
    }

    #[test]
    fn the_ledger_is_told_again_only_of_something_else() {
        let mut running = running();
        running.add(meter(101, 90, 3));
        assert!(running.has_news());
        assert_eq!(running.tell()["in_flight"], 1);
        assert!(!running.has_news());
        running.add(meter(101, 90, 4));
        assert!(running.has_news());
    }

    #[test]
    fn what_was_in_flight_in_another_process_is_missing() {
        let tally = Tally { green_requests: 9, in_flight: 4, ..Tally::default() };
        let mut running = Running::restore(tally, Turn::default(), Counts::default());
        running.add(meter(2, 1, 0));
        let tally = running.tally;
        assert_eq!((tally.green_requests, tally.in_flight), (11, 1));
        assert_eq!(tally.outcomes_missing, 4);
        assert!(running.has_news(), "the ledger was told of them as in flight");
    }
}
