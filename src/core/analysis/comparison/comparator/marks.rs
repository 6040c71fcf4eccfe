//! The marks that an evaluation makes beside the evidence: what is shown once stays so.

use super::super::cohort::Cohort;
use super::super::latch::AbsoluteAlarm;
use super::super::metric::Metric;
use super::super::standing::Standing;
use super::Comparator;

impl Comparator {
    pub(super) fn mark_alarms(&mut self, at: &Standing, cohort: u64) {
        let Some(rule) = self.rules.absolute else {
            return;
        };
        if self.latch.alarms.iter().all(Option::is_some) {
            return;
        }
        let values = at.alone(&self.absolute.bets);
        for (alarm, value) in self.latch.alarms.iter_mut().zip(values) {
            if alarm.is_none() && value >= rule.alpha.boundary() {
                *alarm = Some(AbsoluteAlarm { cohort, value: value.min(f64::MAX) });
            }
        }
    }

    pub(super) fn mark_certificates(&mut self, at: &Standing, cohort: &Cohort) {
        let Some(rule) = self.rules.certificate else {
            return;
        };
        if cohort.step_key() != self.latch.step {
            return;
        }
        let tallies = at.step.of(self.latch.step);
        let epoch = self.epochs.of(cohort.epoch);
        for place in Metric::ALL.map(Metric::index) {
            if !self.latch.certified[place]
                && let Some(table) = &epoch.certificates[place]
            {
                self.latch.certified[place] = table.value(tallies[place]) >= rule.beta.boundary();
            }
        }
    }

    /// Tests the ratios at one prefix; testing at fewer is always valid.
    pub(super) fn mark_ratios(&mut self, until: Option<u64>) {
        let mut tests = self.folded.ratios;
        let mut epoch = self.folded.cohort.map(|cohort| cohort.epoch);
        for slot in self.slots.iter().take_while(|slot| Some(slot.cohort.number) <= until) {
            if epoch != Some(slot.cohort.epoch) {
                let closing = epoch.map(|epoch| &self.epochs.of(epoch).ratios);
                tests.enter(slot.cohort.epoch, closing);
                epoch = Some(slot.cohort.epoch);
            }
            tests.add(slot.cells.rows[Metric::Errors.index()].against_rollback());
        }
        if let Some(epoch) = epoch {
            let tables = &self.epochs.of(epoch).ratios;
            self.latch.refuted.mark(tests.refuted(tables, self.rules.alpha.boundary()));
        }
    }
}
