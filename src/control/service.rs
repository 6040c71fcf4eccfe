//! A service at run time.

use crate::core::model::{Exposure, RolloutId, ServiceSpec, TargetGroupName};

use super::record::ServiceRecord;

/// What the writer knows of a service beyond its declaration.
#[derive(Clone, Debug)]
pub(super) struct ServiceState {
    /// As it is in the store, or is being saved.
    pub(super) record: ServiceRecord,
    /// What the routing table says.
    pub(super) exposure: Exposure,
    /// The rollout that has not ended, or whose end is not saved yet; `None` if there is none.
    pub(super) active: Option<RolloutId>,
    /// Whether a change by hand is being saved.
    pub(super) busy: bool,
}

impl ServiceState {
    /// A service that the store has never seen: its first group is blue.
    pub(super) fn fresh(spec: &ServiceSpec) -> ServiceRecord {
        ServiceRecord {
            blue: spec.target_groups[0].clone(),
            split: crate::core::model::Split::ALL_BLUE,
            salt: crate::core::model::Salt::default(),
            version: 0,
        }
    }

    /// The group that is green: the one of the two that is not blue.
    pub(super) fn green<'a>(&self, spec: &'a ServiceSpec) -> &'a TargetGroupName {
        spec.target_groups
            .iter()
            .find(|group| **group != self.record.blue)
            .unwrap_or(&spec.target_groups[1])
    }
}
