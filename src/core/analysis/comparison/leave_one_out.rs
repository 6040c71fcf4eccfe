//! Leave-one-out: whether a rollback would stand without any one target of green.
//!
//! One bad host is no bad version. So where green has several targets, the evidence has to suffice
//! with the bad requests of each of them in turn called ok (section 6.5 with B4): recoded and not
//! removed, because removing a request also removes what speaks for green. Each such evidence is at
//! most the whole one, at every prefix, so the rule can only prevent rollbacks. A failure that no
//! target is to blame for stays in all of them.

use std::collections::VecDeque;

use super::cells::ENDPOINTS;
use super::epochs::{Epoch, Epochs};
use super::folded::{Folded, Slot, add_without};
use super::metric::PerMetric;
use super::standing::{self, Point};
use super::wealth::Wealth;

/// The base and the open cohorts, to be read again without each target.
#[derive(Debug)]
pub(super) struct LeaveOneOut<'a> {
    pub(super) folded: &'a Folded,
    pub(super) slots: &'a VecDeque<Slot>,
    pub(super) epochs: &'a Epochs,
    pub(super) omegas: PerMetric<f64>,
    pub(super) boundary: f64,
}

impl LeaveOneOut<'_> {
    /// Among the base and the prefixes that were evaluated in this `round`, the one with the most
    /// evidence that suffices without any one target. If there is none, `suspect` is a target on
    /// which all depend.
    pub(super) fn strongest(&self, round: u64, suspect: &mut Option<usize>) -> Option<Point> {
        let suffices = |point: &Point| point.total >= self.boundary;
        let mut base = suffices(&self.folded.point);
        let candidate = |slot: &Slot| slot.round == round && suffices(&slot.point);
        let mut stands: Vec<bool> = self.slots.iter().map(candidate).collect();
        // The one that it failed on before is the likeliest to make it fail again.
        let first = suspect.unwrap_or(0);
        for target in (0..ENDPOINTS).map(|offset| (first + offset) % ENDPOINTS) {
            if !base && !stands.contains(&true) {
                break;
            }
            if self.strike(target, &mut base, &mut stands) {
                *suspect = Some(target);
            }
        }
        let slots = self.slots.iter().zip(&stands).filter(|(_, stands)| **stands);
        let points = slots.map(|(slot, _)| slot.point).chain(base.then_some(self.folded.point));
        let found = points.max_by(|one, other| one.total.total_cmp(&other.total));
        if found.is_some() {
            *suspect = None;
        }
        found
    }

    /// Strikes out the prefixes that do not suffice without one target; whether there was any.
    fn strike(&self, target: usize, base: &mut bool, stands: &mut [bool]) -> bool {
        let mut wealth = self.folded.without[target];
        let mut epoch = self.folded.cohort.map(|cohort| self.epochs.of(cohort.epoch));
        let mut struck = false;
        if *base && self.falls_short(&wealth, epoch) {
            (*base, struck) = (false, true);
        }
        for (slot, stands) in self.slots.iter().zip(stands) {
            if epoch.is_none_or(|epoch| epoch.index != slot.cohort.epoch) {
                standing::enter(&mut wealth, slot.cohort.epoch, epoch);
                epoch = Some(self.epochs.of(slot.cohort.epoch));
            }
            add_without(&mut wealth, &slot.counted(), target);
            if *stands && self.falls_short(&wealth, epoch) {
                (*stands, struck) = (false, true);
            }
        }
        struck
    }

    fn falls_short(&self, wealth: &PerMetric<Wealth>, epoch: Option<&Epoch>) -> bool {
        standing::total(&standing::values(wealth, epoch), &self.omegas) < self.boundary
    }
}
