//! What changes of services and rollouts are asked with.

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::Prose;
use crate::core::model::{AlarmName, Revision, StrategyName, Target, Weight};

/// Why something is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// In a person's words; absent where none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
}

/// A split by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSplit {
    /// Green's weight in percent; a bare number is refused.
    #[serde(deserialize_with = "weight")]
    #[schema(value_type = String, example = "10.25%")]
    pub green: Weight,
    /// Why; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
}

/// A new rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// What green runs.
    #[schema(value_type = String, example = "v2")]
    pub revision: Revision,
    /// Green's targets; leave it out to take those that are registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["127.0.0.1:9002"]))]
    pub targets: Option<Vec<Target>>,
    /// The strategy; leave it out to take the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "CodeDeployDefault.ECSCanary10Percent5Minutes")]
    pub strategy: Option<StrategyName>,
    /// What it is about; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Prose>,
    /// Alarms that shall not judge it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub ignore_alarms: Vec<AlarmName>,
    /// Why; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
    /// The alarms that shall judge it instead of the service's, `[]` for none; leave it out to take
    /// the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub alarms: Option<Vec<AlarmName>>,
}

/// How a rollout is resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resumption {
    /// Why; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
    /// Also end the hold of a regression; needs a reason.
    #[serde(default, rename = "override")]
    pub override_regression: bool,
}

/// How a rollout is promoted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Why; absent where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Prose>,
    /// Even against an alarm, a regression or an unhealthy green; needs a reason.
    #[serde(default)]
    pub force: bool,
}

/// Reads a weight; a bare number is told about the unit.
fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Weight, D::Error> {
    let text = match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        other @ (serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_)) => other.to_string(),
    };
    text.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_told_that_a_weight_has_a_unit() {
        let read = |text: &str| serde_json::from_str::<NewSplit>(text);
        assert_eq!(read(r#"{"green":"10.25%"}"#).expect("valid").green.bp(), 1_025);
        let error = read(r#"{"green":10}"#).expect_err("no unit").to_string();
        assert!(error.starts_with("\"10\" has no unit: a weight is written in percent"), "{error}");
        assert!(read(r#"{"green":"10%","blue":"90%"}"#).is_err());
    }
}
