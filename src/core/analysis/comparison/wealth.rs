//! One e-process with restarts: what eight bets on one metric have made of a capital of 1.
//!
//! A green that was healthy for an hour leaves every bet deep in the red, so the capital is
//! invested in instalments: one half at the start and `1/(2k(k+1))` at epoch k (section 4; the
//! recursion is Shiryaev and Roberts', with masses that sum to 1 as in Shin, Ramdas and Rinaldo,
//! arXiv 2203.03532). What is not yet invested counts as it is. The whole is a convex combination
//! of e-processes and therefore one itself: 1 before the first request, and expected to stay at
//! most 1 as long as green is healthy.

use serde::{Deserialize, Serialize};

use super::bets::{BETS, BetTable, PRIOR};
use super::tally::Tally;

/// The state of one e-process.
///
/// The counts are those of the present epoch; the table that they are multiplied with belongs to
/// the epoch and is given with each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wealth {
    /// `None` before the first epoch: nothing is invested.
    epoch: Option<u64>,
    capital: [f64; BETS],
    tally: Tally,
}

impl Wealth {
    /// Closes the present epoch with its table and opens a later one; does nothing for the present
    /// or an earlier one. Epochs that were skipped are invested together (C9, D2).
    pub fn enter(&mut self, epoch: u64, closing: &BetTable) {
        if self.epoch.is_some_and(|present| epoch <= present) {
            return;
        }
        let invested = cash(self.epoch) - cash(Some(epoch));
        let growth = closing.growth(self.tally);
        for (capital, growth) in self.capital.iter_mut().zip(growth) {
            *capital = (*capital * growth.exp()).min(LARGEST_CAPITAL) + invested;
        }
        self.tally = Tally::default();
        self.epoch = Some(epoch);
    }

    /// Counts requests of the present epoch.
    pub fn add(&mut self, tally: Tally) {
        self.tally += tally;
    }

    /// What the capital has become: the evidence. It may be infinite, and is never NaN for finite
    /// tables.
    #[must_use]
    pub fn value(&self, table: &BetTable) -> f64 {
        let growth = table.growth(self.tally);
        let bets = PRIOR.iter().zip(self.capital).zip(growth);
        cash(self.epoch)
            + bets.map(|((prior, capital), ln)| prior * capital * ln.exp()).sum::<f64>()
    }

    /// The present epoch; `None` before the first.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The requests counted in the present epoch.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

/// What is not invested before the end of an epoch.
fn cash(epoch: Option<u64>) -> f64 {
    match epoch {
        None => 1.0,
        Some(0) => 0.5,
        Some(k) => 0.5 / (k as f64 + 1.0),
    }
}

/// A capital above this is cut when its epoch closes: an infinite one could not lose again (B13).
const LARGEST_CAPITAL: f64 = 1e300;

#[cfg(test)]
mod tests {
    use super::super::margins::Margins;
    use super::*;

    #[test]
    fn the_instalments_of_skipped_epochs_are_paid_at_once() {
        let table = BetTable::against(0.1, Margins::new(1.1, 0.0005, 0.0).unwrap());
        let (mut slow, mut fast) = (Wealth::default(), Wealth::default());
        for epoch in 0..=40 {
            slow.enter(epoch, &table);
        }
        fast.enter(40, &table);
        for wealth in [&mut slow, &mut fast] {
            wealth.add(Tally::new(4, 10, 0, 90));
        }
        let (slow, fast) = (slow.value(&table), fast.value(&table));
        assert!((slow / fast - 1.0).abs() < 1e-12, "{slow} {fast}");
    }

    #[test]
    fn an_epoch_never_goes_back() {
        let table = BetTable::BLIND;
        let mut wealth = Wealth::default();
        wealth.enter(7, &table);
        let before = wealth;
        wealth.enter(7, &table);
        wealth.enter(3, &table);
        assert_eq!(wealth, before);
    }

    #[test]
    fn b13_capital_is_cut_so_that_it_can_be_lost_again() {
        let table = BetTable::against(0.1, Margins::new(1.0, 0.0, 0.0).unwrap());
        let mut wealth = Wealth::default();
        for epoch in 0..5 {
            wealth.enter(epoch, &table);
            wealth.add(Tally::new(400, 0, 0, 0));
            assert!(wealth.value(&table) > 1e6);
        }
        wealth.enter(5, &table);
        assert!(wealth.capital.iter().all(|capital| capital.is_finite()));
        wealth.add(Tally::new(0, 0, 100_000, 0));
        assert!((wealth.value(&table) - cash(Some(5))).abs() < 1e-9);
    }
}
