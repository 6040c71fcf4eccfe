//! An alarm, and a push of its state.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Prose, Timestamp};
use crate::control::AlarmView;
use crate::core::model::{AlarmName, AlarmState, ServiceName};

/// An alarm as one service has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    /// Its name.
    #[schema(value_type = String, example = "checkout-errors")]
    pub name: AlarmName,
    /// The service that lists it; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "shop")]
    pub service: Option<ServiceName>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    #[schema(value_type = String, example = "OK")]
    pub state: AlarmState,
    /// The words of whoever told it, or what came of its query; absent for alarms on own numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the state last changed; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whether its state is told from outside.
    pub pushed: bool,
    /// Where its state comes from: `own`, `prometheus`, `pushed` or `alertmanager`.
    #[serde(default)]
    #[schema(example = "own")]
    pub source: String,
}

/// A state that is pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmPush {
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    #[schema(value_type = String, example = "ALARM")]
    pub state: AlarmState,
    /// Why; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
}

/// A state that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmPushed {
    /// The alarm.
    #[schema(value_type = String, example = "checkout-errors")]
    pub name: AlarmName,
    /// The state.
    #[schema(value_type = String, example = "ALARM")]
    pub state: AlarmState,
}

impl From<&AlarmView> for Alarm {
    fn from(view: &AlarmView) -> Self {
        Self {
            name: view.alarm.clone(),
            service: view.service.clone(),
            state: view.state,
            reason: view.reason.clone(),
            since: view.since.map(Timestamp),
            pushed: view.pushed,
            source: view.source.to_owned(),
        }
    }
}
