//! A service at run time.

use crate::core::model::{Exposure, RolloutId, Salt, ServiceSpec, Split, TargetGroupName};

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
    /// A service without a rollout, which serves what its record says.
    pub(super) fn resting(record: ServiceRecord) -> Self {
        let (split, salt) = (record.split, record.salt);
        let exposure = Exposure { split, salt, green_exists: false };
        Self { record, exposure, active: None, busy: false }
    }

    /// A service that the store has never seen: its first group is blue.
    pub(super) fn fresh(spec: &ServiceSpec) -> Self {
        let blue = spec.target_groups[0].clone();
        Self::resting(ServiceRecord {
            blue,
            split: Split::ALL_BLUE,
            salt: Salt::default(),
            other_served: false,
            version: 0,
        })
    }

    /// The group that is green: the one of the two that is not blue.
    pub(super) fn green<'a>(&self, spec: &'a ServiceSpec) -> &'a TargetGroupName {
        spec.target_groups
            .iter()
            .find(|group| **group != self.record.blue)
            .unwrap_or(&spec.target_groups[1])
    }
}
