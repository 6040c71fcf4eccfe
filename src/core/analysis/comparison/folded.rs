//! The base: everything that was folded, as the state that its requests have left behind.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::core::analysis::thresholds::Thresholds;

use super::cells::{Cells, ENDPOINTS};
use super::cohort::Cohort;
use super::epochs::Epochs;
use super::metric::{METRICS, PerMetric};
use super::overdue::Overdue;
use super::ratio::RatioTests;
use super::standing::{self, Absolute, Point, Standing};
use super::wealth::Wealth;

/// A cohort that is not folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) cohort: Cohort,
    pub(super) cells: Cells,
    /// The evidence after it when it was last evaluated: never more than it is worth now.
    pub(super) point: Point,
    /// Whether that was since anything in it or before it changed.
    pub(super) fresh: bool,
    /// The evaluation in which that was.
    pub(super) round: u64,
    pub(super) overdue: Overdue,
}

impl Slot {
    pub(super) fn new(cohort: Cohort, thresholds: &Thresholds) -> Self {
        let point = Point { cohort: Some(cohort.number), total: 0.0, by_metric: [0.0; METRICS] };
        let overdue = Overdue::new(thresholds);
        Self { cohort, cells: Cells::default(), point, fresh: false, round: 0, overdue }
    }

    /// Its cells as they are evaluated: with what is overdue counted as slow.
    pub(super) fn counted(&self) -> Cow<'_, Cells> {
        let moved = self.overdue.counted(&self.cells);
        moved.map_or(Cow::Borrowed(&self.cells), Cow::Owned)
    }
}

/// The state after the last folded cohort. It is itself a prefix and is evaluated too (B1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Folded {
    /// The last folded cohort; `None` before the first.
    pub(super) cohort: Option<Cohort>,
    pub(super) standing: Standing,
    pub(super) ratios: RatioTests,
    /// Per place of a target of green: the comparison with its bad requests called ok.
    pub(super) without: Vec<PerMetric<Wealth>>,
    pub(super) point: Point,
}

impl Folded {
    pub(super) fn new() -> Self {
        Self {
            cohort: None,
            standing: Standing::default(),
            ratios: RatioTests::default(),
            without: vec![PerMetric::default(); ENDPOINTS],
            point: Point::default(),
        }
    }

    /// Takes in the next cohort for good, with what is in flight imputed.
    pub(super) fn take(
        &mut self,
        cohort: Cohort,
        cells: &Cells,
        epochs: &Epochs,
        absolute: &Absolute,
        omegas: &PerMetric<f64>,
    ) {
        let closing = self.cohort.map(|last| epochs.of(last.epoch));
        self.standing.absorb(&cohort, cells, epochs, absolute);
        self.ratios.enter(cohort.epoch, closing.map(|epoch| &epoch.ratios));
        self.ratios.add(cells.rows[0].against_rollback());
        for (place, wealth) in self.without.iter_mut().enumerate() {
            standing::enter(wealth, cohort.epoch, closing);
            add_without(wealth, cells, place);
        }
        self.cohort = Some(cohort);
        let epoch = epochs.of(cohort.epoch);
        self.point = self.standing.point(Some(&cohort), Some(epoch), omegas).finite();
    }
}

/// Counts a cohort as if one target of green had answered well whatever it did (B4): its requests
/// stay, so that the result is never larger than the whole.
pub(super) fn add_without(wealth: &mut PerMetric<Wealth>, cells: &Cells, place: usize) {
    for (metric, wealth) in wealth.iter_mut().enumerate() {
        let bad = cells.bad_by_endpoint[metric][place];
        wealth.add(cells.rows[metric].against_rollback().recoded(bad.into()));
    }
}
