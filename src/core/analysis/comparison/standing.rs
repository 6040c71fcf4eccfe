//! Where all processes stand after a prefix of the cohorts.

use serde::{Deserialize, Serialize};

use super::bets::BetTable;
use super::cells::Cells;
use super::certificate::StepTallies;
use super::cohort::Cohort;
use super::epochs::{Epoch, Epochs};
use super::metric::{METRICS, Metric, PerMetric};
use super::wealth::Wealth;

/// What the absolute processes need besides the cohorts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absolute {
    pub(super) bets: BetTable,
    /// The first cohort that counts, on green and on blue.
    pub(super) from: [u64; 2],
}

/// The state of all processes after a prefix; small, so that a walk can begin with a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    compared: PerMetric<Wealth>,
    /// Green's and blue's.
    absolute: [Wealth; 2],
    pub(super) step: StepTallies,
}

impl Standing {
    /// Goes one cohort further.
    pub(super) fn absorb(
        &mut self,
        cohort: &Cohort,
        cells: &Cells,
        epochs: &Epochs,
        absolute: &Absolute,
    ) {
        let present = self.compared[0].epoch();
        if present != Some(cohort.epoch) {
            enter(&mut self.compared, cohort.epoch, present.map(|epoch| epochs.of(epoch)));
            for wealth in &mut self.absolute {
                wealth.enter(cohort.epoch, &absolute.bets);
            }
        }
        for (wealth, row) in self.compared.iter_mut().zip(&cells.rows) {
            wealth.add(row.against_rollback());
        }
        let alone = cells.absolute.against_alarm();
        let sides = [(alone.green_bad, alone.green_ok), (alone.blue_bad, alone.blue_ok)];
        for ((wealth, (bad, ok)), from) in self.absolute.iter_mut().zip(sides).zip(absolute.from) {
            if cohort.number >= from {
                wealth.add(super::Tally::new(bad, ok, 0, 0));
            }
        }
        self.step.add(cohort.step_key(), cells.rows.map(|row| row.against_pass()));
    }

    /// The evidence against green here.
    pub(super) fn point(
        &self,
        cohort: Option<&Cohort>,
        epoch: Option<&Epoch>,
        omegas: &PerMetric<f64>,
    ) -> Point {
        let by_metric = values(&self.compared, epoch);
        Point {
            cohort: cohort.map(|cohort| cohort.number),
            total: total(&by_metric, omegas),
            by_metric,
        }
    }

    /// The absolute processes' evidence against green and against blue.
    pub(super) fn alone(&self, bets: &BetTable) -> [f64; 2] {
        self.absolute.map(|wealth| wealth.value(bets))
    }

    /// The epoch that the comparison is in; `None` before the first.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.compared[0].epoch()
    }

    /// Gives the absolute process of one side a new capital.
    pub(super) fn rearm(&mut self, side: usize) {
        self.absolute[side] = Wealth::default();
    }
}

/// Closes an epoch in every metric and opens a later one.
pub(super) fn enter(wealth: &mut PerMetric<Wealth>, epoch: u64, closing: Option<&Epoch>) {
    for metric in Metric::ALL {
        let table = closing.map_or(&BetTable::BLIND, |closing| &closing.bets[metric.index()]);
        wealth[metric.index()].enter(epoch, table);
    }
}

/// The evidence of each metric; without an epoch nothing has happened and each is 1.
pub(super) fn values(wealth: &PerMetric<Wealth>, epoch: Option<&Epoch>) -> PerMetric<f64> {
    std::array::from_fn(|place| {
        let table = epoch.map_or(&BetTable::BLIND, |epoch| &epoch.bets[place]);
        wealth[place].value(table)
    })
}

/// All metrics together: an average of e-values is one, whatever their dependence (Vovk and Wang,
/// arXiv 1912.06116).
pub(super) fn total(by_metric: &PerMetric<f64>, omegas: &PerMetric<f64>) -> f64 {
    by_metric.iter().zip(omegas).filter(|(_, omega)| **omega > 0.0).map(|(e, o)| e * o).sum()
}

/// The evidence against green after a prefix of the cohorts, in all metrics at once (B3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The last cohort of the prefix; `None` before the first.
    pub cohort: Option<u64>,
    /// The evidence of all metrics together: a rollback at `1 / alpha`.
    pub total: f64,
    /// The evidence of each metric.
    pub by_metric: PerMetric<f64>,
}

impl Point {
    /// Which part of the whole evidence each metric has, given their omegas.
    #[must_use]
    pub fn shares(&self, omegas: &PerMetric<f64>) -> PerMetric<f64> {
        std::array::from_fn(|place| {
            let part = (omegas[place] * self.by_metric[place]).min(f64::MAX);
            part / self.total.min(f64::MAX)
        })
    }

    /// Whether something is not a number, which the bets exclude: a fault inside (B13).
    pub(super) fn is_faulty(&self) -> bool {
        self.total.is_nan() || self.by_metric.iter().any(|e| e.is_nan())
    }

    /// The same with the largest number in the place of infinity, so that it can be written down.
    pub(super) fn finite(self) -> Self {
        let clamp = |e: f64| if e.is_nan() { e } else { e.min(f64::MAX) };
        Self { total: clamp(self.total), by_metric: self.by_metric.map(clamp), ..self }
    }
}

impl Default for Point {
    fn default() -> Self {
        Self { cohort: None, total: 1.0, by_metric: [1.0; METRICS] }
    }
}
