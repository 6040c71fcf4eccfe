//! The sticky units of a rollout as they are written down.
//!
//! A unit is one datum per metric and rollout, also over a restart (B9). So which units were
//! counted is written down together with what was counted of them, and *after* that was read: then
//! every unit in the evidence is among those that are remembered. The reverse need not hold. A unit
//! that is taken for a counted one is not counted, which drops a datum by a rule that knows neither
//! its side nor its outcome, and is safe; that is why the filters may be written smaller than they
//! are. A unit that was counted and is *not* remembered would be counted twice, which is not safe:
//! where nothing is written down, every metric rests until the next rollout.
//!
//! What was counted between the last save and a crash is in neither, and those units count then as
//! if nothing had been (C10).

use serde::{Deserialize, Serialize};

use super::counters::{Counters, Units};
use super::unit_filter::UnitFilter;

/// Which units were counted: three filters, each at most 128 KiB, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedUnits {
    /// Those that failed: in errors, and in client errors.
    failed: [String; 2],
    /// Those that sent anything.
    met: String,
}

impl Counters {
    /// The units that were counted so far; `None` where each request is drawn for itself. To be
    /// called after what was counted of them was read.
    #[must_use]
    pub fn saved_units(&self) -> Option<SavedUnits> {
        let Units { failed, met } = self.units.as_ref()?;
        let failed = failed.each_ref().map(|filter| written(&filter.folded()));
        Some(SavedUnits { failed, met: written(&met.folded()) })
    }

    /// Remembers the units of an earlier life as well; whether all of them could be read.
    #[must_use]
    pub fn recall_units(&self, saved: &SavedUnits) -> bool {
        let Some(Units { failed, met }) = &self.units else {
            return false;
        };
        let pairs = failed.iter().zip(&saved.failed).chain([(met, &saved.met)]);
        pairs.fold(true, |known, (filter, text)| recall(filter, text) && known)
    }
}

fn recall(filter: &UnitFilter, text: &str) -> bool {
    read(text).is_some_and(|words| filter.recall(&words))
}

fn written(words: &[u64]) -> String {
    words.iter().map(|word| format!("{word:016x}")).collect()
}

/// `None` if it is not what was written.
fn read(text: &str) -> Option<Vec<u64>> {
    let (words, rest) = text.as_bytes().as_chunks::<DIGITS>();
    let word =
        |digits: &[u8; DIGITS]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    if !rest.is_empty() {
        return None;
    }
    words.iter().map(word).collect()
}

/// The hexadecimal digits of a word.
const DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::super::guard::ClusterGuard;
    use super::super::{Cohort, MetricSet, Settled};
    use super::*;
    use crate::core::analysis::thresholds::Thresholds;
    use crate::core::model::{MonoTime, Side, Span, Weight};

    const FAILED: Settled =
        Settled { errors: true, client4xx: false, latency_us: None, endpoint: None };

    fn weight() -> Weight {
        Weight::from_bp(1_000).unwrap()
    }

    fn counters() -> Counters {
        let counters = Counters::new(8, true, ClusterGuard::new(Span::ZERO));
        let dormant = MetricSet::NONE;
        let cohort = Cohort { number: 0, epoch: 0, step: 0, weight: weight(), dormant };
        counters.open(&cohort, &Thresholds::default());
        counters
    }

    /// A unit fails once.
    fn fail(counters: &Counters, unit: u64) {
        let ticket = counters.arrive(Side::Green, weight(), Some(unit)).expect("counted");
        counters.settle(ticket, FAILED, MonoTime::default());
    }

    fn bad(counters: &Counters) -> u32 {
        counters.read(0).expect("in the ring").rows[0].green_bad
    }

    fn recalled(saved: &SavedUnits) -> Counters {
        let next = counters();
        assert!(next.recall_units(saved));
        next
    }

    #[test]
    fn b9_who_was_counted_before_a_restart_is_not_counted_after_it() {
        let mut chance = Chance::new(3);
        let units: Vec<u64> = (0..5_000).map(|_| chance.bits()).collect();
        let first = counters();
        units.iter().for_each(|unit| fail(&first, *unit));
        let counted = bad(&first);
        assert!(counted > 4_900, "{counted}");
        let second = recalled(&first.saved_units().expect("it is sticky"));
        units.iter().for_each(|unit| fail(&second, *unit));
        assert_eq!(bad(&second), 0, "each was one datum already");
        // Others are, but for a few; and once more after a second restart.
        let others: Vec<u64> = (0..1_000).map(|_| chance.bits()).collect();
        others.iter().for_each(|unit| fail(&second, *unit));
        assert!(bad(&second) > 960, "{}", bad(&second));
        let third = recalled(&second.saved_units().expect("it is sticky"));
        units.iter().chain(&others).for_each(|unit| fail(&third, *unit));
        assert_eq!(bad(&third), 0);
    }

    #[test]
    fn what_is_written_grows_with_the_units_up_to_a_bound_and_forgets_none() {
        let mut chance = Chance::new(4);
        let mut length = |units: usize| {
            let filter = UnitFilter::new();
            let units: Vec<u64> = (0..units).map(|_| chance.bits()).collect();
            for unit in &units {
                filter.insert(*unit);
            }
            let text = written(&filter.folded());
            let next = UnitFilter::new();
            assert!(recall(&next, &text));
            assert!(units.iter().all(|unit| next.contains(*unit)), "it forgot");
            text.len()
        };
        assert!(length(0) < 2_000);
        assert!(length(100) < 4_000);
        assert!(length(10_000) < 70_000);
        assert_eq!(length(1_000_000), 256 << 10);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_all_units() {
        let saved = counters().saved_units().expect("it is sticky");
        for met in ["", "0", "000000000000000g", &"0".repeat(48), &"0".repeat(16 << 17)] {
            let torn = SavedUnits { met: met.to_owned(), ..saved.clone() };
            assert!(!counters().recall_units(&torn), "{}", met.len());
        }
        let alone = Counters::new(8, false, ClusterGuard::new(Span::ZERO));
        assert_eq!(alone.saved_units(), None);
        assert!(!alone.recall_units(&saved), "nothing is remembered here");
    }
}
