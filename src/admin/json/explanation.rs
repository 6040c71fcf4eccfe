//! Which side a cohort key gets, and why.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Share;
use crate::core::model::{RolloutId, ServiceName, Side, Weight};
use crate::core::rollout::Spec;
use crate::core::routing::side_at;

/// Which side a cohort key gets, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The service.
    #[schema(value_type = String, example = "shop")]
    pub service: ServiceName,
    /// The key; absent if an address was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The client's address; absent if a key was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// Where the key stands, from 0 on: green has the positions below its weight in basis points.
    #[schema(maximum = 9999)]
    pub position: u16,
    /// The rollout whose salt gives the key its position; absent if none is known for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "d-7Q2K9XW4A")]
    pub rollout: Option<RolloutId>,
    /// Green's weight: in force now, or as the rollout that was asked about set it last.
    pub weight: Share,
    /// The side at that weight: `blue` or `green`.
    #[schema(value_type = String, example = "green")]
    pub side: Side,
    /// The weights of the rollout that was asked about, each with the side at it; empty without.
    pub steps: Vec<StepSide>,
    /// The same in words.
    pub sentence: String,
    /// What has to be known besides; absent if that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The side that a key gets at a planned weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepSide {
    /// Green's weight.
    #[schema(value_type = String, example = "10%")]
    pub weight: Weight,
    /// The same in basis points.
    pub green_bp: u16,
    /// The side: `blue` or `green`.
    #[schema(value_type = String, example = "green")]
    pub side: Side,
}

impl StepSide {
    /// The steps of a rollout, with the weights that are set.
    pub(in crate::admin) fn all(spec: &Spec, position: u16) -> Vec<Self> {
        let shifts = (0..spec.steps.len()).filter_map(|index| spec.shift_at(index));
        shifts
            .map(|shift| Self {
                weight: shift.weight,
                green_bp: shift.weight.bp(),
                side: side_at(shift.weight, position),
            })
            .collect()
    }
}

/// Why a position has its side, in words.
pub(in crate::admin) fn sentence(position: u16, green: Weight) -> String {
    let side = side_at(green, position);
    let compared = match side {
        Side::Green => "below",
        Side::Blue => "not below",
    };
    format!("position {position} of 10000 is {compared} green's {} ({green}): {side}", green.bp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_was_compared() {
        let weight = Weight::from_bp(2_500).expect("in range");
        assert_eq!(
            sentence(1_234, weight),
            "position 1234 of 10000 is below green's 2500 (25%): green"
        );
        assert_eq!(
            sentence(2_500, weight),
            "position 2500 of 10000 is not below green's 2500 (25%): blue"
        );
    }
}
