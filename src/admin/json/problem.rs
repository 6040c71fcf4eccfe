//! Why a request was not carried out, as problem+json (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HoldText;
use crate::core::model::RolloutId;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI for the kind of problem, made of its code.
    #[serde(rename = "type")]
    #[schema(example = "urn:tidegate:problem:rollout_active")]
    pub kind: String,
    /// The status in words.
    #[schema(example = "Conflict")]
    pub title: String,
    /// The status.
    #[schema(example = 409)]
    pub status: u16,
    /// A word for programs.
    #[schema(example = "rollout_active")]
    pub code: String,
    /// A sentence for people.
    #[schema(example = "rollout d-7Q2K9XW4A of service shop is active")]
    pub detail: String,
    /// What to do about it; absent where that goes without saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "wait for d-7Q2K9XW4A to end, or abort it")]
    pub fix: Option<String>,
    /// Where in the request; absent if it is about no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "body, line 1 column 10")]
    pub at: Option<String>,
    /// The rollout that stands in the way; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub active_rollout: Option<RolloutId>,
    /// What stands against a promotion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HoldText>,
}
