//! What a comparison comes to is recorded beside it.

use crate::core::analysis::replay::Stance;
use crate::core::model::MonoTime;

use super::super::evidence_tap::Tap;
use super::Comparing;

impl Comparing {
    /// Has everything recorded from now on.
    pub(in crate::control) fn record_with(&mut self, tap: Tap) {
        self.tap = tap;
    }

    /// Records that it was evaluated, with so many targets of green.
    pub(super) fn record_evaluation(&mut self, now: MonoTime, green_targets: usize) {
        if !self.tap.is_open() {
            return;
        }
        let checked = (self.split.alarms(), self.one_target);
        let on_shared = self.spec.on_shared_degradation.into();
        let stance = Stance::of(&self.comparator, on_shared, (now, self.blue_seen), checked);
        self.tap.evaluated(now, green_targets, stance, &self.comparator);
    }
}
