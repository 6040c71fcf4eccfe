//! What the recorded facts say about a rollout, and whether they follow the plan.
//!
//! Everything here is read from the facts alone: after a crash the ledger is made anew from those
//! that reached the store.

use tidegate::core::model::{
    GateMode, GateName, GateStage, OnGateError, OnRegression, Step, Weight,
};
use tidegate::core::rollout::{Cause, Fact, GateAnswer, Outcome, Spec, StateName, Verb};

use crate::invariants::Broken;

/// One recorded fact.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its number in the order of recording.
    pub(crate) id: u64,
    /// What happened.
    pub(crate) fact: Fact,
    /// Whether a reason was given.
    pub(crate) has_reason: bool,
    /// For how long some process had been watching, in all, in milliseconds.
    pub(crate) watched_ms: u64,
}

/// The sum of the facts.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Whether a regression was found that no person took upon themselves, under a policy that
    /// acts on it.
    pub(crate) regression_open: bool,
    /// Whether the last promotion was a forced one with a reason.
    pub(crate) forced: bool,
    /// How it ended; `None` while it runs.
    pub(crate) ended: Option<Outcome>,
    promoted: bool,
    approvals: usize,
    in_state: Option<StateName>,
    step: u32,
    /// How many steps baked to their end.
    baked: u32,
    raised_at_ms: u64,
    answers: Vec<(Place, bool)>,
    overridden: Vec<(GateName, GateStage)>,
}

/// A gate at a stage, in a step.
type Place = (GateName, GateStage, u32);

const PLAN: &str = "no step, gate or approval is skipped";

impl Ledger {
    /// Adds a fact; what it says must follow from those before.
    pub(crate) fn note(&mut self, entry: &Entry, spec: &Spec) -> Result<(), Broken> {
        match &entry.fact {
            Fact::StateEntered { state } => {
                self.overridden.clear();
                self.in_state = Some(*state);
                self.check_state(*state, spec)
            }
            Fact::StepBegan { step, .. } => {
                self.overridden.clear();
                self.step = *step;
                self.plan(*step <= self.baked, || format!("step {step} began too early"))
            }
            Fact::GreenRaised { to, .. } => {
                self.raised_at_ms = entry.watched_ms;
                self.check_raise(*to, spec)
            }
            Fact::BakeOver { step, .. } => {
                self.baked = self.baked.max(step + 1);
                self.check_bake(*step, entry.watched_ms, spec)
            }
            Fact::GateAnswered { gate, stage, step, answer, shadow: false, .. } => {
                self.note_answer((gate.clone(), *stage, *step), answer, spec);
                Ok(())
            }
            Fact::RegressionFound { cause } => {
                self.regression_open |= spec.policies.on_regression != OnRegression::Notify
                    || matches!(cause, Cause::Deadline { .. } | Cause::MissingEvidence);
                Ok(())
            }
            Fact::RegressionOverridden { cause } => {
                self.regression_open = false;
                if let Cause::Gate { gate, stage, .. } = cause {
                    self.override_gate(gate, *stage);
                }
                Ok(())
            }
            Fact::ApprovalSkipped => {
                self.approvals += 1;
                Ok(())
            }
            Fact::Commanded { verb } => {
                self.note_command(*verb, entry.has_reason);
                Ok(())
            }
            Fact::Ended { outcome, .. } => {
                let before = self.ended.replace(*outcome);
                Broken::unless(before.is_none(), "a rollout ends once", || format!("{before:?}"))
            }
            Fact::RolloutCreated
            | Fact::RaiseIntended { .. }
            | Fact::GreenLowered { .. }
            | Fact::GateAnswered { shadow: true, .. }
            | Fact::AnswerDropped { .. }
            | Fact::HoldBegan { .. }
            | Fact::HoldEnded { .. }
            | Fact::ApprovalAsked { .. }
            | Fact::CommandRefused { .. }
            | Fact::Restored { .. } => Ok(()),
        }
    }

    fn note_command(&mut self, verb: Verb, has_reason: bool) {
        match verb {
            Verb::Promote { force } => {
                self.promoted = true;
                self.forced = force && has_reason;
            }
            Verb::Approve => self.approvals += 1,
            Verb::Abort | Verb::Stop | Verb::Pause | Verb::Resume { .. } | Verb::Reject => {}
        }
    }

    fn note_answer(&mut self, place: Place, answer: &GateAnswer, spec: &Spec) {
        let usage = spec.gates.iter().map(|gate| &gate.usage).find(|usage| usage.gate == place.0);
        // What the policy only tells, or a person took upon themselves, is no obstacle.
        let tolerated =
            spec.policies.on_regression == OnRegression::Notify || self.is_overridden(&place);
        let passed = match (answer, usage.map(|usage| usage.on_error)) {
            (GateAnswer::Pass, _) | (GateAnswer::Error { .. }, Some(OnGateError::Ignore)) => true,
            (GateAnswer::Fail { .. }, _)
            | (GateAnswer::Error { .. }, Some(OnGateError::Rollback)) => tolerated,
            (GateAnswer::Hold { .. } | GateAnswer::Error { .. }, _) => false,
        };
        match self.answers.iter_mut().find(|(known, _)| *known == place) {
            Some((_, last)) => *last = passed,
            None => self.answers.push((place, passed)),
        }
    }

    fn override_gate(&mut self, gate: &GateName, stage: GateStage) {
        self.overridden.push((gate.clone(), stage));
        for ((name, at, _), passed) in &mut self.answers {
            *passed |= name == gate && *at == stage;
        }
    }

    fn is_overridden(&self, (gate, stage, _): &Place) -> bool {
        self.overridden.iter().any(|(name, at)| name == gate && at == stage)
    }

    /// Whether every gate that is obeyed at a stage has passed there, or was overridden.
    fn check_gates(&self, stage: GateStage, step: u32, spec: &Spec) -> Result<(), Broken> {
        for index in spec.gates_at(stage) {
            let usage = &spec.gates[index].usage;
            let place = (usage.gate.clone(), stage, step);
            let passed = self.answers.iter().any(|(known, passed)| *known == place && *passed);
            let fine = passed || usage.mode == GateMode::Shadow;
            self.plan(fine, || format!("gate {} has not passed {stage}", usage.gate))?;
        }
        Ok(())
    }

    fn check_state(&self, state: StateName, spec: &Spec) -> Result<(), Broken> {
        match state {
            StateName::Installing => self.check_gates(GateStage::BeforeInstall, 0, spec),
            StateName::Testing => self.check_gates(GateStage::AfterInstall, 0, spec),
            StateName::Ready => self.check_gates(GateStage::AfterAllowTestTraffic, 0, spec),
            StateName::Shifting => self.check_gates(GateStage::BeforeAllowTraffic, 0, spec),
            StateName::Baking => {
                let last = spec.step_number(spec.last_shift());
                self.plan(self.baked == last + 1, || "the last step has not baked".to_owned())?;
                self.check_gates(GateStage::AfterAllowTraffic, last, spec)
            }
            StateName::Created
            | StateName::Succeeded
            | StateName::RolledBack
            | StateName::Stopped
            | StateName::Failed => Ok(()),
        }
    }

    fn check_raise(&self, to: Weight, spec: &Spec) -> Result<(), Broken> {
        if self.in_state == Some(StateName::Baking) {
            return self.plan(to == Weight::FULL, || format!("raised to {to} after the steps"));
        }
        let index = place_of(spec, self.step);
        let planned = spec.shift_at(index).map(|shift| shift.weight);
        self.plan(planned == Some(to), || format!("raised to {to}, planned {planned:?}"))?;
        let asked =
            spec.steps[..index].iter().filter(|step| matches!(step, Step::Approval(_))).count();
        self.plan(self.approvals >= asked, || format!("raised to {to} without an approval"))?;
        self.check_gates(GateStage::BeforeStep, self.step, spec)
    }

    fn check_bake(&self, step: u32, watched_ms: u64, spec: &Spec) -> Result<(), Broken> {
        let planned = spec.shift_at(place_of(spec, step)).map_or(0, |shift| shift.bake.ms());
        let baked = watched_ms - self.raised_at_ms;
        let fine = self.promoted || baked >= planned;
        Broken::unless(fine, "a bake is never shorter than planned", || {
            format!("step {step} baked {baked} ms of {planned} ms")
        })?;
        self.check_gates(GateStage::DuringStep, step, spec)
    }

    /// After a promotion the plan no longer binds.
    fn plan(&self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
        Broken::unless(holds || self.promoted, PLAN, what)
    }
}

/// The place of a step in the list of steps.
fn place_of(spec: &Spec, step: u32) -> usize {
    (0..spec.steps.len())
        .find(|index| spec.step_number(*index) == step && spec.shift_at(*index).is_some())
        .unwrap_or(spec.last_shift())
}
