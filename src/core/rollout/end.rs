//! Ending: how a rollout comes to its last state, and what belongs to that.

use crate::core::model::{GateStage, Weight};

use super::effect::Effects;
use super::{Actor, Cause, Effect, Ending, Fact, Notice, Outcome, Rollout, State, StateName};

impl Rollout {
    /// Takes the traffic back now: first the table, then the records.
    pub(super) fn take_back(&mut self, cause: Option<Cause>, by: &Actor, out: &mut Effects) {
        let from = std::mem::replace(&mut self.weight, Weight::ZERO);
        let outcome = if self.had_traffic { Outcome::RolledBack } else { Outcome::Failed };
        self.end(outcome, cause, by, out);
        if from > Weight::ZERO {
            out.record(Fact::GreenLowered { from, to: Weight::ZERO });
        }
        if outcome == Outcome::RolledBack {
            self.ask_all(GateStage::OnRollback, out);
        }
    }

    /// Enters the last state. Its record is saved with this event; what follows the confirmation
    /// of that is [`Self::settle_ending`]'s.
    pub(super) fn end(
        &mut self,
        outcome: Outcome,
        cause: Option<Cause>,
        by: &Actor,
        out: &mut Effects,
    ) {
        let ending = Ending {
            cause: cause.clone(),
            at: self.timeline.elapsed(),
            step: self.step(),
            settles_with: Some(self.seq + 1),
        };
        self.state = match outcome {
            Outcome::Succeeded => State::Succeeded(ending),
            Outcome::RolledBack => State::RolledBack(ending),
            Outcome::Stopped => State::Stopped(ending),
            Outcome::Failed => State::Failed(ending),
        };
        out.push(Effect::Expose(self.exposure()));
        self.regression = None;
        self.recorded_holds.clear();
        let reason = cause.as_ref().map(ToString::to_string);
        out.record_by(Fact::Ended { outcome, cause: cause.clone() }, by.clone(), reason);
        out.push(Effect::Notify(Notice::Ended { outcome, cause }));
    }

    /// Does what waited for the end to be saved.
    pub(super) fn settle_ending(&mut self, out: &mut Effects) {
        let confirmed = self.confirmed;
        let name = self.state.name();
        let Some(ending) = self.state.ending_mut() else {
            return;
        };
        if ending.settles_with.is_none_or(|seq| confirmed < seq) {
            return;
        }
        ending.settles_with = None;
        match name {
            StateName::Succeeded => out.push(Effect::SwapRoles),
            StateName::RolledBack => {
                self.ask_all(GateStage::AfterRollback, out);
                // A restart asks them again unless it knows that they were.
                out.dirty |= self.asks_after_rollback();
            }
            StateName::Created
            | StateName::Installing
            | StateName::Testing
            | StateName::Ready
            | StateName::Shifting
            | StateName::Baking
            | StateName::Stopped
            | StateName::Failed => {}
        }
    }

    /// Whether it has ended with gates that are asked once that is saved.
    #[must_use]
    pub fn has_gates_to_ask(&self) -> bool {
        match &self.state {
            State::RolledBack(ending) => {
                ending.settles_with.is_some() && self.asks_after_rollback()
            }
            State::Created(_)
            | State::Installing(_)
            | State::Testing(_)
            | State::Ready(_)
            | State::Shifting(_)
            | State::Baking(_)
            | State::Succeeded(_)
            | State::Stopped(_)
            | State::Failed(_) => false,
        }
    }

    fn asks_after_rollback(&self) -> bool {
        self.spec.gates_at(GateStage::AfterRollback).next().is_some()
    }

    /// Asks every gate of a stage that cannot veto: the answers are only recorded.
    fn ask_all(&mut self, stage: GateStage, out: &mut Effects) {
        let gates: Vec<usize> = self.spec.gates_at(stage).collect();
        for gate in gates {
            self.attempt += 1;
            let call = self.gate_call(gate, stage, self.attempt);
            out.push(Effect::RunGate(Box::new(call)));
        }
    }
}
