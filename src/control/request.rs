//! What the writer can be asked, and what it answers.

use std::sync::Arc;

use crate::config::Config;
use crate::core::model::{
    AlarmName, AlarmState, GateName, GateSpec, Labels, Revision, RolloutId, ServiceName, Sha256,
    StrategyName, Target, TargetGroupName, Weight,
};
use crate::core::rollout::{Actor, Verb};
use crate::resolve::ListNumber;

use super::{RolloutView, ServiceView};

/// Something to do, by whom and why.
#[derive(Clone, Debug)]
pub struct Request {
    /// What.
    pub command: Command,
    /// Who.
    pub actor: Actor,
    /// Why; `None` where no reason was given.
    pub reason: Option<String>,
    /// The version of the service's record that the sender last saw; `None` takes any.
    pub if_match: Option<u64>,
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Set a split by hand.
    SetSplit {
        /// Of which service.
        service: ServiceName,
        /// Green's weight.
        green: Weight,
    },
    /// Swap or revert roles by hand.
    Roles {
        /// Of which service.
        service: ServiceName,
        /// Which of the two.
        change: RoleChange,
    },
    /// Start a rollout.
    StartRollout(Box<StartRollout>),
    /// Tell a rollout something.
    Rollout {
        /// Which.
        id: RolloutId,
        /// What.
        verb: Verb,
    },
    /// Register a group's targets.
    SetTargets {
        /// Which group.
        group: GroupRef,
        /// All its targets.
        targets: Vec<Target>,
        /// What it runs; `None` leaves that as it is.
        revision: Option<Revision>,
    },
    /// Give a group back to the file.
    ResetTargets {
        /// Which group.
        group: TargetGroupName,
    },
    /// Push an alarm's state.
    PushAlarm {
        /// Which.
        alarm: AlarmName,
        /// What it says.
        state: AlarmState,
    },
    /// Use another configuration.
    Reload {
        /// The configuration, read and checked.
        config: Arc<Config>,
        /// The last list of targets that was heard before its files were read.
        read: ListNumber,
    },
    /// Take what Alertmanager tells.
    HearAlerts {
        /// Its alerts, in its order.
        alerts: Vec<Alert>,
    },
    /// Create rollouts with a component that was uploaded and is loaded.
    UseGate {
        /// The gate with the component.
        spec: GateSpec,
        /// What the ledger says of it, in JSON.
        detail: String,
    },
    /// Forget the components of an uploaded gate.
    DropGate {
        /// Which.
        gate: GateName,
    },
}

/// An alert that Alertmanager tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Whether it fires; otherwise it is resolved.
    pub is_firing: bool,
    /// Its labels.
    pub labels: Labels,
    /// What tells it from all others.
    pub fingerprint: String,
    /// What it is about, in words.
    pub summary: String,
}

/// What can be done to a service's roles by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// Make green, which has all the traffic, blue.
    Swap,
    /// Go back to the group that was blue before.
    Revert,
}

/// A group by its role or by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRef {
    /// The group that is green in a service.
    GreenOf(ServiceName),
    /// The group of this name.
    Named(TargetGroupName),
}

/// What a rollout is started with.
#[derive(Clone, Debug)]
pub struct StartRollout {
    /// The service.
    pub service: ServiceName,
    /// What green runs.
    pub revision: Revision,
    /// Green's targets; `None` takes those that are registered.
    pub targets: Option<Vec<Target>>,
    /// The strategy; `None` takes the service's.
    pub strategy: Option<StrategyName>,
    /// What it is about.
    pub description: String,
    /// Alarms that shall not judge it.
    pub ignore_alarms: Vec<AlarmName>,
    /// Makes a repetition of the request have no further effect; `None` starts anew each time.
    pub idempotency: Option<IdempotencyKey>,
    /// Random numbers for its ids and its salt.
    pub draws: [u64; 4],
    /// The alarms that shall judge it instead of the service's; `None` takes those.
    pub alarms: Option<Vec<AlarmName>>,
}

/// The key of a request that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The digest of token, service and key together.
    pub scope: Sha256,
    /// The digest of the request's body.
    pub body: Sha256,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A service after the change.
    Service {
        /// The service.
        service: Box<ServiceView>,
        /// Whether the change is saved; a lowering is answered before that.
        persisted: bool,
    },
    /// A rollout was started, or had been by an earlier request of the same key.
    Started {
        /// The rollout.
        rollout: Arc<RolloutView>,
    },
    /// A rollout after a command.
    Rollout {
        /// The rollout.
        rollout: Arc<RolloutView>,
        /// Whether the change is saved; an abort is answered before that.
        persisted: bool,
    },
    /// A group has these targets now.
    Targets {
        /// The group.
        group: TargetGroupName,
        /// Its targets.
        targets: Vec<Target>,
    },
    /// An alarm's state was taken.
    AlarmPushed,
    /// The configuration is in use.
    Reloaded(ReloadReport),
    /// What Alertmanager told was taken.
    AlertsHeard(HookReport),
    /// A gate has another component, or none.
    GateChanged,
}

/// What came of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookReport {
    /// The alarms that they are about, with what these say now.
    pub heard: Vec<(AlarmName, AlarmState)>,
    /// The labels of those that are about none.
    pub unknown: Vec<String>,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// The table's generation afterwards.
    pub generation: u64,
    /// What of the file does not count, and why.
    pub ignored: Vec<String>,
}
