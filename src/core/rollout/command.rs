//! What people and tools may tell a rollout, and when it refuses.

use super::effect::Effects;
use super::{
    Cause, Command, Fact, Hold, Outcome, Raise, Ready, Rollout, Shifting, State, StateName,
    StepPhase, Verb,
};

/// Why a command makes no sense now. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The rollout is over.
    #[error("the rollout is {state}: it cannot be changed any more")]
    Over {
        /// How it ended.
        state: StateName,
    },
    /// The state has no use for it.
    #[error("{verb} makes no sense while the rollout is {state}")]
    NotNow {
        /// What was wanted.
        verb: &'static str,
        /// Where it is.
        state: StateName,
    },
    /// It waits for no approval.
    #[error("the rollout waits for no approval")]
    NothingToApprove,
    /// A reason must be given.
    #[error("{verb} with an override needs a reason")]
    ReasonWanted {
        /// What was wanted.
        verb: &'static str,
    },
    /// Something stands against it.
    #[error("green would be promoted against: {}", list(.holds))]
    Held {
        /// What.
        holds: Vec<Hold>,
    },
}

fn list(holds: &[Hold]) -> String {
    holds.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Rollout {
    /// Whether a command makes sense now.
    ///
    /// # Errors
    /// The reason why not.
    pub fn permits(&self, command: &Command) -> Result<(), Refusal> {
        let state = self.state.name();
        if state.is_terminal() {
            return Err(Refusal::Over { state });
        }
        let verb = command.verb.as_str();
        let reasoned = command.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
        match command.verb {
            Verb::Abort | Verb::Stop | Verb::Pause => Ok(()),
            Verb::Resume { override_regression: true } if !reasoned => {
                Err(Refusal::ReasonWanted { verb })
            }
            Verb::Resume { override_regression } => {
                let against = self.regression.is_some() || !self.freezes().is_empty();
                let useful = self.paused.is_some() || (override_regression && against);
                if useful { Ok(()) } else { Err(Refusal::NotNow { verb, state }) }
            }
            Verb::Approve | Verb::Reject if self.state.approval().is_none() => {
                Err(Refusal::NothingToApprove)
            }
            Verb::Approve | Verb::Reject => Ok(()),
            Verb::Promote { force: true } if !reasoned => Err(Refusal::ReasonWanted { verb }),
            Verb::Promote { force } => self.permits_promotion(force),
        }
    }

    fn permits_promotion(&self, force: bool) -> Result<(), Refusal> {
        let state = self.state.name();
        let possible = match &self.state {
            State::Testing(_) | State::Ready(_) => true,
            State::Shifting(Shifting { index, phase }) => {
                let last = *index == self.spec.last_shift();
                !(last
                    && matches!(
                        phase,
                        StepPhase::Raising { why: Raise::Promoted | Raise::Forced, .. }
                    ))
            }
            State::Created(_)
            | State::Installing(_)
            | State::Baking(_)
            | State::Succeeded(_)
            | State::RolledBack(_)
            | State::Stopped(_)
            | State::Failed(_) => false,
        };
        if !possible || self.seen.is_none() {
            return Err(Refusal::NotNow { verb: "promote", state });
        }
        if self.restarting {
            return Err(Refusal::Held { holds: vec![Hold::Restarting] });
        }
        let holds: Vec<Hold> = self.standing_holds().into_iter().filter(is_against).collect();
        if force || holds.is_empty() { Ok(()) } else { Err(Refusal::Held { holds }) }
    }

    /// Whether a promotion that was begun may go through: what stood against it then was taken
    /// upon somebody, and nothing new came up while the store saved.
    pub(super) fn may_promote(&self, forced: bool) -> bool {
        let free = |hold: &Hold| match hold {
            Hold::Restarting
            | Hold::Paused { .. }
            | Hold::Regression { .. }
            | Hold::BlueCannotTakeTraffic { .. } => false,
            Hold::Alarm { alarm, .. } if is_against(hold) => {
                forced && self.is_overridden(&Cause::Alarm { alarm: alarm.clone() })
            }
            Hold::GreenHasNoTargets
            | Hold::GreenUnhealthy { .. }
            | Hold::EvidenceAgainst { .. }
            | Hold::Degraded { .. }
            | Hold::SampleRatio { .. }
            | Hold::AnalysisFault => forced,
            Hold::Alarm { .. }
            | Hold::BlueUnhealthy { .. }
            | Hold::Gate { .. }
            | Hold::GateAsked { .. }
            | Hold::Approval
            | Hold::Samples { .. }
            | Hold::Evidence { .. }
            | Hold::Store { .. } => true,
        };
        self.seen.is_some() && self.standing_holds().iter().all(free)
    }

    /// Carries a command out, or records why not.
    pub(super) fn command(&mut self, command: &Command, out: &mut Effects) {
        let verb = command.verb;
        let (actor, reason) = (command.actor.clone(), command.reason.clone());
        if let Err(refusal) = self.permits(command) {
            let why = refusal.to_string();
            out.record_by(Fact::CommandRefused { verb, why }, actor, reason);
            return;
        }
        match verb {
            Verb::Abort | Verb::Reject => {
                // First the table, then everything else.
                self.take_back(Some(person(command)), &actor, out);
                out.record_by(Fact::Commanded { verb }, actor, reason);
            }
            Verb::Stop => {
                out.record_by(Fact::Commanded { verb }, actor.clone(), reason);
                self.end(Outcome::Stopped, Some(person(command)), &actor, out);
            }
            Verb::Pause => {
                self.paused = Some((actor.name.clone(), reason.clone()));
                out.record_by(Fact::Commanded { verb }, actor, reason);
            }
            Verb::Resume { override_regression } => {
                self.paused = None;
                out.record_by(Fact::Commanded { verb }, actor, reason);
                if override_regression {
                    self.override_causes(command, out);
                }
            }
            Verb::Approve => {
                out.record_by(Fact::Commanded { verb }, actor, reason);
                self.approve(out);
            }
            Verb::Promote { force } => {
                out.record_by(Fact::Commanded { verb }, actor, reason);
                if force {
                    self.override_causes(command, out);
                }
                self.promote(force, out);
            }
        }
    }

    fn approve(&mut self, out: &mut Effects) {
        let index = match &self.state {
            State::Ready(Ready::Approval { index, .. })
            | State::Shifting(Shifting { index, phase: StepPhase::Approval(_) }) => *index,
            State::Created(_)
            | State::Installing(_)
            | State::Testing(_)
            | State::Ready(Ready::BeforeAllowTraffic { .. })
            | State::Shifting(_)
            | State::Baking(_)
            | State::Succeeded(_)
            | State::RolledBack(_)
            | State::Stopped(_)
            | State::Failed(_) => return,
        };
        self.after_approval(index, out);
    }

    fn promote(&mut self, force: bool, out: &mut Effects) {
        self.paused = None;
        let last = self.spec.last_shift();
        if self.state.name() != StateName::Shifting {
            self.begin_step(last, out);
        }
        self.entered = self.timeline.elapsed();
        let why = if force { Raise::Forced } else { Raise::Promoted };
        self.intend_raise(last, why, out);
    }
}

fn person(command: &Command) -> Cause {
    Cause::Person {
        name: command.actor.name.clone(),
        verb: command.verb.as_str().to_owned(),
        reason: command.reason.clone(),
    }
}

/// Whether a hold stands against a promotion: the rest is what a promotion skips.
fn is_against(hold: &Hold) -> bool {
    match hold {
        Hold::Regression { .. }
        | Hold::BlueCannotTakeTraffic { .. }
        | Hold::GreenHasNoTargets
        | Hold::GreenUnhealthy { .. }
        | Hold::EvidenceAgainst { .. }
        | Hold::Degraded { .. }
        | Hold::SampleRatio { .. }
        | Hold::AnalysisFault => true,
        Hold::Alarm { state, .. } => *state == crate::core::model::AlarmState::Alarm,
        Hold::Restarting
        | Hold::Paused { .. }
        | Hold::BlueUnhealthy { .. }
        | Hold::Gate { .. }
        | Hold::GateAsked { .. }
        | Hold::Approval
        | Hold::Samples { .. }
        | Hold::Evidence { .. }
        | Hold::Store { .. } => false,
    }
}
