//! What a rollout's history is made of: everything decided or done, for the ledger.

use serde::{Deserialize, Serialize};

use crate::core::model::{GateName, GateStage, Sha256, Span, Weight};

use super::{Cause, GateAnswer, Hold, StateName, Verb};

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Green is the new blue.
    Succeeded,
    /// Traffic was taken back.
    RolledBack,
    /// It ended where it was.
    Stopped,
    /// It ended before there was traffic.
    Failed,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The rollout was created.
    RolloutCreated,
    /// It entered a state.
    StateEntered {
        /// Which.
        state: StateName,
    },
    /// A step began: its gates are asked.
    StepBegan {
        /// Its number, from 0.
        step: u32,
        /// Its weight.
        weight: Weight,
    },
    /// It decided to raise green, and waits for the store.
    RaiseIntended {
        /// The step's number.
        step: u32,
        /// The weight now.
        from: Weight,
        /// The weight to come.
        to: Weight,
    },
    /// Green was raised.
    GreenRaised {
        /// The weight before.
        from: Weight,
        /// The weight now.
        to: Weight,
    },
    /// Green was lowered.
    GreenLowered {
        /// The weight before.
        from: Weight,
        /// The weight now.
        to: Weight,
    },
    /// A step's bake was over and nothing spoke against going on.
    BakeOver {
        /// The step's number.
        step: u32,
        /// The time watched.
        watched: Span,
        /// Green requests scored in it.
        scored: u64,
    },
    /// A gate answered.
    GateAnswered {
        /// Which.
        gate: GateName,
        /// Where.
        stage: GateStage,
        /// In which step.
        step: u32,
        /// Which asking.
        attempt: u32,
        /// What it said.
        answer: GateAnswer,
        /// Whether it was only listened to.
        shadow: bool,
        /// The digest of the component and all that it was told; `None` if it was not asked, and
        /// in what earlier releases wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Sha256>,
    },
    /// An answer came that nobody waited for.
    AnswerDropped {
        /// From which gate.
        gate: GateName,
        /// To which asking.
        attempt: u32,
    },
    /// A reason not to advance came up.
    HoldBegan {
        /// Which.
        hold: Hold,
    },
    /// A reason not to advance went away.
    HoldEnded {
        /// Which, as it last was.
        hold: Hold,
    },
    /// Something spoke against green.
    RegressionFound {
        /// What.
        cause: Cause,
    },
    /// A person took a regression upon themselves.
    RegressionOverridden {
        /// Which.
        cause: Cause,
    },
    /// An approval was asked for.
    ApprovalAsked {
        /// How long it may take.
        timeout: Span,
    },
    /// Nobody answered in time, and the policy is to go on.
    ApprovalSkipped,
    /// A command was carried out.
    Commanded {
        /// Which.
        verb: Verb,
    },
    /// A command made no sense and changed nothing.
    CommandRefused {
        /// Which.
        verb: Verb,
        /// Why not.
        why: String,
    },
    /// The process started again.
    Restored {
        /// How long it was gone, by the wall clock.
        gone: Span,
    },
    /// The end.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why; `None` where it went to its end.
        cause: Option<Cause>,
    },
}
