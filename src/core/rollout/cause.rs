//! Why traffic is taken back, or should be.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::model::{AlarmName, GateName, GateStage};

/// The reason for a rollback, a freeze or an end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An alarm is in ALARM.
    Alarm {
        /// Which.
        alarm: AlarmName,
    },
    /// The comparison speaks against green.
    Evidence {
        /// In which respect.
        reason: String,
    },
    /// The absolute process speaks against green.
    Slo {
        /// What it saw.
        reason: String,
    },
    /// Green is below its health floor.
    GreenUnhealthy,
    /// A gate said fail.
    Gate {
        /// Which.
        gate: GateName,
        /// Where.
        stage: GateStage,
        /// Why.
        reason: String,
    },
    /// What a step asked for did not come, and the policy is to take it back.
    MissingEvidence,
    /// Time ran out.
    Deadline {
        /// Of what: a state's name, `step`, `approval` or `whole`.
        of: String,
    },
    /// The traffic had been taken back when the process ended, and that was not recorded yet.
    TakenBackUnrecorded,
    /// A person said so.
    Person {
        /// Who.
        name: String,
        /// `abort`, `reject` or `stop`.
        verb: String,
        /// Why; `None` where no reason was given.
        reason: Option<String>,
    },
}

impl Cause {
    /// Whether it is a condition that can clear by itself. The others are about one state or step,
    /// and over with it.
    #[must_use]
    pub fn is_condition(&self) -> bool {
        match self {
            Self::Alarm { .. }
            | Self::Evidence { .. }
            | Self::Slo { .. }
            | Self::GreenUnhealthy => true,
            Self::Gate { .. }
            | Self::MissingEvidence
            | Self::Deadline { .. }
            | Self::TakenBackUnrecorded
            | Self::Person { .. } => false,
        }
    }

    /// Whether two causes are the same condition, whatever the figures in their reasons.
    #[must_use]
    pub fn same_condition(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Evidence { .. }, Self::Evidence { .. })
            | (Self::Slo { .. }, Self::Slo { .. }) => true,
            (Self::Gate { gate, stage, .. }, Self::Gate { gate: gate2, stage: stage2, .. }) => {
                gate == gate2 && stage == stage2
            }
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alarm { alarm } => write!(f, "alarm {alarm} is in ALARM"),
            Self::Evidence { reason } => write!(f, "green is worse than blue: {reason}"),
            Self::Slo { reason } => write!(f, "green breaks its SLO: {reason}"),
            Self::GreenUnhealthy => write!(f, "green is below its health floor"),
            Self::Gate { gate, stage, reason } => write!(f, "gate {gate} at {stage}: {reason}"),
            Self::MissingEvidence => write!(f, "the evidence that the step asked for did not come"),
            Self::TakenBackUnrecorded => {
                write!(f, "the traffic was taken back just before a restart")
            }
            Self::Deadline { of } => write!(f, "the deadline of {of} passed"),
            Self::Person { name, verb, reason: Some(reason) } => {
                write!(f, "{verb} by {name}: {reason}")
            }
            Self::Person { name, verb, reason: None } => write!(f, "{verb} by {name}"),
        }
    }
}

/// A regression that was found and not yet ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// What was found.
    pub cause: Cause,
    /// Whether traffic goes back as soon as blue can take it; otherwise a person decides.
    pub wants_rollback: bool,
}
