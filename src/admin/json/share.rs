//! Green's share of the traffic.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::analysis::Observed;
use crate::core::model::Weight;

/// A weight of green.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// In percent.
    #[schema(value_type = String, example = "10.25%")]
    pub green: Weight,
    /// In basis points.
    #[schema(maximum = 10000)]
    pub green_bp: u16,
}

impl From<Weight> for Share {
    fn from(green: Weight) -> Self {
        Self { green, green_bp: green.bp() }
    }
}

/// What share of the last minute's requests went to green.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservedShare {
    /// In percent, to a hundredth; absent without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.31%")]
    pub green: Option<Weight>,
    /// In basis points; absent without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green_bp: Option<u16>,
    /// Requests on green.
    pub green_requests: u64,
    /// Requests on both sides.
    pub requests: u64,
}

impl From<Observed> for ObservedShare {
    fn from(observed: Observed) -> Self {
        let Observed { green: green_requests, total: requests } = observed;
        let bp = green_requests.saturating_mul(10_000).checked_div(requests);
        let green = bp.and_then(|bp| Weight::from_bp(u16::try_from(bp).ok()?).ok());
        Self { green, green_bp: green.map(Weight::bp), green_requests, requests }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_without_requests_has_no_share() {
        let none = ObservedShare::from(Observed::default());
        assert_eq!((none.green, none.requests), (None, 0));
        let some = ObservedShare::from(Observed { green: 1, total: 3 });
        assert_eq!(some.green_bp, Some(3_333));
    }
}
