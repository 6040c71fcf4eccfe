//! What the store keeps of services, groups, rollouts and alarms.
//!
//! Every record is JSON. Fields may be added with a default; the meaning of one never changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::core::analysis::comparison::Saved;
use crate::core::model::{
    AlarmState, GateName, Revision, RolloutId, Salt, ServiceName, Sha256, Split, Target,
    TargetGroupName, WallTime,
};
use crate::core::rollout::{Cause, Rollout};
use crate::gate::KeptState;
use crate::store::Key;

use super::{AnalysisView, Tally};

/// What a service is at run time: the file declares its structure, this says who is blue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServiceRecord {
    /// The group that serves.
    pub blue: TargetGroupName,
    /// The weights by the last decision.
    pub split: Split,
    /// The salt of the last rollout.
    pub salt: Salt,
    /// Whether the other group runs what served before: only then there is a way back to it.
    #[serde(default)]
    pub other_served: bool,
    /// Grows with every change of this record.
    pub version: u64,
}

impl ServiceRecord {
    /// Takes other contents; the version grows if they are other ones.
    pub(super) fn set(&mut self, other: Self) {
        let other = Self { version: self.version, ..other };
        if *self != other {
            *self = Self { version: self.version + 1, ..other };
        }
    }

    /// The same with another blue, which has all the traffic.
    pub(super) fn with_blue(&self, blue: &TargetGroupName) -> Self {
        Self { blue: blue.clone(), split: Split::ALL_BLUE, other_served: true, ..self.clone() }
    }

    /// The same when the other group was given something else to run.
    pub(super) fn without_way_back(&self) -> Self {
        Self { other_served: false, ..self.clone() }
    }
}

/// A target group at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    /// Its targets.
    pub targets: Vec<Target>,
    /// What it runs; `None` until a deploy tool said so.
    pub revision: Option<Revision>,
    /// Whether its targets were registered over the API, and the file's list no longer counts.
    pub registered: bool,
}

/// A rollout, or the rollback of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RolloutRecord {
    /// A rollout that was started by somebody.
    Rollout {
        /// The machine with everything it needs to go on.
        rollout: Box<Rollout>,
        /// What its requests came to.
        tally: Tally,
        /// When it ended; `None` while it runs.
        ended: Option<WallTime>,
        /// What its comparison came to; `None` if nothing was compared.
        #[serde(default)]
        analysis: Option<Box<AnalysisView>>,
        /// What its comparison goes on from; `None` where nothing is compared, or it is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<Saved>>,
    },
    /// The rollback of a rollout: recorded with the end of that, already succeeded.
    Rollback(RollbackRecord),
}

/// The rollback of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RollbackRecord {
    /// Its id.
    pub id: RolloutId,
    /// The rollout that was rolled back.
    pub of: RolloutId,
    /// The service.
    pub service: ServiceName,
    /// What was taken back.
    pub from: Revision,
    /// What serves again; `None` if no deploy tool ever said.
    pub to: Option<Revision>,
    /// Why; `None` where nothing was said.
    pub cause: Option<Cause>,
    /// When.
    pub at: WallTime,
}

/// The state that was pushed to an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AlarmRecord {
    /// What it says.
    pub state: AlarmState,
    /// Why, in the pusher's words; `None` where nothing was said.
    pub reason: Option<String>,
    /// When it was pushed.
    pub at: WallTime,
    /// The fingerprints of the alerts about it that fire, by what Alertmanager told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub firing: BTreeSet<String>,
}

/// The answer that an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdempotencyRecord {
    /// The digest of the body of the first request.
    pub body: Sha256,
    /// The rollout that it started.
    pub rollout: RolloutId,
    /// When.
    pub at: WallTime,
}

/// What a gate keeps for a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GateStateRecord {
    /// The service.
    pub service: ServiceName,
    /// The gate.
    pub gate: GateName,
    /// Every key with its value.
    pub values: BTreeMap<String, String>,
}

impl From<KeptState> for GateStateRecord {
    fn from(state: KeptState) -> Self {
        let KeptState { service, gate, values } = state;
        Self { service, gate, values }
    }
}

impl From<GateStateRecord> for KeptState {
    fn from(record: GateStateRecord) -> Self {
        let GateStateRecord { service, gate, values } = record;
        Self { service, gate, values }
    }
}

/// The record's key: every kind has names that are valid keys.
pub(super) fn key(kind: &str, name: &str) -> Key {
    Key::new(kind, name).expect("names and ids are valid in keys")
}

/// The text of a record.
pub(super) fn text<T: Serialize>(record: &T) -> String {
    serde_json::to_string(record).expect("records have only text keys")
}
