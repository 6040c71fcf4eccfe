//! What a comparison comes to is recorded beside it.

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
        let (stance, pages) = self.stance(now);
        self.tap.evaluated(now, green_targets, (stance, pages), &self.comparator);
    }

    /// Records which burn rates page, and what that calls for: a rollout acts on it before the next
    /// evaluation.
    pub(super) fn record_burns(&mut self, now: MonoTime) {
        if !self.tap.is_open() || !self.has_begun() {
            return;
        }
        let (stance, pages) = self.stance(now);
        self.tap.paged(now, (stance, pages), &self.comparator);
    }

    /// What it calls for, and which burn rates page, green's and blue's.
    fn stance(&self, now: MonoTime) -> (Stance, [bool; 2]) {
        let pages = [Side::Green, Side::Blue].map(|side| self.pages(side));
        let checked = (self.split.alarms(), self.one_target);
        let on_shared = self.spec.on_shared_degradation.into();
        let seen = (now, self.blue_seen);
        (Stance::of(&self.comparator, on_shared, seen, checked, pages), pages)
    }
}
