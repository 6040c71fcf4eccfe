//! Ledger entries: everything decided or done, by whom, and why.

use serde::Serialize;
use serde_json::Value;

use crate::core::ledger::Draft;
use crate::core::model::{RolloutId, ServiceName, WallTime};
use crate::core::rollout::{Actor, Fact};

/// The kind of an entry that no rollout's fact stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// A split was set by hand.
    SplitSet,
    /// Roles were swapped by hand.
    RolesSwapped,
    /// A service went back to what was blue before.
    Reverted,
    /// A group's targets were registered.
    TargetsRegistered,
    /// A group was given back to the file.
    TargetsReset,
    /// An alarm's state was pushed.
    AlarmPushed,
    /// An alarm changed its state.
    AlarmChanged,
    /// The configuration was reloaded.
    ConfigReloaded,
    /// The process started.
    Started,
    /// A gate that cannot veto answered.
    GateAnswered,
    /// A change whose author was told that it failed was taken out of the store again.
    ChangeUndone,
    /// A rollout is judged by other alarms than its service's.
    AlarmsOverridden,
    /// The evidence against green sufficed for a rollback.
    EvidenceCrossed,
    /// What the requests of a rollout that ends came to.
    RequestsCounted,
    /// A component of a gate was uploaded.
    GatePushed,
    /// The components of an uploaded gate were removed.
    GateRemoved,
    /// Entries were left out, because the store did not save for too long.
    EntriesLost,
    /// A target of green was taken out, because all the evidence rested on it.
    TargetEjected,
    /// A side of a service with an objective has another burn rate to tell of.
    BurnChanged,
}

impl EntryKind {
    /// The word in the ledger.
    #[must_use]
    fn as_str(self) -> &'static str {
        match self {
            Self::SplitSet => "split_set",
            Self::RolesSwapped => "roles_swapped",
            Self::Reverted => "reverted",
            Self::TargetsRegistered => "targets_registered",
            Self::TargetsReset => "targets_reset",
            Self::AlarmPushed => "alarm_pushed",
            Self::AlarmChanged => "alarm_changed",
            Self::ConfigReloaded => "config_reloaded",
            Self::Started => "started",
            Self::GateAnswered => "gate_answered",
            Self::ChangeUndone => "change_undone",
            Self::AlarmsOverridden => "alarms_overridden",
            Self::EvidenceCrossed => "evidence_crossed",
            Self::RequestsCounted => "requests_counted",
            Self::GatePushed => "gate_pushed",
            Self::GateRemoved => "gate_removed",
            Self::EntriesLost => "entries_lost",
            Self::TargetEjected => "target_ejected",
            Self::BurnChanged => "burn_changed",
        }
    }
}

/// What an entry is about.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) service: Option<ServiceName>,
    pub(super) rollout: Option<RolloutId>,
}

impl About {
    pub(super) fn service(service: &ServiceName) -> Self {
        Self { service: Some(service.clone()), rollout: None }
    }
}

/// An entry that no rollout's fact stands for.
pub(super) fn entry<T: Serialize>(
    kind: EntryKind,
    about: About,
    detail: &T,
    by: (&Actor, Option<&String>),
    at: WallTime,
) -> Draft {
    Draft {
        at,
        service: about.service,
        rollout: about.rollout,
        actor: by.0.name.clone(),
        origin: by.0.origin.clone(),
        reason: by.1.cloned(),
        kind: kind.as_str().to_owned(),
        detail: super::record::text(detail),
    }
}

/// The entry of a rollout's fact: the fact's own word is the kind, its payload the detail.
pub(super) fn fact(
    fact: &Fact,
    about: About,
    actor: Actor,
    reason: Option<String>,
    at: WallTime,
) -> Draft {
    let (kind, detail) = match serde_json::to_value(fact).expect("facts have only text keys") {
        Value::Object(fields) => fields.into_iter().next().unwrap_or_default(),
        Value::String(kind) => (kind, Value::Object(serde_json::Map::new())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Default::default(),
    };
    Draft {
        at,
        service: about.service,
        rollout: about.rollout,
        actor: actor.name,
        origin: actor.origin,
        reason,
        kind,
        detail: detail.to_string(),
    }
}
