//! Registered targets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Prose;
use crate::core::model::{Revision, Target, TargetGroupName};

/// All targets that a group shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTargets {
    /// The targets, `host:port` or `srv:NAME` each.
    #[schema(value_type = Vec<String>, example = json!(["127.0.0.1:9002"]))]
    pub targets: Vec<Target>,
    /// What they run; leave it out to keep what is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "v2")]
    pub revision: Option<Revision>,
    /// Why; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
}

/// A group with the targets that it has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupTargets {
    /// The group.
    #[schema(value_type = String, example = "shop-b")]
    pub target_group: TargetGroupName,
    /// Its targets.
    #[schema(value_type = Vec<String>, example = json!(["127.0.0.1:9002"]))]
    pub targets: Vec<Target>,
}
