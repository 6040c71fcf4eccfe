//! The comparison of one rollout: cohorts in, verdict out.
//!
//! Everything that is open lies in a ring of cohorts in the order of arrival; what is settled is
//! folded into the base, oldest first and never past an incomplete cohort (B1). The evidence is the
//! largest value that the combination of all metrics takes after any prefix (B3), with what is in
//! flight imputed against a rollback, but for what is slow by its age already
//! ([`Overdue`](super::overdue::Overdue)): each such value is at most the true one of that prefix,
//! so one `alpha` covers all of them at all times (C1).
//!
//! The order of a tick is: [`observe`](Comparator::observe) every open cohort,
//! [`evaluate`](Comparator::evaluate), [`fold`](Comparator::fold), [`open`](Comparator::open) the
//! next (D1). After a failure of green: observe and evaluate alone.
//!
//! Of a fleet, a cohort is opened here when every proxy has reported it, and observed with the sum
//! of their counters (B2); nothing else changes.

mod answers;
mod marks;

use std::collections::VecDeque;

use crate::core::analysis::thresholds::Thresholds;
use crate::core::model::{MonoTime, Side, Weight};

use super::bets::BetTable;
use super::cells::Cells;
use super::cohort::Cohort;
use super::epochs::{Epoch, Epochs};
use super::folded::{Folded, Slot};
use super::latch::{Crossing, Latch, place};
use super::leave_one_out::LeaveOneOut;
use super::metric::PerMetric;
use super::rules::Rules;
use super::saved::Saved;
use super::standing::{Absolute, Point};
use super::tally::Tally;

/// A cohort was opened that is not later than the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cohort {found} is not after cohort {last}")]
pub struct OutOfOrder {
    /// The number that was given.
    pub found: u64,
    /// The last number.
    pub last: u64,
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The largest evidence of any prefix now, and where.
    pub point: Point,
    /// Whether it suffices for a rollback for the first time.
    pub crossed: bool,
    /// The place of the target of green without which the evidence would not suffice: to be
    /// ejected rather than rolled back. `None` where the evidence does not suffice at all, or does
    /// without any one target.
    pub suspect: Option<usize>,
}

/// The comparison of one rollout.
#[derive(Clone, Debug)]
pub struct Comparator {
    rules: Rules,
    absolute: Absolute,
    epochs: Epochs,
    folded: Folded,
    slots: VecDeque<Slot>,
    /// From here on the slots' points are out of date.
    dirty: usize,
    /// How many evaluations there were.
    round: u64,
    latch: Latch,
    suspect: Option<usize>,
    evaluated: u64,
    /// What is slow in cohorts that are opened.
    thresholds: Thresholds,
}

impl Comparator {
    /// How many prefixes an evaluation brings up to date at most.
    pub const MOST_PREFIXES: usize = 96;

    /// The comparison of a rollout that has not begun.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let bets = rules.absolute.map_or(BetTable::BLIND, |rule| BetTable::absolute(rule.p0));
        Self {
            rules,
            absolute: Absolute { bets, from: [0; 2] },
            epochs: Epochs::default(),
            folded: Folded::new(),
            slots: VecDeque::with_capacity(rules.ring.max(1)),
            dirty: 0,
            round: 0,
            latch: Latch::new(),
            suspect: None,
            evaluated: 0,
            thresholds: Thresholds::default(),
        }
    }

    /// The comparison of a rollout that goes on after a restart of the process, with the same
    /// rules.
    #[must_use]
    pub fn restore(rules: Rules, saved: Saved) -> Self {
        let mut restored = Self::new(rules);
        if let Some(last) = saved.folded.cohort {
            restored.epochs.push(restored.epoch(last.epoch, last.weight));
        }
        restored.absolute.from = saved.absolute_from;
        restored.folded = saved.folded;
        restored.latch = saved.latch;
        restored
    }

    /// What has to survive a restart of the process: everything, with the open cohorts folded as
    /// they are. Requests that are in flight stay imputed for ever, and so are those that are not
    /// seen again; neither costs anything of the guarantee (C10).
    #[must_use]
    pub fn saved(&self) -> Saved {
        let mut copy = self.clone();
        while !copy.slots.is_empty() {
            copy.fold_oldest();
        }
        Saved {
            folded: copy.folded,
            latch: copy.latch,
            absolute_from: copy.absolute.from,
            units: None,
        }
    }

    /// What is slow in the cohorts that are opened from now on: what their requests carry. Until
    /// then nothing is slow before it ends.
    pub fn time_by(&mut self, thresholds: &Thresholds) {
        self.thresholds = *thresholds;
    }

    /// Opens the next cohort; the one before is closed by it. If the ring is full the oldest cohort
    /// is folded, complete or not. An epoch never goes back, and another weight is another epoch
    /// (C9, D2).
    ///
    /// # Errors
    /// If its number is not larger than that of the last one; nothing is changed then.
    pub fn open(&mut self, mut cohort: Cohort) -> Result<(), OutOfOrder> {
        let last = self.newest().map(|last| last.number);
        if let Some(last) = last.filter(|last| cohort.number <= *last) {
            return Err(OutOfOrder { found: cohort.number, last });
        }
        if let Some(newest) = self.epochs.newest() {
            cohort.epoch = cohort.epoch.max(newest.index);
            if cohort.epoch == newest.index && cohort.weight != newest.weight {
                cohort.epoch += 1;
            }
        }
        if self.epochs.newest().is_none_or(|newest| newest.index != cohort.epoch) {
            self.epochs.push(self.epoch(cohort.epoch, cohort.weight));
        }
        while self.slots.len() >= self.rules.ring.max(1) {
            self.fold_oldest();
        }
        self.latch.begin_step(cohort.step_key());
        self.slots.push_back(Slot::new(cohort, &self.thresholds));
        Ok(())
    }

    /// Takes a reading of the counters of a cohort; the larger of each count stands. Readings of
    /// cohorts that are folded already are dropped (C5, C12): the answer is whether it was taken.
    pub fn observe(&mut self, number: u64, cells: &Cells) -> bool {
        let Ok(place) = self.slots.binary_search_by_key(&number, |slot| slot.cohort.number) else {
            return false;
        };
        let slot = &mut self.slots[place];
        let later = slot.cells.later(&cells.awake(slot.cohort.dormant));
        if later != slot.cells {
            slot.cells = later;
            self.dirty = self.dirty.min(place);
        }
        true
    }

    /// Evaluates the prefixes whose value can have changed, and latches what is shown.
    /// `green_targets` is how many targets green has; whatever was read before this call was so
    /// before the next one's `now`.
    ///
    /// If very many have changed, as when blue answers an outage late, some of them wait for the
    /// next evaluations: at most [`Comparator::MOST_PREFIXES`] are evaluated at once. What a prefix
    /// was worth before is still at most its true value, so that is valid (B15).
    pub fn evaluate(&mut self, now: MonoTime, green_targets: usize) -> Evaluation {
        self.move_overdue(now);
        let before = self.latch.crossing.is_some();
        let evaluated = self.evaluated;
        let best = self.walk();
        let boundary = self.rules.alpha.boundary();
        if self.latch.fault {
            return Evaluation { point: best, crossed: false, suspect: None };
        }
        self.latch.highest = self.latch.highest.max(best.total);
        if self.evaluated > evaluated {
            self.mark_ratios(best.cohort);
        }
        if best.total < boundary {
            self.suspect = None;
        } else if !before {
            let needed = self.rules.leave_one_out_from.is_some_and(|from| green_targets >= from);
            let found = if needed { self.without_any_one() } else { Some(best) };
            self.latch.crossing = found.map(|point| self.crossing(point));
        }
        let crossed = !before && self.latch.crossing.is_some();
        Evaluation { point: best, crossed, suspect: self.suspect }
    }

    /// Folds the oldest cohorts that are closed and complete, up to the first that is not (B1).
    pub fn fold(&mut self) {
        while self.slots.len() > 1 && self.slots.front().is_some_and(|s| s.cells.is_complete()) {
            self.fold_oldest();
        }
    }

    /// Clears the alarm of a side and begins its process anew with the next cohort: when a person
    /// has dealt with it. The level then holds for each arming.
    pub fn rearm(&mut self, side: Side) {
        let side = place(side);
        self.latch.alarms[side] = None;
        self.folded.standing.rearm(side);
        self.absolute.from[side] = self.newest().map_or(0, |newest| newest.number + 1);
        self.dirty = 0;
    }

    /// The settled requests of the present step, per metric; in latency those that are slow already
    /// are among them.
    #[must_use]
    pub fn known(&self) -> PerMetric<Tally> {
        let mut known = self.folded.standing.step.of(self.latch.step);
        for slot in self.slots.iter().filter(|slot| slot.cohort.step_key() == self.latch.step) {
            let counted = slot.counted();
            for (sum, row) in known.iter_mut().zip(&counted.rows) {
                *sum += row.known();
            }
        }
        known
    }

    /// The oldest cohort that is open: outcomes of earlier ones need not be read any more. `None`
    /// before the first.
    #[must_use]
    pub fn oldest(&self) -> Option<&Cohort> {
        self.slots.front().map(|slot| &slot.cohort)
    }

    /// The numbers of the open cohorts, oldest first.
    pub fn open_cohorts(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.cohort.number)
    }

    /// The last cohort that was opened; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<&Cohort> {
        self.slots.back().map(|slot| &slot.cohort).or(self.folded.cohort.as_ref())
    }

    /// The evidence after the base and after each open cohort, as of the last evaluation.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        [self.folded.point].into_iter().chain(self.slots.iter().map(|slot| slot.point))
    }

    /// How many prefixes were evaluated since the start: what an evaluation costs (B15).
    #[must_use]
    pub fn evaluated_prefixes(&self) -> u64 {
        self.evaluated
    }

    fn epoch(&self, index: u64, weight: Weight) -> Epoch {
        Epoch::new(index, weight, &self.rules.margins, self.rules.certificate.as_ref())
    }

    /// Has what is overdue by now counted as slow, and the prefixes with it evaluated.
    fn move_overdue(&mut self, now: MonoTime) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.overdue.look(now, &slot.cells) {
                self.dirty = self.dirty.min(place);
            }
        }
    }

    /// Goes through all prefixes and brings points up to date; the largest of all.
    fn walk(&mut self) -> Point {
        let mut at = self.folded.standing;
        let mut best = self.folded.point;
        let omegas = self.rules.margins.omegas();
        self.slots.range_mut(self.dirty..).for_each(|slot| slot.fresh = false);
        self.dirty = self.slots.len();
        self.round += 1;
        let stale = self.slots.iter().filter(|slot| !slot.fresh).count();
        let stride = stale.div_ceil(Self::MOST_PREFIXES).max(1);
        let mut turn = (self.round % stride as u64) as usize;
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            at.absorb(&slot.cohort, &slot.counted(), &self.epochs, &self.absolute);
            turn += usize::from(!slot.fresh);
            if !slot.fresh && turn.is_multiple_of(stride) {
                let epoch = self.epochs.of(slot.cohort.epoch);
                let point = at.point(Some(&slot.cohort), Some(epoch), &omegas).finite();
                (slot.point, slot.fresh, slot.round) = (point, true, self.round);
                self.latch.fault |= point.is_faulty();
                self.evaluated += 1;
                let cohort = slot.cohort;
                self.mark_alarms(&at, cohort.number);
                self.mark_certificates(&at, &cohort);
            }
            if self.slots[place].point.total > best.total {
                best = self.slots[place].point;
            }
        }
        best
    }

    /// The prefix with the most evidence that suffices without any one target of green.
    fn without_any_one(&mut self) -> Option<Point> {
        let without = LeaveOneOut {
            folded: &self.folded,
            slots: &self.slots,
            epochs: &self.epochs,
            omegas: self.rules.margins.omegas(),
            boundary: self.rules.alpha.boundary(),
        };
        without.strongest(self.round, &mut self.suspect)
    }

    fn fold_oldest(&mut self) {
        let Some(slot) = self.slots.pop_front() else {
            return;
        };
        let omegas = self.rules.margins.omegas();
        self.folded.take(slot.cohort, &slot.counted(), &self.epochs, &self.absolute, &omegas);
        self.latch.fault |= self.folded.point.is_faulty();
        self.epochs.forget_before(slot.cohort.epoch);
        self.dirty = self.dirty.saturating_sub(1);
    }

    fn crossing(&self, point: Point) -> Crossing {
        let epoch = self.slots.iter().find(|slot| Some(slot.cohort.number) == point.cohort);
        let epoch = epoch.map(|slot| slot.cohort.epoch).or(self.folded.cohort.map(|c| c.epoch));
        Crossing {
            point,
            shares: point.shares(&self.rules.margins.omegas()),
            epoch: epoch.unwrap_or(0),
            tallies: self.known(),
        }
    }
}
