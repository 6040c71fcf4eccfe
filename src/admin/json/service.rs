//! A service.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ObservedShare, Share};
use crate::control::{ServiceView, SideView, TargetView, UnresolvedView};
use crate::core::model::{Revision, RolloutId, ServiceName, StrategyName, TargetGroupName};

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name.
    #[schema(value_type = String, example = "shop")]
    pub name: ServiceName,
    /// Grows with every change of its record: what `If-Match` is compared with.
    pub version: u64,
    /// The strategy of rollouts that name none.
    #[schema(value_type = String)]
    pub strategy: StrategyName,
    /// What serves.
    pub blue: ServiceSide,
    /// What is being rolled out, or what served before.
    pub green: ServiceSide,
    /// Green's share.
    pub weights: Weights,
    /// The active rollout; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "d-7Q2K9XW4A")]
    pub active_rollout: Option<RolloutId>,
    /// Whether the change is saved; only in the answer to a change. A lowering is answered before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persisted: Option<bool>,
}

/// Green's share three times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Weights {
    /// By the last decision.
    pub configured: Share,
    /// In the table that requests load now.
    pub in_force: Share,
    /// Of the requests of the last minute.
    pub observed: ObservedShare,
}

/// One side of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceSide {
    /// The group that has the role.
    #[schema(value_type = String, example = "shop-a")]
    pub target_group: TargetGroupName,
    /// What it runs; absent if no deploy tool ever said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "v2")]
    pub revision: Option<Revision>,
    /// Whether its targets were registered at run time.
    pub registered: bool,
    /// How many of its targets are healthy.
    pub healthy: u32,
    /// Its targets.
    pub targets: Vec<ServiceTarget>,
    /// Requests since the process started.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
}

/// One target as it is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceTarget {
    /// Where it is, as written; a name stands here once for each of its addresses.
    #[schema(example = "127.0.0.1:9001")]
    pub address: String,
    /// `healthy`, `unhealthy` or `unknown`; `ejected` while its answers keep it out, `unresolved`
    /// for a name that has no address yet.
    #[schema(example = "healthy")]
    pub health: String,
    /// Requests in flight.
    pub in_flight: u32,
    /// Why its last failed check failed; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// The address behind a name; absent where the target is written as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "10.0.0.7:8080")]
    pub resolved: Option<String>,
}

impl From<&TargetView> for ServiceTarget {
    fn from(view: &TargetView) -> Self {
        let health = if view.ejected { "ejected" } else { view.health.as_str() };
        Self {
            address: view.name.to_string(),
            health: health.to_owned(),
            in_flight: view.in_flight,
            last_failure: view.last_failure.clone(),
            resolved: view.name.is_of_dns().then(|| view.address.to_string()),
        }
    }
}

impl From<&UnresolvedView> for ServiceTarget {
    fn from(view: &UnresolvedView) -> Self {
        Self {
            address: view.name.to_string(),
            health: "unresolved".to_owned(),
            in_flight: 0,
            last_failure: view.why.clone(),
            resolved: None,
        }
    }
}

impl From<&SideView> for ServiceSide {
    fn from(view: &SideView) -> Self {
        Self {
            target_group: view.group.clone(),
            revision: view.revision.clone(),
            registered: view.registered,
            healthy: view.health.healthy,
            targets: view
                .targets
                .iter()
                .map(ServiceTarget::from)
                .chain(view.unresolved.iter().map(ServiceTarget::from))
                .collect(),
            requests: view.requests,
            failed: view.failed,
        }
    }
}

impl From<&ServiceView> for Service {
    fn from(view: &ServiceView) -> Self {
        Self {
            name: view.name.clone(),
            version: view.version,
            strategy: view.strategy.clone(),
            blue: (&view.blue).into(),
            green: (&view.green).into(),
            weights: Weights {
                configured: view.configured.into(),
                in_force: view.in_force.into(),
                observed: view.observed.into(),
            },
            active_rollout: view.active.clone(),
            persisted: None,
        }
    }
}
