//! How the rollouts of a service are judged in a simulation.

use crate::core::analysis::comparison::{ClusterGuard, Rules};
use crate::core::model::{AnalysisTerms, Objective, ServiceSpec, SharedDegradation};

/// The rules of the comparison, and what stands around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judging {
    /// The rules.
    pub rules: Rules,
    /// How long failures of one target count as one.
    pub guard: ClusterGuard,
    /// The objective of each side; `None` without one.
    pub slo: Option<Objective>,
    /// What is done if both sides break it.
    pub on_shared_degradation: SharedDegradation,
}

impl Judging {
    /// The judging of the first rollout of a revision of a service; one whose analysis is off is
    /// judged as if it were on.
    #[must_use]
    pub fn of(service: &ServiceSpec) -> Self {
        let spec = service.analysis.unwrap_or_default();
        let terms = AnalysisTerms {
            compared: Some(spec),
            slo: service.slo,
            sticky: service.stickiness.is_some(),
            attempt: 1,
        };
        let rules = Rules::agreed(&terms, service.timeouts.read);
        let rules = rules.expect("a configuration was checked").expect("it compares");
        Self {
            rules,
            guard: ClusterGuard::new(spec.cluster_guard),
            slo: service.slo,
            on_shared_degradation: spec.on_shared_degradation,
        }
    }
}
