//! What a comparison comes to is recorded beside it.

use crate::core::analysis::Staying;
use crate::core::analysis::replay::Stance;
use crate::core::model::{MonoTime, Side};

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
        let shown = self.stance(now);
        self.tap.evaluated(now, green_targets, shown, &self.comparator);
    }

    /// Records which burn rates page, and what that calls for: a rollout acts on it before the next
    /// evaluation.
    pub(super) fn record_burns(&mut self, now: MonoTime) {
        if !self.tap.is_open() || !self.has_begun() {
            return;
        }
        let (stance, pages, _) = self.stance(now);
        self.tap.paged(now, (stance, pages), &self.comparator);
    }

    /// Records whether a target that should be out stays in, and what that calls for.
    pub(super) fn record_staying(&mut self, now: MonoTime) {
        if !self.tap.is_open() || !self.has_begun() {
            return;
        }
        let (stance, _, staying) = self.stance(now);
        self.tap.stays(now, (stance, staying), &self.comparator);
    }

    /// What it calls for; which burn rates page, green's and blue's; and whether a target stays in
    /// that should be out.
    fn stance(&self, now: MonoTime) -> (Stance, [bool; 2], Staying) {
        let pages = [Side::Green, Side::Blue].map(|side| self.pages(side));
        let checked = (self.split.alarms(), self.one_target);
        let on_shared = self.spec.on_shared_degradation.into();
        let seen = (now, self.blue_seen);
        let stance = Stance::of(&self.comparator, on_shared, seen, checked, pages);
        let staying = self.suspicion.staying();
        (stance.held(&self.comparator, staying, now), pages, staying)
    }
}
