//! Why a rollout does not advance now. There may be several reasons at once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::model::{AlarmName, AlarmState, GateName, GroupHealth, Weight};

use super::Cause;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Hold {
    /// The process started: nothing is known yet.
    Restarting,
    /// A person paused it.
    Paused {
        /// Who.
        by: String,
        /// Why; `None` where no reason was given.
        reason: Option<String>,
    },
    /// A regression was found, and the policy is to wait for a person.
    Regression {
        /// What was found.
        cause: Cause,
    },
    /// A regression was found, but blue could not take the traffic.
    BlueCannotTakeTraffic {
        /// What was found.
        cause: Cause,
    },
    /// Green's group is empty.
    GreenHasNoTargets,
    /// Green is not healthy enough.
    GreenUnhealthy {
        /// Healthy targets.
        healthy: u32,
        /// Registered targets.
        targets: u32,
        /// The share that is wanted.
        wanted: Weight,
    },
    /// Blue is below its floor: nothing could be taken back.
    BlueUnhealthy {
        /// Healthy targets.
        healthy: u32,
        /// Registered targets.
        targets: u32,
        /// The share that is wanted.
        wanted: Weight,
    },
    /// An alarm says ALARM, or nothing.
    Alarm {
        /// Which.
        alarm: AlarmName,
        /// What it says.
        state: AlarmState,
    },
    /// A gate said hold, or did not come to a verdict.
    Gate {
        /// Which.
        gate: GateName,
        /// Why.
        reason: String,
    },
    /// A gate was asked and has not answered yet.
    GateAsked {
        /// Which.
        gate: GateName,
    },
    /// A person's yes is missing.
    Approval,
    /// The step asked for more requests than were scored.
    Samples {
        /// How many more.
        missing: u64,
    },
    /// The step asked for the comparison's certificate.
    Evidence {
        /// How many more requests, where that can be known.
        missing: Option<u64>,
    },
    /// The comparison speaks against green.
    EvidenceAgainst {
        /// In which respect.
        reason: String,
    },
    /// The store has not confirmed the intention to raise green.
    Store {
        /// What it said; `None` while it has said nothing.
        reason: Option<String>,
    },
    /// A side breaks the objective, and taking the traffic back is not what that calls for.
    Degraded {
        /// Which, and what was seen.
        reason: String,
    },
    /// The requests were not split as the weight says, so that nothing can be concluded from them.
    SampleRatio {
        /// What was seen.
        reason: String,
    },
    /// The comparison failed by a fault of its own.
    AnalysisFault,
}

impl Hold {
    /// The same word as in its JSON form: what tells one hold from another when figures change.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Restarting => "restarting",
            Self::Paused { .. } => "paused",
            Self::Regression { .. } => "regression",
            Self::BlueCannotTakeTraffic { .. } => "blue-cannot-take-traffic",
            Self::GreenHasNoTargets => "green-has-no-targets",
            Self::GreenUnhealthy { .. } => "green-unhealthy",
            Self::BlueUnhealthy { .. } => "blue-unhealthy",
            Self::Alarm { .. } => "alarm",
            Self::Gate { .. } => "gate",
            Self::GateAsked { .. } => "gate-asked",
            Self::Approval => "approval",
            Self::Samples { .. } => "samples",
            Self::Evidence { .. } => "evidence",
            Self::EvidenceAgainst { .. } => "evidence-against",
            Self::Store { .. } => "store",
            Self::Degraded { .. } => "degraded",
            Self::SampleRatio { .. } => "sample-ratio",
            Self::AnalysisFault => "analysis-fault",
        }
    }

    /// Whether two holds are one and the same, whatever their figures.
    #[must_use]
    pub fn same_hold(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Alarm { alarm: a, state: s }, Self::Alarm { alarm: b, state: t }) => {
                (a, s) == (b, t)
            }
            (Self::Gate { gate: a, .. }, Self::Gate { gate: b, .. })
            | (Self::GateAsked { gate: a }, Self::GateAsked { gate: b }) => a == b,
            (a, b) => a.kind() == b.kind(),
        }
    }

    /// Whether the hold is worth a record: a gate that was asked a moment ago, or a save under
    /// way, is the normal course of things.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        !matches!(self, Self::GateAsked { .. } | Self::Store { reason: None })
    }

    pub(super) fn green_unhealthy(health: GroupHealth, wanted: Weight) -> Self {
        Self::GreenUnhealthy { healthy: health.healthy, targets: health.targets, wanted }
    }

    pub(super) fn blue_unhealthy(health: GroupHealth, wanted: Weight) -> Self {
        Self::BlueUnhealthy { healthy: health.healthy, targets: health.targets, wanted }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restarting => write!(f, "restarting: targets and alarms are being looked at"),
            Self::Paused { by, reason: Some(reason) } => write!(f, "paused by {by}: {reason}"),
            Self::Paused { by, reason: None } => write!(f, "paused by {by}"),
            Self::Regression { cause } => {
                write!(f, "regression: {cause}; abort it, or resume with an override and a reason")
            }
            Self::BlueCannotTakeTraffic { cause } => {
                write!(f, "{cause}, but blue is below its floor and cannot take the traffic")
            }
            Self::GreenHasNoTargets => write!(f, "green has no targets: register them"),
            Self::GreenUnhealthy { healthy, targets, wanted } => {
                write!(f, "{healthy} of {targets} green targets are healthy, wanted {wanted}")
            }
            Self::BlueUnhealthy { healthy, targets, wanted } => {
                write!(f, "{healthy} of {targets} blue targets are healthy, wanted {wanted}")
            }
            Self::Alarm { alarm, state } => write!(f, "alarm {alarm} says {state}"),
            Self::Gate { gate, reason } => write!(f, "gate {gate}: {reason}"),
            Self::GateAsked { gate } => write!(f, "gate {gate} is being asked"),
            Self::Approval => write!(f, "waits for an approval"),
            Self::Samples { missing: 1 } => write!(f, "1 more green request"),
            Self::Samples { missing } => write!(f, "{missing} more green requests"),
            Self::Evidence { missing: Some(missing) } => {
                write!(f, "no certificate yet, about {missing} more green requests")
            }
            Self::Evidence { missing: None } => write!(f, "no certificate yet"),
            Self::EvidenceAgainst { reason } => write!(f, "green looks worse: {reason}"),
            Self::Store { reason: Some(reason) } => write!(f, "the store does not save: {reason}"),
            Self::Store { reason: None } => write!(f, "the intention is being saved"),
            Self::Degraded { reason } => {
                write!(f, "{reason}; resume with an override and a reason when that is dealt with")
            }
            Self::SampleRatio { reason } => {
                write!(f, "the split is not what the weight says: {reason}")
            }
            Self::AnalysisFault => write!(f, "the comparison failed by a fault of its own"),
        }
    }
}
