//! What can happen to a rollout.

use serde::{Deserialize, Serialize};

use crate::core::model::{AlarmName, AlarmState, Exposure, GateName, GroupHealth, Sha256};

use super::{GateAnswer, Hold};

/// Who did something, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name of the token, or `tidegate` for what it decides itself.
    pub name: String,
    /// Where from: `api 127.0.0.1`, `rollout`.
    pub origin: String,
}

impl Actor {
    /// Tidegate itself.
    #[must_use]
    pub fn tidegate() -> Self {
        Self { name: "tidegate".to_owned(), origin: "rollout".to_owned() }
    }
}

/// What a person or tool may tell a rollout to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Take the traffic back now; legal until the end, waits for nothing.
    Abort,
    /// End here and keep the split.
    Stop,
    /// Stop the step's clock; the watching goes on.
    Pause,
    /// Let the clock run again.
    Resume {
        /// Also ends the hold of a regression; needs a reason.
        override_regression: bool,
    },
    /// Go to the end of the steps at once; the final bake still follows.
    Promote {
        /// Even against an alarm, a regression or an unhealthy green; needs a reason.
        force: bool,
    },
    /// Say yes to the approval it waits for.
    Approve,
    /// Say no.
    Reject,
}

impl Verb {
    /// The word in the API and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume { .. } => "resume",
            Self::Promote { .. } => "promote",
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// A verb with who said it and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What to do.
    pub verb: Verb,
    /// Who wants it.
    pub actor: Actor,
    /// Why; `None` where none was given.
    pub reason: Option<String>,
}

/// What the comparison of green with blue says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// There is no comparison.
    #[default]
    Unavailable,
    /// Not enough to say; neither for nor against.
    Insufficient {
        /// How many green requests are missing, where that can be known.
        missing: Option<u64>,
    },
    /// Green is certified not to be worse than its margins.
    Pass,
    /// Green is worse.
    Against {
        /// In which respect.
        reason: String,
    },
}

/// What can be seen of a rollout's service at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Green's health.
    pub green: GroupHealth,
    /// Blue's health.
    pub blue: GroupHealth,
    /// The state of each watched alarm; one that is missing counts as INSUFFICIENT_DATA.
    pub alarms: Vec<(AlarmName, AlarmState)>,
    /// Green requests scored since the process started; only its growth counts.
    pub scored_green: u64,
    /// The comparison.
    pub evidence: Evidence,
    /// What the absolute process says against green; `None` if nothing, or without an SLO.
    pub slo_breach: Option<String>,
    /// What else was seen that keeps the weight where it is and takes nothing back: holds of the
    /// kinds [`Hold::Degraded`], [`Hold::SampleRatio`] and [`Hold::AnalysisFault`].
    pub freezes: Vec<Hold>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Ticked,
    /// Somebody looked.
    Observed(Observation),
    /// A gate answered, or the host could not ask it.
    GateAnswered {
        /// Which gate.
        gate: GateName,
        /// Which asking.
        attempt: u32,
        /// What it said.
        answer: GateAnswer,
        /// The digest of the component and all that it was told; `None` if it was not asked.
        call: Option<Sha256>,
    },
    /// The store has the record of this number, and all before it.
    Saved {
        /// The number given in [`super::Effect::Save`].
        seq: u64,
    },
    /// The store could not save; it goes on trying.
    SaveFailed {
        /// Why, in words.
        reason: String,
    },
    /// The process started and read this rollout from the store.
    Restored {
        /// What the routing table says: the lower of what the store and the table file know.
        in_force: Exposure,
    },
    /// After a start: targets are probed, alarms evaluated, evidence is restored.
    Settled,
    /// Somebody wants something.
    Commanded(Command),
}
