//! Sticky units: each user is one datum per metric and rollout.
//!
//! Where the *user* was drawn and not the request, a broken client's hundred errors are one flip of
//! the coin. Counted by request, 30 such users make a false rollback likely; counted again in every
//! epoch, or by a filter that forgets, hardly less (B9). So of each unit its first failure counts
//! in the metrics of events, and its first request of the rollout in those of latency.
//!
//! A Bloom filter of fixed size answers whether a unit was seen (Bloom 1970). It never forgets
//! within a rollout; that it takes some new units for seen ones drops data and nothing else. It has
//! to be persisted with the rollout: if it is lost, every metric is dormant until the next one.
//!
//! The weight of such a datum is that of its request's cohort, which is right for stickiness by a
//! threshold on a hash of the unit. Weights that were fixed when a cookie was issued are not
//! supported.

use serde::{Deserialize, Serialize};

/// The units that were seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenUnits {
    words: Vec<u64>,
    seen: u64,
}

impl SeenUnits {
    /// How many bits the filter has: 256 KiB for 200 000 units with under 1 % dropped.
    pub const BITS: u64 = 1 << 21;

    /// None was seen.
    #[must_use]
    pub fn new() -> Self {
        Self { words: vec![0; (Self::BITS / 64) as usize], seen: 0 }
    }

    /// Remembers a unit; whether it is new. `key` is 128 bits of a hash of the unit under a salt of
    /// its own: not the one that draws the side, or the filter would know the label.
    pub fn insert(&mut self, key: (u64, u64)) -> bool {
        let mut new = false;
        for bit in bits(key) {
            let (word, mask) = (&mut self.words[(bit / 64) as usize], 1 << (bit % 64));
            new |= *word & mask == 0;
            *word |= mask;
        }
        self.seen += u64::from(new);
        new
    }

    /// Whether a unit was remembered, or is taken for one that was.
    #[must_use]
    pub fn contains(&self, key: (u64, u64)) -> bool {
        bits(key).all(|bit| self.words[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }

    /// How many different units it took in.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

/// The bits of a unit, by double hashing (Kirsch and Mitzenmacher 2006).
fn bits((first, second): (u64, u64)) -> impl Iterator<Item = u64> {
    let at = move |probe: u64| first.wrapping_add(probe.wrapping_mul(second | 1));
    (0..PROBES).map(move |probe| at(probe) % SeenUnits::BITS)
}

const PROBES: u64 = 7;

impl Default for SeenUnits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    #[test]
    fn a_unit_is_new_once_and_few_are_dropped() {
        let mut chance = Chance::new(7);
        let keys: Vec<(u64, u64)> = (0..200_000).map(|_| (chance.bits(), chance.bits())).collect();
        let mut units = SeenUnits::new();
        let new = keys.iter().filter(|key| units.insert(**key)).count();
        assert!(new > 198_000, "{new}");
        assert!(keys.iter().all(|key| units.contains(*key)), "it never forgets");
        assert!(keys.iter().all(|key| !units.insert(*key)));
        assert!(!SeenUnits::new().contains(keys[0]));
        assert_eq!(units.seen(), new as u64);
    }
}
