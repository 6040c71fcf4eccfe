//! What a gate may use, and how much of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::model::{self, Span};

/// What a gate may use of the world outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateGrants {
    /// Whether it may know the time of day.
    pub clock: bool,
    /// Whether it may draw random numbers.
    pub random: bool,
    /// Whom it may send requests to; empty permits nobody.
    pub http: Vec<HttpGrant>,
}

/// A host that a gate may send requests to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HttpGrant {
    /// The host, with a port where that is not the one of the scheme.
    #[schema(example = "prometheus.internal:9090")]
    pub host: String,
    /// The methods that it may use.
    pub methods: Vec<String>,
    /// Networks in which the host may be although they are not public.
    pub addresses: Vec<String>,
}

/// What the calls of a gate may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateLimits {
    /// The time of one call.
    #[schema(value_type = String, example = "50ms")]
    pub deadline: Span,
    /// The same in milliseconds.
    pub deadline_ms: u64,
    /// Memory of a call.
    pub memory_bytes: u64,
    /// Units of fuel, about one for each instruction; absent where the deadline alone ends a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Elements of all tables.
    pub table_elements: u32,
    /// What a call may log.
    pub log_bytes: u32,
    /// What a call may hand to the host.
    pub response_bytes: u32,
    /// What is read of the body of an answer over HTTP.
    pub http_response_bytes: u32,
    /// Calls into the host.
    pub host_calls: u32,
    /// Calls that run at the same time.
    pub concurrent_calls: u32,
    /// The keys under `limits` whose values are other ones than the defaults.
    pub changed: Vec<String>,
}

impl From<&model::GateGrants> for GateGrants {
    fn from(grants: &model::GateGrants) -> Self {
        let http = grants.http.iter().map(|grant| HttpGrant {
            host: grant.host.to_string(),
            methods: grant.methods.iter().map(ToString::to_string).collect(),
            addresses: grant.addresses.iter().map(ToString::to_string).collect(),
        });
        Self { clock: grants.clock, random: grants.random, http: http.collect() }
    }
}

impl GateLimits {
    /// The limits of a gate with these grants, which say what the defaults are.
    #[must_use]
    pub fn of(limits: &model::GateLimits, grants: &model::GateGrants) -> Self {
        let usual = model::GateLimits::of_grants(grants);
        let changed = [
            ("deadline", limits.deadline != usual.deadline),
            ("memory", limits.memory_bytes != usual.memory_bytes),
            ("fuel", limits.fuel != usual.fuel),
            ("table_elements", limits.table_elements != usual.table_elements),
            ("log", limits.log_bytes != usual.log_bytes),
            ("response", limits.response_bytes != usual.response_bytes),
            ("http_response", limits.http_response_bytes != usual.http_response_bytes),
            ("host_calls", limits.host_calls != usual.host_calls),
            ("concurrent_calls", limits.concurrent_calls != usual.concurrent_calls),
        ];
        let changed = changed.into_iter().filter(|(_, is_changed)| *is_changed);
        Self {
            deadline: limits.deadline,
            deadline_ms: limits.deadline.ms(),
            memory_bytes: limits.memory_bytes,
            fuel: limits.fuel,
            table_elements: limits.table_elements,
            log_bytes: limits.log_bytes,
            response_bytes: limits.response_bytes,
            http_response_bytes: limits.http_response_bytes,
            host_calls: limits.host_calls,
            concurrent_calls: limits.concurrent_calls,
            changed: changed.map(|(key, _)| key.to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_the_defaults_of_a_gate_with_these_grants_is_named() {
        let grants = model::GateGrants {
            http: vec![model::HttpGrant {
                host: "10.0.0.7:9090".parse().expect("a host"),
                methods: vec!["GET".parse().expect("a method")],
                addresses: vec!["10.0.0.0/8".parse().expect("a network")],
            }],
            ..model::GateGrants::default()
        };
        let shown = GateGrants::from(&grants);
        assert_eq!(shown.http[0].host, "10.0.0.7:9090");
        assert_eq!(
            (&shown.http[0].methods[0][..], &shown.http[0].addresses[0][..]),
            ("GET", "10.0.0.0/8")
        );
        let usual = model::GateLimits::of_grants(&grants);
        assert!(GateLimits::of(&usual, &grants).changed.is_empty());
        let slow = GateLimits::of(&usual, &model::GateGrants::default());
        assert_eq!(slow.changed, ["deadline"], "it waits for nobody");
        let limits = model::GateLimits { fuel: Some(9), host_calls: 1, ..usual };
        assert_eq!(GateLimits::of(&limits, &grants).changed, ["fuel", "host_calls"]);
    }
}
