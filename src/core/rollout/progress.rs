//! Going on: what follows by itself when nothing stands in the way.

use crate::core::model::{
    Approval, GateStage, OnApprovalTimeout, OnMissingEvidence, Span, Step, Weight,
};

use super::effect::Effects;
use super::{
    ApprovalWait, Bake, Baking, BakingPhase, Cause, Effect, Evidence, Fact, Installing, Notice,
    Outcome, Raise, Ready, Rollout, Round, Shifting, State, StateName, StepPhase,
};

/// More transitions than this in one event would be a loop; the next event goes on.
const TRANSITIONS: usize = 64;

impl Rollout {
    /// Goes on as far as it can.
    pub(super) fn progress(&mut self, out: &mut Effects) {
        for _ in 0..TRANSITIONS {
            if self.state.ending().is_some() {
                return;
            }
            self.ask_gates(out);
            if !self.progress_once(out) {
                return;
            }
        }
    }

    /// One transition; gives whether there was one.
    fn progress_once(&mut self, out: &mut Effects) -> bool {
        match &self.state {
            State::Created(round) => {
                let ready = self.may_raise() && round.has_passed(&self.spec);
                ready && self.enter(State::Installing(Installing::Targets), out)
            }
            State::Installing(Installing::Targets) => {
                let ready = self.may_raise() && self.target_hold().is_none();
                ready && {
                    let round = self.round(GateStage::AfterInstall);
                    self.shift_phase(State::Installing(Installing::AfterInstall(round)))
                }
            }
            State::Installing(Installing::AfterInstall(round)) => {
                let ready = self.may_raise() && round.has_passed(&self.spec);
                ready && {
                    let round = self.round(GateStage::AfterAllowTestTraffic);
                    self.enter(State::Testing(round), out)
                }
            }
            State::Testing(round) => {
                let ready = self.may_raise() && round.has_passed(&self.spec);
                ready && self.enter_ready(0, out)
            }
            State::Ready(Ready::Approval { index, wait }) => {
                let (index, wait) = (*index, *wait);
                self.approval_over(wait, out) && self.after_approval(index, out)
            }
            State::Ready(Ready::BeforeAllowTraffic { index, round }) => {
                let index = *index;
                let ready = self.may_raise() && round.has_passed(&self.spec);
                ready && self.begin_step(index, out)
            }
            State::Shifting(shifting) => {
                let shifting = shifting.clone();
                self.progress_step(&shifting, out)
            }
            State::Baking(baking) => {
                let baking = baking.clone();
                self.progress_final_bake(&baking, out)
            }
            State::Succeeded(_) | State::RolledBack(_) | State::Stopped(_) | State::Failed(_) => {
                false
            }
        }
    }

    fn progress_step(&mut self, shifting: &Shifting, out: &mut Effects) -> bool {
        let index = shifting.index;
        match &shifting.phase {
            StepPhase::Approval(wait) => {
                self.approval_over(*wait, out) && self.after_approval(index, out)
            }
            StepPhase::BeforeStep(round) => {
                let ready = self.may_raise() && round.has_passed(&self.spec);
                ready && self.intend_raise(index, Raise::Step, out)
            }
            StepPhase::Raising { seq, why } => {
                // Saving took time: what held when the intention was formed must still hold.
                let free = match why {
                    Raise::Step => self.may_raise(),
                    Raise::Promoted => self.may_promote(false),
                    Raise::Forced => self.may_promote(true),
                };
                self.confirmed >= *seq && free && self.raise(index, *why, out)
            }
            StepPhase::Baking(bake) => {
                let over = bake.is_over() || self.may_go_early(index, bake.scored);
                let ready = self.may_raise() && over;
                ready && bake.during.has_passed(&self.spec) && self.finish_step(index, bake, out)
            }
            StepPhase::AfterAllowTraffic(round) => {
                let ready = self.may_raise() && round.has_passed(&self.spec);
                ready && self.enter_final_bake(out)
            }
        }
    }

    fn round(&self, stage: GateStage) -> Round {
        Round::begin(&self.spec, stage, self.timeline.elapsed())
    }

    /// Enters a state of another name.
    pub(super) fn enter(&mut self, state: State, out: &mut Effects) -> bool {
        let before = self.exposure();
        let name = state.name();
        self.state = state;
        self.begin_clock();
        out.record(Fact::StateEntered { state: name });
        if self.exposure() != before {
            out.push(Effect::Expose(self.exposure()));
        }
        true
    }

    /// Starts the clock of a state or step. What was overridden or told about the one before, and
    /// is no lasting condition, is over with it.
    fn begin_clock(&mut self) {
        self.entered = self.timeline.elapsed();
        self.overridden.retain(Cause::is_condition);
        self.told.retain(Cause::is_condition);
    }

    /// Changes what is being done within a state.
    fn shift_phase(&mut self, state: State) -> bool {
        self.state = state;
        true
    }

    fn enter_ready(&mut self, index: usize, out: &mut Effects) -> bool {
        let state = match self.spec.steps.get(index) {
            Some(Step::Approval(approval)) => {
                let wait = self.ask_approval(*approval, out);
                State::Ready(Ready::Approval { index, wait })
            }
            Some(Step::Shift(_)) | None => {
                let round = self.round(GateStage::BeforeAllowTraffic);
                State::Ready(Ready::BeforeAllowTraffic { index, round })
            }
        };
        if self.state.name() == StateName::Ready {
            out.dirty = true;
            self.shift_phase(state)
        } else {
            self.enter(state, out)
        }
    }

    fn ask_approval(&self, approval: Approval, out: &mut Effects) -> ApprovalWait {
        out.record(Fact::ApprovalAsked { timeout: approval.timeout });
        out.push(Effect::Notify(Notice::ApprovalWanted { timeout: approval.timeout }));
        ApprovalWait { approval, asked_at: self.timeline.elapsed() }
    }

    /// Whether an approval that nobody gave is no longer waited for.
    fn approval_over(&mut self, wait: ApprovalWait, out: &mut Effects) -> bool {
        let waited = self.timeline.elapsed().saturating_sub(wait.asked_at);
        if self.restarting || waited < wait.approval.timeout {
            return false;
        }
        let cause = Cause::Deadline { of: "approval".to_owned() };
        match wait.approval.on_timeout {
            OnApprovalTimeout::Continue => {
                out.record(Fact::ApprovalSkipped);
                return true;
            }
            OnApprovalTimeout::Rollback => self.latch(cause, true, out),
            OnApprovalTimeout::Stop => {
                self.end(Outcome::Stopped, Some(cause), &self.system(), out);
            }
        }
        false
    }

    /// Goes on behind an approval, given or skipped.
    pub(super) fn after_approval(&mut self, index: usize, out: &mut Effects) -> bool {
        if self.state.name() == StateName::Ready {
            self.enter_ready(index + 1, out)
        } else {
            self.begin_step(index + 1, out)
        }
    }

    /// Begins the item at a place of the list.
    pub(super) fn begin_step(&mut self, index: usize, out: &mut Effects) -> bool {
        let phase = match self.spec.steps.get(index) {
            Some(Step::Approval(approval)) => {
                StepPhase::Approval(self.ask_approval(*approval, out))
            }
            Some(Step::Shift(_)) | None => {
                let weight = self.spec.shift_at(index).map_or(self.weight, |shift| shift.weight);
                let step = self.spec.step_number(index);
                out.record(Fact::StepBegan { step, weight });
                StepPhase::BeforeStep(self.round(GateStage::BeforeStep))
            }
        };
        let state = State::Shifting(Shifting { index, phase });
        if self.state.name() == StateName::Shifting {
            self.begin_clock();
            self.shift_phase(state)
        } else {
            self.enter(state, out)
        }
    }

    /// Saves the intention to raise green; the raise itself waits for the store.
    pub(super) fn intend_raise(&mut self, index: usize, why: Raise, out: &mut Effects) -> bool {
        let to = self.spec.shift_at(index).map_or(self.weight, |shift| shift.weight);
        let step = self.spec.step_number(index);
        out.record(Fact::RaiseIntended { step, from: self.weight, to });
        self.had_traffic = true;
        let phase = StepPhase::Raising { seq: self.seq + 1, why };
        self.shift_phase(State::Shifting(Shifting { index, phase }))
    }

    fn raise(&mut self, index: usize, why: Raise, out: &mut Effects) -> bool {
        let shift = self.spec.shift_at(index);
        let to = shift.map_or(self.weight, |shift| shift.weight);
        self.expose_raised(to, out);
        match why {
            Raise::Step => {}
            Raise::Promoted | Raise::Forced => return self.enter_final_bake(out),
        }
        let length = shift.map_or(Span::ZERO, |shift| shift.bake);
        let bake = self.bake(length);
        self.shift_phase(State::Shifting(Shifting { index, phase: StepPhase::Baking(bake) }))
    }

    fn expose_raised(&mut self, to: Weight, out: &mut Effects) {
        let from = std::mem::replace(&mut self.weight, to);
        self.forget_certificate();
        out.push(Effect::Expose(self.exposure()));
        out.record(Fact::GreenRaised { from, to });
    }

    /// A certificate is for one step: what was last seen is of the step before.
    fn forget_certificate(&mut self) {
        let evidence = self.seen.as_mut().map(|seen| &mut seen.evidence);
        if let Some(evidence) = evidence.filter(|evidence| **evidence == Evidence::Pass) {
            *evidence = Evidence::Insufficient { missing: None };
        }
    }

    fn bake(&self, length: Span) -> Bake {
        let during = self.round(GateStage::DuringStep);
        Bake { length, watched: Span::ZERO, scored: 0, during }
    }

    /// The bake of a step is over: looks at what the step asked for, and goes on.
    fn finish_step(&mut self, index: usize, bake: &Bake, out: &mut Effects) -> bool {
        if self.missing_evidence(index, bake.scored).is_some() {
            match self.policy_for(index) {
                OnMissingEvidence::Hold => return false,
                OnMissingEvidence::Rollback => {
                    self.latch(Cause::MissingEvidence, true, out);
                    return false;
                }
                OnMissingEvidence::Promote => {}
            }
        }
        let step = self.spec.step_number(index);
        out.record(Fact::BakeOver { step, watched: bake.watched, scored: bake.scored });
        if index < self.spec.last_shift() {
            return self.begin_step(index + 1, out);
        }
        let phase = StepPhase::AfterAllowTraffic(self.round(GateStage::AfterAllowTraffic));
        self.shift_phase(State::Shifting(Shifting { index, phase }))
    }

    /// The policy for missing evidence governs what was asked for; the least that a step needs
    /// that asks for nothing is always waited for.
    fn policy_for(&self, index: usize) -> OnMissingEvidence {
        let asked = match self.spec.steps.get(index) {
            Some(Step::Shift(shift)) => shift.samples.is_some() || shift.evidence_pass,
            Some(Step::Approval(_)) | None => false,
        };
        if asked { self.spec.policies.on_insufficient } else { OnMissingEvidence::Hold }
    }

    fn enter_final_bake(&mut self, out: &mut Effects) -> bool {
        let bake = self.bake(self.spec.final_bake.length);
        self.enter(State::Baking(Baking { bake, phase: BakingPhase::Watching }), out)
    }

    fn progress_final_bake(&mut self, baking: &Baking, out: &mut Effects) -> bool {
        if !self.may_raise() {
            return false;
        }
        match baking.phase {
            BakingPhase::Watching => {
                if !baking.bake.is_over() || !baking.bake.during.has_passed(&self.spec) {
                    return false;
                }
                if self.weight == Weight::FULL {
                    self.end(Outcome::Succeeded, None, &self.system(), out);
                    return true;
                }
                let step = self.step();
                out.record(Fact::RaiseIntended { step, from: self.weight, to: Weight::FULL });
                let phase = BakingPhase::Raising { seq: self.seq + 1 };
                self.shift_phase(State::Baking(Baking { bake: baking.bake.clone(), phase }))
            }
            BakingPhase::Raising { seq } if self.confirmed >= seq => {
                self.expose_raised(Weight::FULL, out);
                self.end(Outcome::Succeeded, None, &self.system(), out);
                true
            }
            BakingPhase::Raising { .. } => false,
        }
    }

    /// The place in the list of steps; `None` outside of it.
    pub(super) fn step_index(&self) -> Option<usize> {
        match &self.state {
            State::Ready(
                Ready::Approval { index, .. } | Ready::BeforeAllowTraffic { index, .. },
            )
            | State::Shifting(Shifting { index, .. }) => Some(*index),
            State::Baking(_) => Some(self.spec.last_shift()),
            State::Created(_)
            | State::Installing(_)
            | State::Testing(_)
            | State::Succeeded(_)
            | State::RolledBack(_)
            | State::Stopped(_)
            | State::Failed(_) => None,
        }
    }

    /// The table serves less than was saved: goes back to the step whose weight that was, and
    /// raises green to it again. Nothing that guards a later step is passed by; two steps may have
    /// the same weight, so that the weight alone does not tell which one it was.
    pub(super) fn fall_back_to(&mut self, weight: Weight, out: &mut Effects) {
        let from = std::mem::replace(&mut self.weight, weight);
        out.push(Effect::Expose(self.exposure()));
        out.record(Fact::GreenLowered { from, to: weight });
        let reached = match &self.state {
            // The intention to go on was saved, and is as good from here.
            State::Shifting(Shifting { phase: StepPhase::Raising { .. }, .. }) => return,
            State::Shifting(Shifting {
                index,
                phase: StepPhase::Approval(_) | StepPhase::BeforeStep(_),
            }) => *index,
            State::Shifting(Shifting { index, .. }) => index + 1,
            State::Baking(_) => self.spec.last_shift() + 1,
            State::Created(_)
            | State::Installing(_)
            | State::Testing(_)
            | State::Ready(_)
            | State::Succeeded(_)
            | State::RolledBack(_)
            | State::Stopped(_)
            | State::Failed(_) => return,
        };
        let index = (0..reached).rev().find(|index| self.spec.shift_at(*index).is_some());
        if let Some(index) = index {
            self.begin_step(index, out);
            let phase = StepPhase::Raising { seq: self.seq, why: Raise::Step };
            self.shift_phase(State::Shifting(Shifting { index, phase }));
        }
    }
}
