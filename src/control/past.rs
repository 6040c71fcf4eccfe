//! The past: what earlier lives have left, in the store and in the table file.
//!
//! Roles are never guessed from the configuration where one of the two knows them, and a service
//! serves the lower green weight of both.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::core::model::{Exposure, ServiceName, TargetGroupName};
use crate::store::{ServiceImage, Snapshot, TableImage};

use super::group::Group;
use super::record::{GroupRecord, ServiceRecord};
use super::records::Records;
use super::service::ServiceState;
use super::{RecoverError, StoreState};

/// What is known of earlier lives.
#[derive(Debug)]
pub(super) struct Past {
    /// None of them where the store cannot be read.
    pub(super) records: Records,
    /// Empty without a good table file.
    pub(super) served: TableImage,
    /// Whether the records are all of them.
    pub(super) store: StoreState,
}

impl Past {
    /// Reads what the store has, or takes the table file alone where that is not possible.
    ///
    /// # Errors
    /// A record cannot be read, and there is no table file.
    pub(super) fn read(
        stored: Result<Snapshot, String>,
        served: Option<TableImage>,
    ) -> Result<Self, RecoverError> {
        let read = match stored {
            Ok(snapshot) => match Records::read(&snapshot.records) {
                Ok(records) => Ok(records),
                Err(error) if served.is_none() => return Err(error),
                Err(error) => Err(error.to_string()),
            },
            Err(why) => Err(why),
        };
        let (records, store) = match read {
            Ok(records) => (records, StoreState::Good),
            Err(why) => (Records::default(), StoreState::Unreadable(why)),
        };
        Ok(Self { records, served: served.unwrap_or_default(), store })
    }

    /// Every group that is declared or recorded.
    pub(super) fn groups(&self, config: &Config) -> BTreeMap<TargetGroupName, Group> {
        let mut groups = BTreeMap::new();
        for (name, declared) in &config.target_groups {
            let imaged = self.served.services.values().find_map(|image| {
                Some(GroupRecord {
                    targets: image.targets.get(name)?.clone(),
                    revision: image.revisions.get(name).cloned(),
                    registered: true,
                })
            });
            // A group that nobody registered has no record, and the file's targets. But where a
            // revision was served, there was a record: it is lost, and the table file knows it.
            let lost =
                |imaged: &GroupRecord| self.store != StoreState::Good || imaged.revision.is_some();
            let stored = self.records.groups.get(name).cloned().or(imaged.filter(lost));
            groups.insert(name.clone(), Group::restored(declared, stored));
        }
        for (name, record) in &self.records.groups {
            let known = || Group { record: record.clone(), busy: false };
            groups.entry(name.clone()).or_insert_with(known);
        }
        groups
    }

    /// Every service that is declared or recorded, none of them with a rollout yet.
    ///
    /// # Errors
    /// The configuration no longer has a group that serves.
    pub(super) fn services(
        &self,
        config: &Config,
    ) -> Result<BTreeMap<ServiceName, ServiceState>, RecoverError> {
        let mut services = BTreeMap::new();
        for spec in config.services.values() {
            let image = self.served.services.get(&spec.name);
            let stored = self.records.services.get(&spec.name).cloned();
            let mut state = match (stored, image, &self.store) {
                (Some(record), _, _) => ServiceState::resting(record),
                (None, Some(image), StoreState::Unreadable(_)) => {
                    // What is under way cannot be known: everything stays as it is.
                    let state = ServiceState::resting(from_image(image));
                    ServiceState { exposure: image.exposure, ..state }
                }
                (None, Some(image), StoreState::Good | StoreState::Failing(_)) => {
                    ServiceState::resting(from_image(image))
                }
                (None, None, StoreState::Unreadable(_)) => continue,
                (None, None, StoreState::Good | StoreState::Failing(_)) => {
                    ServiceState::fresh(spec)
                }
            };
            let blue = state.record.blue.clone();
            if !spec.target_groups.contains(&blue) {
                return Err(RecoverError::BlueIsGone { service: spec.name.clone(), group: blue });
            }
            state.exposure = self.in_force(&spec.name, &blue, state.exposure);
            let split = state.exposure.split;
            state.record.set(ServiceRecord { split, ..state.record.clone() });
            services.insert(spec.name.clone(), state);
        }
        for (name, record) in &self.records.services {
            let known = || ServiceState::resting(record.clone());
            services.entry(name.clone()).or_insert_with(known);
        }
        Ok(services)
    }

    /// What a service may serve: the lower of what is stored and what was served with the same
    /// roles.
    pub(super) fn in_force(
        &self,
        service: &ServiceName,
        blue: &TargetGroupName,
        stored: Exposure,
    ) -> Exposure {
        match self.served.services.get(service).filter(|image| image.blue == *blue) {
            Some(image) => Exposure::lower_of(stored, image.exposure),
            None => stored,
        }
    }
}

fn from_image(image: &ServiceImage) -> ServiceRecord {
    ServiceRecord {
        blue: image.blue.clone(),
        split: image.exposure.split,
        salt: image.exposure.salt,
        other_served: false,
        version: 0,
    }
}
