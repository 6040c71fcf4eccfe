//! Random choices that a seed repeats.

use std::ops::Range;

/// A generator of random numbers (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Takes its seed from `TIDEGATE_E2E_SEED`, or draws one, and says which.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("TIDEGATE_E2E_SEED").ok();
        let seed = given.map_or_else(rand::random, |text| text.parse().expect("a seed"));
        super::report(&format!("seed: TIDEGATE_E2E_SEED={seed}"));
        Self(seed)
    }

    /// A number of the range, each as likely as the others.
    pub(crate) fn of(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) % (range.end - range.start)
    }
}
