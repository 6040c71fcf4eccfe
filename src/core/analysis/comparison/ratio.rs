//! How many times as often green fails, at least: a lower bound for display.
//!
//! For each ratio of a list its own test says whether green is worse than that many times blue.
//! Shown is the largest ratio that has been refuted *together with every smaller one* (B12): then
//! the first false refutation is the only one that counts, and the bound is wrong with probability
//! at most `alpha`. It decides nothing.

use serde::{Deserialize, Serialize};

use super::bets::BetTable;
use super::margins::Margins;
use super::tally::Tally;
use super::wealth::Wealth;

/// The ratios that are told apart.
pub const LADDER: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

/// The tables of all ratios at one weight.
#[derive(Clone, Debug)]
pub(super) struct RatioTables([BetTable; LADDER.len()]);

impl RatioTables {
    pub(super) fn new(w: f64) -> Self {
        Self(LADDER.map(|ratio| {
            let margins = Margins::new(ratio, 0.0, 0.0).expect("a ratio above 0 is a margin");
            BetTable::against(w, margins)
        }))
    }
}

/// The tests of all ratios, on the errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RatioTests([Wealth; LADDER.len()]);

impl RatioTests {
    pub(super) fn enter(&mut self, epoch: u64, closing: Option<&RatioTables>) {
        for (place, wealth) in self.0.iter_mut().enumerate() {
            wealth.enter(epoch, closing.map_or(&BetTable::BLIND, |tables| &tables.0[place]));
        }
    }

    pub(super) fn add(&mut self, tally: Tally) {
        self.0.iter_mut().for_each(|wealth| wealth.add(tally));
    }

    /// How many ratios from the first on stand refuted at this point.
    pub(super) fn refuted(&self, tables: &RatioTables, boundary: f64) -> [bool; LADDER.len()] {
        std::array::from_fn(|place| self.0[place].value(&tables.0[place]) >= boundary)
    }
}

/// The ratios that have ever been refuted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refuted([bool; LADDER.len()]);

impl Refuted {
    pub(super) fn mark(&mut self, now: [bool; LADDER.len()]) {
        for (ever, now) in self.0.iter_mut().zip(now) {
            *ever |= now;
        }
    }

    /// The largest ratio such that it and every smaller one was refuted.
    pub(super) fn lower_bound(self) -> Option<f64> {
        let steps = self.0.iter().take_while(|refuted| **refuted).count();
        steps.checked_sub(1).map(|last| LADDER[last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b12_a_refuted_ratio_counts_only_with_every_smaller_one() {
        let mut refuted = Refuted::default();
        refuted.mark([false, false, true, false, true, false, false]);
        assert_eq!(refuted.lower_bound(), None);
        refuted.mark([true, false, false, false, false, false, false]);
        assert_eq!(refuted.lower_bound(), Some(1.0));
        refuted.mark([false, true, false, false, false, false, false]);
        assert_eq!(refuted.lower_bound(), Some(2.0), "what was refuted stays refuted");
    }
}
