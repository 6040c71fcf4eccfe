//! A target group at run time: the file seeds it, a registration takes it over.

use crate::core::model::{TargetError, TargetGroup, TargetGroupName};

use super::record::GroupRecord;

/// What the writer knows of a group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) record: GroupRecord,
    /// Whether a registration is being saved.
    pub(super) busy: bool,
}

impl Group {
    /// The group as the file declares it.
    pub(super) fn seeded(declared: &TargetGroup) -> Self {
        let record =
            GroupRecord { targets: declared.targets().to_vec(), revision: None, registered: false };
        Self { record, busy: false }
    }

    /// The group as the store has it, or as the file declares it where nobody registered targets.
    pub(super) fn restored(declared: &TargetGroup, stored: Option<GroupRecord>) -> Self {
        let mut group = Self::seeded(declared);
        if let Some(stored) = stored {
            if stored.registered {
                group.record = stored;
            } else {
                group.record.revision = stored.revision;
            }
        }
        group
    }

    /// The group as a value of the model.
    pub(super) fn as_targets(&self, name: &TargetGroupName) -> Result<TargetGroup, TargetError> {
        TargetGroup::new(name.clone(), self.record.targets.clone())
    }
}
