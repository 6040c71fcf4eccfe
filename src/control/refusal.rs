//! Why a request was not carried out. Nothing was changed.

use crate::core::model::{
    AlarmName, GateName, NeverCertified, RolloutId, ServiceName, StrategyName, TargetError,
    TargetGroupName, Weight,
};
use crate::core::rollout::{self, Hold};
use crate::store::StoreError;

/// The reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// No such service.
    #[error("there is no service {0}")]
    NoService(ServiceName),
    /// No such rollout.
    #[error("there is no rollout {0}")]
    NoRollout(RolloutId),
    /// No such group.
    #[error("there is no target group {0}")]
    NoGroup(TargetGroupName),
    /// No such alarm, or not one that is told from outside.
    #[error("there is no alarm {0} whose state is pushed")]
    NoPushedAlarm(AlarmName),
    /// No such alarm.
    #[error("there is no alarm {0}")]
    NoAlarm(AlarmName),
    /// No such strategy.
    #[error("there is no strategy {0}")]
    NoStrategy(StrategyName),
    /// No such alarm among the service's.
    #[error("the service has no alarm {0}")]
    NotItsAlarm(AlarmName),
    /// The service has an active rollout.
    #[error("rollout {active} of service {service} is active")]
    RolloutActive {
        /// The service.
        service: ServiceName,
        /// The rollout.
        active: RolloutId,
    },
    /// Green has weight though no rollout is active.
    #[error("green of service {service} has {green} of the traffic")]
    SplitNotZero {
        /// The service.
        service: ServiceName,
        /// Its weight.
        green: Weight,
    },
    /// Green does not have all the traffic.
    #[error("roles are swapped by hand only at 100%, green of service {service} has {green}")]
    SplitNotFull {
        /// The service.
        service: ServiceName,
        /// Its weight.
        green: Weight,
    },
    /// An alarm is in ALARM.
    #[error("alarm {0} is in ALARM")]
    AlarmActive(AlarmName),
    /// There is nothing to go back to.
    #[error("service {service} cannot go back: {why}")]
    NothingToRevert {
        /// The service.
        service: ServiceName,
        /// Why.
        why: String,
    },
    /// Green has weight, and these targets would replace all it has, or its revision.
    #[error("green has traffic in rollout {active}: {why}")]
    GreenInUse {
        /// The rollout.
        active: RolloutId,
        /// What is not possible.
        why: String,
    },
    /// The rollout's own refusal.
    #[error(transparent)]
    Rollout(#[from] rollout::Refusal),
    /// A list of targets that is none.
    #[error(transparent)]
    Targets(#[from] TargetError),
    /// The record changed since it was read.
    #[error("the service is at version {found}, not {expected}")]
    VersionMismatch {
        /// What the sender saw.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The same idempotency key with another body.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// Another change of the same thing is being saved.
    #[error("another change of {0} is being saved")]
    Busy(String),
    /// The file is not a configuration, or removes something in use.
    #[error("the configuration was not reloaded: {0}")]
    Reload(String),
    /// The store cannot be trusted: reads and traffic go on, changes do not.
    #[error("the store cannot be read: {0}")]
    StoreUnreadable(String),
    /// The store did not save it.
    #[error("the store did not save the change: {0}")]
    Store(#[from] StoreError),
    /// The store has not answered.
    #[error("the store has not answered; the change may still be made")]
    StoreSlow,
    /// The process ends.
    #[error("tidegate is shutting down")]
    ShuttingDown,
    /// A group that serves would have no targets.
    #[error("target group {group} serves service {service}, and would have no targets")]
    GroupServes {
        /// The group.
        group: TargetGroupName,
        /// The service.
        service: ServiceName,
    },
    /// A strategy asks for what the comparison of the service never gives.
    #[error(
        "steps[{step}] of {strategy} wants the comparison's certificate, which service {service} \
         never gets: {why}"
    )]
    NeverCertified {
        /// The service.
        service: ServiceName,
        /// The strategy.
        strategy: StrategyName,
        /// The place of the step in its list.
        step: usize,
        /// Why.
        why: NeverCertified,
    },
    /// No such gate, or none whose component is uploaded.
    #[error("there is no gate {0}")]
    NoGate(GateName),
    /// A component was not taken.
    #[error("the gate was not taken: {0}")]
    Gate(String),
    /// Something needs a gate as it is.
    #[error("{0}")]
    GateInUse(String),
    /// A gate that the service asks has no component.
    #[error("gate {0}, which the service asks, was not uploaded")]
    GateMissing(GateName),
}

impl Refusal {
    /// A word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoService(_) => "no_such_service",
            Self::NoRollout(_) => "no_such_rollout",
            Self::NoGroup(_) => "no_such_target_group",
            Self::NoPushedAlarm(_) | Self::NoAlarm(_) | Self::NotItsAlarm(_) => "no_such_alarm",
            Self::NoStrategy(_) => "no_such_strategy",
            Self::RolloutActive { .. } => "rollout_active",
            Self::SplitNotZero { .. } => "split_not_zero",
            Self::SplitNotFull { .. } => "split_not_full",
            Self::AlarmActive(_) => "alarm_active",
            Self::NothingToRevert { .. } => "nothing_to_revert",
            Self::GreenInUse { .. } => "green_in_use",
            Self::Rollout(rollout::Refusal::Over { .. }) => "rollout_over",
            Self::Rollout(rollout::Refusal::NotNow { .. }) => "not_now",
            Self::Rollout(rollout::Refusal::NothingToApprove) => "nothing_to_approve",
            Self::Rollout(rollout::Refusal::ReasonWanted { .. }) => "reason_wanted",
            Self::Rollout(rollout::Refusal::Held { .. }) => "held",
            Self::Targets(_) => "bad_targets",
            Self::VersionMismatch { .. } => "version_mismatch",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::Busy(_) => "busy",
            Self::Reload(_) => "reload_refused",
            Self::StoreUnreadable(_) => "store_unreadable",
            Self::Store(_) => "store_failed",
            Self::StoreSlow => "store_slow",
            Self::ShuttingDown => "shutting_down",
            Self::GroupServes { .. } => "group_serves",
            Self::NeverCertified { .. } => "never_certified",
            Self::NoGate(_) => "no_such_gate",
            Self::Gate(_) => "gate_refused",
            Self::GateInUse(_) => "gate_in_use",
            Self::GateMissing(_) => "gate_missing",
        }
    }

    /// What to do about it; `None` where that goes without saying.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::RolloutActive { active, .. } => {
                Some(format!("wait for {active} to end, or abort it"))
            }
            Self::SplitNotZero { service, .. } => {
                Some(format!("set it to 0% first: PUT /v1/services/{service}/split"))
            }
            Self::SplitNotFull { service, .. } => {
                Some(format!("set it to 100% first: PUT /v1/services/{service}/split"))
            }
            Self::AlarmActive(alarm) => {
                Some(format!("wait for it, or name {alarm} in ignore_alarms"))
            }
            Self::NoStrategy(_) => {
                Some("name one of the file or a CodeDeployDefault one".to_owned())
            }
            Self::Rollout(rollout::Refusal::Held { .. }) => {
                Some("wait for the holds to end, or use force with a reason".to_owned())
            }
            Self::Rollout(rollout::Refusal::ReasonWanted { .. }) => {
                Some("say why in `reason`".to_owned())
            }
            Self::VersionMismatch { .. } => Some("read it again, then decide".to_owned()),
            Self::IdempotencyMismatch => Some("use a new key for a new request".to_owned()),
            Self::Busy(_) | Self::StoreSlow | Self::Store(_) => Some("try again".to_owned()),
            Self::StoreUnreadable(_) => {
                Some("repair or replace the database, then restart; traffic flows".to_owned())
            }
            Self::GreenInUse { .. } => {
                Some("add or remove targets one by one, or abort the rollout".to_owned())
            }
            Self::GroupServes { .. } => Some("name the targets that take over".to_owned()),
            Self::NeverCertified { .. } => {
                Some("choose a strategy that asks for `samples` or for nothing".to_owned())
            }
            Self::NoGate(gate) => {
                Some(format!("declare it in the file: gates: {{ {gate}: {{ uploaded: true }} }}"))
            }
            Self::GateMissing(gate) => Some(format!("upload it: tidegate gate push {gate} FILE")),
            Self::Gate(_)
            | Self::GateInUse(_)
            | Self::NoService(_)
            | Self::NoRollout(_)
            | Self::NoGroup(_)
            | Self::NoPushedAlarm(_)
            | Self::NoAlarm(_)
            | Self::NotItsAlarm(_)
            | Self::NothingToRevert { .. }
            | Self::Rollout(_)
            | Self::Targets(_)
            | Self::Reload(_)
            | Self::ShuttingDown => None,
        }
    }

    /// What stands against a command; empty unless it was refused for that.
    #[must_use]
    pub fn holds(&self) -> &[Hold] {
        if let Self::Rollout(rollout::Refusal::Held { holds }) = self { holds } else { &[] }
    }
}
