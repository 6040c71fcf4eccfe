//! What is remembered of the calls of each gate: how long they took, and whether it keeps failing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::breaker::{Breaker, Ended};
use crate::core::model::{GateName, MonoTime, Sha256};
use crate::core::rollout::{GateAnswer, GateErrorKind};

/// The upper bounds of the buckets of times, in microseconds; what took longer has no bucket.
pub const GATE_TIMES_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 10_000_000];

/// The calls of a gate that were made, of all its versions together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRecord {
    /// The gate.
    pub gate: GateName,
    /// How many calls took at most as long as each of [`GATE_TIMES_US`], and longer than the one
    /// before.
    pub times: [u64; GATE_TIMES_US.len()],
    /// How many calls there were.
    pub calls: u64,
    /// How long they took together, in microseconds.
    pub total_us: u64,
    /// Whether one of its versions is not asked now, because it failed again and again.
    pub is_open: bool,
}

/// The calls of all gates.
#[derive(Debug, Default)]
pub(super) struct Records(Mutex<BTreeMap<GateName, Record>>);

#[derive(Debug, Default)]
struct Record {
    times: [u64; GATE_TIMES_US.len()],
    calls: u64,
    total_us: u64,
    breakers: BTreeMap<Sha256, Breaker>,
}

impl Records {
    /// Whether a gate may be asked; if not, why.
    pub(super) fn admit(
        &self,
        gate: &GateName,
        digest: Sha256,
        now: MonoTime,
    ) -> Result<(), String> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.entry(gate.clone()).or_default();
        let breaker = record.breakers.entry(digest).or_default();
        let failures = breaker.failures();
        breaker.admit(now).map_err(|rest| {
            let again = rest.map_or("a call that is tried now decides".to_owned(), |rest| {
                format!("it is asked again in {rest}")
            });
            format!("not asked, for it failed {failures} times in a row; {again}")
        })
    }

    /// Takes the answer to a call that was admitted.
    pub(super) fn settle(
        &self,
        gate: &GateName,
        digest: Sha256,
        answer: &GateAnswer,
        took_us: u64,
        now: MonoTime,
    ) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.entry(gate.clone()).or_default();
        record.calls += 1;
        record.total_us = record.total_us.saturating_add(took_us);
        if let Some(bucket) = GATE_TIMES_US.iter().position(|bound| took_us <= *bound) {
            record.times[bucket] += 1;
        }
        let breaker = record.breakers.entry(digest).or_default();
        let was_open = breaker.is_open();
        breaker.settle(ended(answer), now);
        if breaker.is_open() && !was_open {
            let rest = Breaker::REST;
            tracing::warn!(%gate, %digest, "the gate keeps failing, and is not asked for {rest}");
        }
    }

    /// Whether a version of a gate is not asked now, because it failed again and again.
    pub(super) fn is_open(&self, gate: &GateName, digest: Sha256) -> bool {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = records.get(gate).and_then(|record| record.breakers.get(&digest));
        breaker.is_some_and(Breaker::is_open)
    }

    /// Forgets how a version of a gate fared.
    pub(super) fn forget(&self, gate: &GateName, digest: Sha256) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = records.get_mut(gate) {
            record.breakers.remove(&digest);
        }
    }

    /// Everything, by gate.
    pub(super) fn list(&self) -> Vec<GateRecord> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(gate, record): (&GateName, &Record)| GateRecord {
            gate: gate.clone(),
            times: record.times,
            calls: record.calls,
            total_us: record.total_us,
            is_open: record.breakers.values().any(Breaker::is_open),
        };
        records.iter().map(of).collect()
    }
}

fn ended(answer: &GateAnswer) -> Ended {
    match answer {
        GateAnswer::Pass | GateAnswer::Fail { .. } | GateAnswer::Hold { .. } => Ended::Well,
        GateAnswer::Error { kind, .. } => match kind {
            GateErrorKind::Trap
            | GateErrorKind::Deadline
            | GateErrorKind::Memory
            | GateErrorKind::Limit
            | GateErrorKind::Guest => Ended::Failed,
            GateErrorKind::Busy | GateErrorKind::Unavailable | GateErrorKind::CircuitOpen => {
                Ended::Neither
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_keeps_failing_is_not_asked_and_another_version_of_it_is() {
        let records = Records::default();
        let gate: GateName = "budget".parse().expect("valid");
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        let now = MonoTime::from_ms(1_000);
        let trap = GateAnswer::Error { kind: GateErrorKind::Trap, text: String::new() };
        for _ in 0..Breaker::FAILURES {
            assert_eq!(records.admit(&gate, old, now), Ok(()));
            records.settle(&gate, old, &trap, 60, now);
        }
        let why = records.admit(&gate, old, now).expect_err("open");
        assert!(why.contains("5 times in a row") && why.contains("in 30s"), "{why}");
        assert_eq!(records.admit(&gate, new, now), Ok(()));
        records.settle(&gate, new, &GateAnswer::Pass, 20_000_000, now);
        let [record] = &records.list()[..] else { panic!("one gate") };
        assert_eq!((record.calls, record.times[1], record.is_open), (6, 5, true));
        assert_eq!(record.times.iter().sum::<u64>(), 5, "one took longer than any bucket");
        assert_eq!(record.total_us, 20_000_300);
        assert_eq!((records.is_open(&gate, old), records.is_open(&gate, new)), (true, false));
        records.forget(&gate, old);
        assert_eq!(records.admit(&gate, old, now), Ok(()));
    }
}
