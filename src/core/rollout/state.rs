//! The states of a rollout, each with what only it knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::model::{Approval, Span};

use super::{Bake, Cause, Round};

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Gates are asked before anything happens.
    Created(Round),
    /// Green's targets are waited for.
    Installing(Installing),
    /// Test listeners answer from green.
    Testing(Round),
    /// A person's yes is waited for, then the last gates before traffic.
    Ready(Ready),
    /// Green is given weight, step by step.
    Shifting(Shifting),
    /// The final bake.
    Baking(Baking),
    /// Green is the new blue.
    Succeeded(Ending),
    /// Traffic was taken back.
    RolledBack(Ending),
    /// It ended where it was.
    Stopped(Ending),
    /// It ended before there was traffic.
    Failed(Ending),
}

/// The name of a state, as in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// See [`State::Created`].
    Created,
    /// See [`State::Installing`].
    Installing,
    /// See [`State::Testing`].
    Testing,
    /// See [`State::Ready`].
    Ready,
    /// See [`State::Shifting`].
    Shifting,
    /// See [`State::Baking`].
    Baking,
    /// See [`State::Succeeded`].
    Succeeded,
    /// See [`State::RolledBack`].
    RolledBack,
    /// See [`State::Stopped`].
    Stopped,
    /// See [`State::Failed`].
    Failed,
}

impl StateName {
    /// Every state in the order of a rollout.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Installing,
        Self::Testing,
        Self::Ready,
        Self::Shifting,
        Self::Baking,
        Self::Succeeded,
        Self::RolledBack,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word in the API, in metrics and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Installing => "installing",
            Self::Testing => "testing",
            Self::Ready => "ready",
            Self::Shifting => "shifting",
            Self::Baking => "baking",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Created
            | Self::Installing
            | Self::Testing
            | Self::Ready
            | Self::Shifting
            | Self::Baking => false,
            Self::Succeeded | Self::RolledBack | Self::Stopped | Self::Failed => true,
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The lifecycle stage that a state stands for, in CodeDeploy's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Before green's targets are waited for.
    BeforeInstall,
    /// Green's targets are waited for.
    Install,
    /// Green's targets are healthy.
    AfterInstall,
    /// Test listeners answer from green.
    AfterAllowTestTraffic,
    /// A person's yes is waited for.
    Ready,
    /// The last gates before traffic.
    BeforeAllowTraffic,
    /// Green is given weight.
    AllowTraffic,
    /// Green has all the weight it gets before the end.
    AfterAllowTraffic,
    /// The final bake.
    FinalBake,
    /// Nothing follows.
    End,
}

/// Green's targets are waited for, then gates are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Installing {
    /// Until enough targets are healthy.
    Targets,
    /// The gates after that.
    AfterInstall(Round),
}

/// A wait for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalWait {
    /// What was asked for.
    pub approval: Approval,
    /// When, in elapsed time.
    pub asked_at: Span,
}

/// Approvals that stand before the first step, then gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// A person is waited for.
    Approval {
        /// The place in the list of steps.
        index: usize,
        /// Since when, for how long.
        wait: ApprovalWait,
    },
    /// The gates before traffic.
    BeforeAllowTraffic {
        /// The place of the first shift.
        index: usize,
        /// Their answers.
        round: Round,
    },
}

/// One item of the list of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shifting {
    /// Its place in the list.
    pub index: usize,
    /// What is being done about it.
    pub phase: StepPhase,
}

/// What is being done about a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepPhase {
    /// A person is waited for before the next step.
    Approval(ApprovalWait),
    /// The step's gates are asked.
    BeforeStep(Round),
    /// The intention to raise green is being saved under this number.
    Raising {
        /// The save that must be confirmed.
        seq: u64,
        /// What led to it.
        why: Raise,
    },
    /// The step bakes.
    Baking(Bake),
    /// All steps are done; the gates after that.
    AfterAllowTraffic(Round),
}

/// What led to a raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Raise {
    /// The step's turn came.
    Step,
    /// A person promoted: what would follow but the final bake is skipped.
    Promoted,
    /// A person promoted against what spoke against it.
    Forced,
}

/// The final bake, and the raise that follows it where blue was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baking {
    /// The bake.
    pub bake: Bake,
    /// What is being done.
    pub phase: BakingPhase,
}

/// What is being done in the final bake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BakingPhase {
    /// Watching.
    Watching,
    /// The intention to give green what blue had kept is being saved under this number.
    Raising {
        /// The save that must be confirmed.
        seq: u64,
    },
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why; `None` where it went to its end.
    pub cause: Option<Cause>,
    /// When, in elapsed time.
    pub at: Span,
    /// The number of the step that it was in, from 0.
    pub step: u32,
    /// The save whose confirmation is followed by what belongs to the end (swapping the roles,
    /// asking the gates after a rollback); `None` when that is done.
    pub settles_with: Option<u64>,
}

impl State {
    /// The state's name.
    #[must_use]
    pub fn name(&self) -> StateName {
        match self {
            Self::Created(_) => StateName::Created,
            Self::Installing(_) => StateName::Installing,
            Self::Testing(_) => StateName::Testing,
            Self::Ready(_) => StateName::Ready,
            Self::Shifting(_) => StateName::Shifting,
            Self::Baking(_) => StateName::Baking,
            Self::Succeeded(_) => StateName::Succeeded,
            Self::RolledBack(_) => StateName::RolledBack,
            Self::Stopped(_) => StateName::Stopped,
            Self::Failed(_) => StateName::Failed,
        }
    }

    /// The lifecycle stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Created(_) => Stage::BeforeInstall,
            Self::Installing(Installing::Targets) => Stage::Install,
            Self::Installing(Installing::AfterInstall(_)) => Stage::AfterInstall,
            Self::Testing(_) => Stage::AfterAllowTestTraffic,
            Self::Ready(Ready::Approval { .. }) => Stage::Ready,
            Self::Ready(Ready::BeforeAllowTraffic { .. }) => Stage::BeforeAllowTraffic,
            Self::Shifting(Shifting { phase: StepPhase::AfterAllowTraffic(_), .. }) => {
                Stage::AfterAllowTraffic
            }
            Self::Shifting(_) => Stage::AllowTraffic,
            Self::Baking(_) => Stage::FinalBake,
            Self::Succeeded(_) | Self::RolledBack(_) | Self::Stopped(_) | Self::Failed(_) => {
                Stage::End
            }
        }
    }

    /// How it ended; `None` while it runs.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Created(_)
            | Self::Installing(_)
            | Self::Testing(_)
            | Self::Ready(_)
            | Self::Shifting(_)
            | Self::Baking(_) => None,
            Self::Succeeded(ending)
            | Self::RolledBack(ending)
            | Self::Stopped(ending)
            | Self::Failed(ending) => Some(ending),
        }
    }

    pub(super) fn ending_mut(&mut self) -> Option<&mut Ending> {
        match self {
            Self::Created(_)
            | Self::Installing(_)
            | Self::Testing(_)
            | Self::Ready(_)
            | Self::Shifting(_)
            | Self::Baking(_) => None,
            Self::Succeeded(ending)
            | Self::RolledBack(ending)
            | Self::Stopped(ending)
            | Self::Failed(ending) => Some(ending),
        }
    }

    /// The approval it waits for; `None` if it waits for none.
    #[must_use]
    pub fn approval(&self) -> Option<&ApprovalWait> {
        match self {
            Self::Ready(Ready::Approval { wait, .. })
            | Self::Shifting(Shifting { phase: StepPhase::Approval(wait), .. }) => Some(wait),
            Self::Created(_)
            | Self::Installing(_)
            | Self::Testing(_)
            | Self::Ready(Ready::BeforeAllowTraffic { .. })
            | Self::Shifting(_)
            | Self::Baking(_)
            | Self::Succeeded(_)
            | Self::RolledBack(_)
            | Self::Stopped(_)
            | Self::Failed(_) => None,
        }
    }

    /// The bake under way; `None` if there is none.
    #[must_use]
    pub fn bake(&self) -> Option<&Bake> {
        match self {
            Self::Shifting(Shifting { phase: StepPhase::Baking(bake), .. }) => Some(bake),
            Self::Baking(baking) => Some(&baking.bake),
            Self::Created(_)
            | Self::Installing(_)
            | Self::Testing(_)
            | Self::Ready(_)
            | Self::Shifting(_)
            | Self::Succeeded(_)
            | Self::RolledBack(_)
            | Self::Stopped(_)
            | Self::Failed(_) => None,
        }
    }

    pub(super) fn bake_mut(&mut self) -> Option<&mut Bake> {
        match self {
            Self::Shifting(Shifting { phase: StepPhase::Baking(bake), .. }) => Some(bake),
            Self::Baking(baking) => Some(&mut baking.bake),
            Self::Created(_)
            | Self::Installing(_)
            | Self::Testing(_)
            | Self::Ready(_)
            | Self::Shifting(_)
            | Self::Succeeded(_)
            | Self::RolledBack(_)
            | Self::Stopped(_)
            | Self::Failed(_) => None,
        }
    }

    /// The gates being asked; `None` if none are.
    #[must_use]
    pub fn round(&self) -> Option<&Round> {
        match self {
            Self::Created(round)
            | Self::Installing(Installing::AfterInstall(round))
            | Self::Testing(round)
            | Self::Ready(Ready::BeforeAllowTraffic { round, .. })
            | Self::Shifting(Shifting {
                phase: StepPhase::BeforeStep(round) | StepPhase::AfterAllowTraffic(round),
                ..
            }) => Some(round),
            Self::Shifting(Shifting { phase: StepPhase::Baking(bake), .. })
            | Self::Baking(Baking { bake, .. }) => Some(&bake.during),
            Self::Installing(Installing::Targets)
            | Self::Ready(Ready::Approval { .. })
            | Self::Shifting(_)
            | Self::Succeeded(_)
            | Self::RolledBack(_)
            | Self::Stopped(_)
            | Self::Failed(_) => None,
        }
    }

    pub(super) fn round_mut(&mut self) -> Option<&mut Round> {
        match self {
            Self::Created(round)
            | Self::Installing(Installing::AfterInstall(round))
            | Self::Testing(round)
            | Self::Ready(Ready::BeforeAllowTraffic { round, .. })
            | Self::Shifting(Shifting {
                phase: StepPhase::BeforeStep(round) | StepPhase::AfterAllowTraffic(round),
                ..
            }) => Some(round),
            Self::Shifting(Shifting { phase: StepPhase::Baking(bake), .. })
            | Self::Baking(Baking { bake, .. }) => Some(&mut bake.during),
            Self::Installing(Installing::Targets)
            | Self::Ready(Ready::Approval { .. })
            | Self::Shifting(_)
            | Self::Succeeded(_)
            | Self::RolledBack(_)
            | Self::Stopped(_)
            | Self::Failed(_) => None,
        }
    }
}
