//! The records of the store, by what they are about.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::core::model::{AlarmName, ServiceName, Sha256, TargetGroupName};
use crate::store::Record;

use super::RecoverError;
use super::attempts::Attempts;
use super::record::{
    AlarmRecord, GateStateRecord, GroupRecord, IdempotencyRecord, RolloutRecord, ServiceRecord,
};

/// Every record that this release knows.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) services: BTreeMap<ServiceName, ServiceRecord>,
    pub(super) groups: BTreeMap<TargetGroupName, GroupRecord>,
    pub(super) rollouts: Vec<RolloutRecord>,
    pub(super) alarms: BTreeMap<AlarmName, AlarmRecord>,
    pub(super) repeatable: BTreeMap<Sha256, IdempotencyRecord>,
    pub(super) attempts: BTreeMap<ServiceName, Attempts>,
    pub(super) gate_states: Vec<GateStateRecord>,
}

impl Records {
    /// Reads them.
    ///
    /// # Errors
    /// One of them is not of this release.
    pub(super) fn read(records: &[Record]) -> Result<Self, RecoverError> {
        let mut read = Self::default();
        for record in records {
            match record.key.kind() {
                "service" => {
                    read.services.insert(name(record)?, parse(record)?);
                }
                "target-group" => {
                    read.groups.insert(name(record)?, parse(record)?);
                }
                "rollout" => read.rollouts.push(parse(record)?),
                "alarm" => {
                    read.alarms.insert(name(record)?, parse(record)?);
                }
                "idempotency" => {
                    read.repeatable.insert(name(record)?, parse(record)?);
                }
                "attempts" => {
                    read.attempts.insert(name(record)?, parse(record)?);
                }
                "gate-state" => read.gate_states.push(parse(record)?),
                // Another release may keep more than this one knows.
                _ => {}
            }
        }
        Ok(read)
    }
}

fn name<T: FromStr<Err: Display>>(record: &Record) -> Result<T, RecoverError> {
    record.key.name().parse().map_err(|error: T::Err| unreadable(record, &error))
}

fn parse<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, RecoverError> {
    serde_json::from_str(&record.value).map_err(|error| unreadable(record, &error))
}

fn unreadable(record: &Record, why: &impl Display) -> RecoverError {
    RecoverError::Record { key: record.key.as_str().to_owned(), why: why.to_string() }
}
