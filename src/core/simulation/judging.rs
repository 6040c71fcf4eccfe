//! How the rollouts of a service are judged in a simulation.

use crate::core::analysis::comparison::{ClusterGuard, Rules};
use crate::core::model::{ServiceSpec, Span};

/// The rules of the comparison, and what stands around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judging {
    /// The rules.
    pub rules: Rules,
    /// How long failures of one target count as one.
    pub guard: ClusterGuard,
}

impl Judging {
    /// The judging of a service's rollouts: the default rules, in a sticky service those for its
    /// users. What a service says of its analysis belongs here.
    #[must_use]
    pub fn of(service: &ServiceSpec) -> Self {
        let mut rules = Rules { ring: Rules::ring_for(service.timeouts.read), ..Rules::default() };
        if service.stickiness.is_some() {
            rules.margins = rules.margins.for_units();
            rules.certificate = None;
        }
        Self { rules, guard: ClusterGuard::new(GUARD) }
    }
}

/// The guard's default (B7).
const GUARD: Span = Span::from_secs(1);
