//! Which sticky units were seen, asked and told by many threads at once.
//!
//! It is [`SeenUnits`](super::SeenUnits) without a lock: a Bloom filter of fixed size whose bits
//! of one unit lie in one word, so that a single atomic step both asks and remembers. Of several
//! requests of a unit at the same moment exactly one is the first. It takes some new units for seen
//! ones, under 1 % of 200 000, which drops data and nothing else; it never forgets.

use std::sync::atomic::{AtomicU64, Ordering};

use super::chance::Chance;

/// The units that were seen.
#[derive(Debug)]
pub(super) struct UnitFilter {
    words: Box<[AtomicU64]>,
}

impl UnitFilter {
    /// None was seen.
    pub(super) fn new() -> Self {
        Self { words: std::iter::repeat_with(|| AtomicU64::new(0)).take(WORDS).collect() }
    }

    /// Remembers a unit; whether it is new. `unit` is a hash under a salt of its own: not the one
    /// that draws the side, or the filter would know the label.
    pub(super) fn insert(&self, unit: u64) -> bool {
        let (place, mask) = bits(unit);
        let word = &self.words[place];
        // Most units are old ones, for which nothing has to be written.
        let is_old = word.load(Ordering::Relaxed) & mask == mask;
        !is_old && word.fetch_or(mask, Ordering::AcqRel) & mask != mask
    }

    /// Whether a unit was remembered, or is taken for one that was.
    pub(super) fn contains(&self, unit: u64) -> bool {
        let (place, mask) = bits(unit);
        self.words[place].load(Ordering::Acquire) & mask == mask
    }

    /// The same in fewer words, in which more units are taken for seen ones and none is forgotten:
    /// as few as keep it sparse, and never more than a quarter of them.
    pub(super) fn folded(&self) -> Vec<u64> {
        let mut words: Vec<u64> =
            self.words.iter().map(|word| word.load(Ordering::Acquire)).collect();
        while words.len() > FEWEST_WRITTEN {
            let (low, high) = words.split_at(words.len() / 2);
            let half: Vec<u64> = low.iter().zip(high).map(|(low, high)| low | high).collect();
            let set: u64 = half.iter().map(|word| u64::from(word.count_ones())).sum();
            if words.len() <= MOST_WRITTEN && set > SPARSE * half.len() as u64 {
                break;
            }
            words = half;
        }
        words
    }

    /// Remembers all units of a filter that was folded; `false` if it is none.
    pub(super) fn recall(&self, folded: &[u64]) -> bool {
        if !folded.len().is_power_of_two() || folded.len() > MOST_WRITTEN {
            return false;
        }
        for (word, more) in self.words.iter().zip(folded.iter().cycle()) {
            word.fetch_or(*more, Ordering::AcqRel);
        }
        true
    }
}

/// The word of a unit, and its bits there.
fn bits(unit: u64) -> (usize, u64) {
    let mut hash = Chance::new(unit);
    let (place, choice) = (hash.bits() as usize % WORDS, hash.bits());
    (place, (0..PROBES).fold(0, |mask, probe| mask | 1 << ((choice >> (6 * probe)) & 63)))
}

/// 512 KiB.
const WORDS: usize = 1 << 16;
const PROBES: u64 = 4;
/// Words of a folded filter: 128 KiB, and 512 bytes.
const MOST_WRITTEN: usize = WORDS / 4;
const FEWEST_WRITTEN: usize = 64;
/// Bits of a word that may be set in the mean where a filter is folded by choice: then it takes
/// under 1 % of new units for seen ones.
const SPARSE: u64 = 16;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_unit_is_new_once_and_few_are_dropped() {
        let mut chance = Chance::new(7);
        let units: Vec<u64> = (0..200_000).map(|_| chance.bits()).collect();
        let filter = UnitFilter::new();
        assert!(!filter.contains(units[0]));
        let new = units.iter().filter(|unit| filter.insert(**unit)).count();
        assert!(new > 198_000, "{new}");
        assert!(units.iter().all(|unit| filter.contains(*unit)), "it never forgets");
        assert!(units.iter().all(|unit| !filter.insert(*unit)));
    }

    #[test]
    fn of_many_requests_of_a_unit_at_once_one_is_the_first() {
        let filter = UnitFilter::new();
        let first: Vec<AtomicUsize> = (0..2_000).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for (unit, first) in first.iter().enumerate() {
                        if filter.insert(unit as u64) {
                            first.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let counts: Vec<usize> = first.into_iter().map(AtomicUsize::into_inner).collect();
        assert!(counts.iter().all(|count| *count <= 1));
        assert!(counts.iter().filter(|count| **count == 1).count() > 1_980);
    }
}
