//! Recovering: the state after a start, from the store and the table file.
//!
//! Roles are never guessed from the configuration where a store or a table file knows them, and a
//! service serves the lower green weight of the two from its first request.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::Config;
use crate::core::model::{
    AlarmName, Exposure, RolloutId, ServiceName, ServiceSpec, Sha256, Side, TargetGroupName,
};
use crate::core::rollout::{Actor, Event, Rollout};
use crate::core::routing::{LiveTargets, RoutingTable};
use crate::probe::Prober;
use crate::store::{Record, ServiceImage, Snapshot, Store, TableImage};
use crate::telemetry::{Recorder, Windows};

use super::alarms::Alarms;
use super::change::Changes;
use super::draft::{About, EntryKind, entry};
use super::group::Group;
use super::handle::Prepare;
use super::history::History;
use super::record::{AlarmRecord, GroupRecord, IdempotencyRecord, RolloutRecord, ServiceRecord};
use super::service::ServiceState;
use super::snapshot::{of_machine, of_rollback_record};
use super::world::Active;
use super::{AskGates, Handle, Message, Outbox, StoreState, TableWriter, Tally, World, Writer};

/// Why the process cannot start from what it found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A record that this release cannot read.
    #[error("record {key} cannot be read: {why}")]
    Record {
        /// Its key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration no longer has a group that serves.
    #[error(
        "target group {group} is blue in service {service}, but the configuration does not give \
         it to that service: put it back, or name the service otherwise"
    )]
    BlueIsGone {
        /// The service.
        service: ServiceName,
        /// Its blue.
        group: TargetGroupName,
    },
    /// The configuration no longer has what an active rollout moves.
    #[error(
        "rollout {rollout} of service {service} is active, but the configuration no longer has \
         the service with target groups {blue} and {green}: put them back, then end the rollout"
    )]
    RolloutWithoutService {
        /// The rollout.
        rollout: RolloutId,
        /// Its service.
        service: ServiceName,
        /// Its blue.
        blue: TargetGroupName,
        /// Its green.
        green: TargetGroupName,
    },
}

/// What the world is made of.
pub struct Recovered {
    /// The configuration.
    pub config: Arc<Config>,
    /// The file it came from; `None` if it came from nowhere.
    pub file: Option<PathBuf>,
    /// The clock.
    pub clock: Clock,
    /// What the store has, or why it cannot be read.
    pub stored: Result<Snapshot, String>,
    /// The store; `None` when it cannot be read.
    pub store: Option<Arc<dyn Store>>,
    /// What was served last; `None` without a good table file.
    pub served: Option<TableImage>,
    /// Where tables are published.
    pub table: Arc<ArcSwap<RoutingTable>>,
    /// Where requests are counted.
    pub recorder: Arc<Recorder>,
    /// What gates can ask about.
    pub windows: Arc<Windows>,
    /// Who probes.
    pub prober: Arc<Prober>,
    /// Who writes tables.
    pub table_writer: TableWriter,
    /// Who asks gates.
    pub gates: Arc<dyn AskGates>,
    /// Loads what a configuration needs before it is used.
    pub prepare: Prepare,
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The records of the store by what they are about.
#[derive(Debug, Default)]
struct Records {
    services: BTreeMap<ServiceName, ServiceRecord>,
    groups: BTreeMap<TargetGroupName, GroupRecord>,
    rollouts: Vec<RolloutRecord>,
    alarms: BTreeMap<AlarmName, AlarmRecord>,
    repeatable: BTreeMap<Sha256, IdempotencyRecord>,
}

impl Recovered {
    /// Builds the world, publishes its first table, and gives the writer and the way to it.
    ///
    /// # Errors
    /// The store has what this release or this configuration cannot go on with.
    pub fn into_writer(
        self,
        outbox: Outbox,
        watchdog: super::Watchdog,
        channel: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    ) -> Result<(Writer, Handle), RecoverError> {
        let (inbox, messages) = channel;
        let handle = Handle {
            inbox: inbox.clone(),
            view: Arc::default(),
            gauges: Arc::default(),
            recorder: Arc::clone(&self.recorder),
            store: self.store.clone(),
            watchdog: watchdog.clone(),
            file: self.file.clone(),
            prepare: Arc::clone(&self.prepare),
        };
        let world = self.into_world(outbox, inbox)?;
        Ok((Writer::new(world, messages, &handle, watchdog), handle))
    }

    fn into_world(
        self,
        outbox: Outbox,
        inbox: mpsc::Sender<Message>,
    ) -> Result<World, RecoverError> {
        let read = match &self.stored {
            Ok(snapshot) => match Records::read(&snapshot.records) {
                Ok(records) => Ok(records),
                Err(error) if self.served.is_none() => return Err(error),
                Err(error) => Err(error.to_string()),
            },
            Err(why) => Err(why.clone()),
        };
        // What cannot be read is left untouched, and so is the table file that stands in for it.
        let (records, store, outbox, table_writer) = match read {
            Ok(records) => (records, StoreState::Good, outbox, self.table_writer),
            Err(why) => {
                let (unread, _) = TableWriter::new();
                (Records::default(), StoreState::Unreadable(why), Outbox::closed(), unread)
            }
        };
        let served = self.served.unwrap_or_default();
        let now = self.clock.now();
        let mut world = World {
            now,
            services: BTreeMap::new(),
            groups: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            history: History::default(),
            totals: BTreeMap::new(),
            repeatable: records.repeatable.clone(),
            alarms: Alarms::default(),
            changes: Changes::default(),
            answers: Vec::new(),
            live: LiveTargets::default(),
            generation: served.generation,
            table: self.table,
            recorder: self.recorder,
            windows: self.windows,
            prober: self.prober,
            outbox,
            table_writer,
            store,
            gates: self.gates,
            inbox,
            changed: true,
            unsettled: true,
            watches: BTreeMap::new(),
            clock: self.clock,
            config: self.config,
        };
        world.restore_groups(&records, &served);
        world.restore_services(&records, &served)?;
        world.restore_alarms(&records);
        world.register_targets();
        world.restore_rollouts(records.rollouts, &served)?;
        world.publish();
        world.resume_rollouts();
        let detail = serde_json::json!({
            "generation": world.generation, "version": env!("CARGO_PKG_VERSION"),
        });
        let by = Actor::tidegate();
        let wall = world.now.wall;
        world.note(entry(EntryKind::Started, About::default(), &detail, (&by, None), wall));
        Ok(world)
    }
}

impl World {
    fn restore_groups(&mut self, records: &Records, served: &TableImage) {
        for (name, declared) in &self.config.target_groups {
            let imaged = served.services.values().find_map(|image| {
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
            let stored = records.groups.get(name).cloned().or(imaged.filter(lost));
            self.groups.insert(name.clone(), Group::restored(declared, stored));
        }
        for (name, record) in &records.groups {
            let known = || Group { record: record.clone(), busy: false };
            self.groups.entry(name.clone()).or_insert_with(known);
        }
    }

    fn restore_services(
        &mut self,
        records: &Records,
        served: &TableImage,
    ) -> Result<(), RecoverError> {
        let config = Arc::clone(&self.config);
        for spec in config.services.values() {
            let image = served.services.get(&spec.name);
            let stored = records.services.get(&spec.name).cloned();
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
            state.exposure = in_force(state.exposure, &blue, image);
            let split = state.exposure.split;
            state.record.set(ServiceRecord { split, ..state.record.clone() });
            self.services.insert(spec.name.clone(), state);
        }
        for (name, record) in &records.services {
            let known = || ServiceState::resting(record.clone());
            self.services.entry(name.clone()).or_insert_with(known);
        }
        Ok(())
    }

    fn restore_alarms(&mut self, records: &Records) {
        let config = Arc::clone(&self.config);
        self.alarms.configure(&config, |_| false);
        for (alarm, record) in &records.alarms {
            self.alarms.push(alarm, record.clone());
        }
    }

    fn restore_rollouts(
        &mut self,
        records: Vec<RolloutRecord>,
        served: &TableImage,
    ) -> Result<(), RecoverError> {
        let mut ended = Vec::new();
        for record in records {
            match record {
                RolloutRecord::Rollback(rollback) => {
                    ended.push(Arc::new(of_rollback_record(&rollback)));
                }
                RolloutRecord::Rollout { rollout, tally, ended: at @ Some(_) } => {
                    ended.push(Arc::new(of_machine(&rollout, tally, at)));
                }
                RolloutRecord::Rollout { rollout, tally, ended: None } => {
                    self.restore_active(*rollout, tally, served)?;
                }
            }
        }
        self.history.restore(ended);
        Ok(())
    }

    /// Puts a rollout back; the first table already says of green what it may.
    fn restore_active(
        &mut self,
        rollout: Rollout,
        tally: Tally,
        served: &TableImage,
    ) -> Result<(), RecoverError> {
        let spec = Arc::clone(rollout.spec());
        let fits = |declared: &ServiceSpec| {
            declared.target_groups.contains(&spec.blue)
                && declared.target_groups.contains(&spec.green)
        };
        let state = self.services.get_mut(&spec.service);
        let declared = self.config.services.get(&spec.service).filter(|declared| fits(declared));
        let Some((state, _)) = state.zip(declared) else {
            return Err(RecoverError::RolloutWithoutService {
                rollout: spec.id.clone(),
                service: spec.service.clone(),
                blue: spec.blue.clone(),
                green: spec.green.clone(),
            });
        };
        state.active = Some(spec.id.clone());
        let image = served.services.get(&spec.service);
        // Green exists for the first table already: a file that says otherwise means a rollback.
        state.exposure = in_force(rollout.exposure(), &spec.blue, image);
        let meter = self.recorder.side(&spec.service, Side::Green);
        self.rollouts.insert(spec.id.clone(), Active::new(rollout, tally, meter));
        Ok(())
    }

    /// Tells every rollout that the process started, and what is served.
    fn resume_rollouts(&mut self) {
        let active = self.rollouts.values().map(|active| active.rollout.spec());
        let served = active.filter_map(|spec| {
            let state = self.services.get(&spec.service)?;
            Some((spec.id.clone(), state.exposure))
        });
        for (id, in_force) in served.collect::<Vec<_>>() {
            self.feed(&id, Event::Restored { in_force });
        }
    }
}

/// What may be served: the lower of what is stored and what was served with the same roles.
fn in_force(stored: Exposure, blue: &TargetGroupName, image: Option<&ServiceImage>) -> Exposure {
    match image.filter(|image| image.blue == *blue) {
        Some(image) => Exposure::lower_of(stored, image.exposure),
        None => stored,
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

impl Records {
    fn read(records: &[Record]) -> Result<Self, RecoverError> {
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
                // Another release may keep more than this one knows.
                _ => {}
            }
        }
        Ok(read)
    }
}

fn name<T: FromStr<Err: Display>>(record: &Record) -> Result<T, RecoverError> {
    record.key.name().parse().map_err(|error: T::Err| RecoverError::Record {
        key: record.key.as_str().to_owned(),
        why: error.to_string(),
    })
}

fn parse<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, RecoverError> {
    serde_json::from_str(&record.value).map_err(|error| RecoverError::Record {
        key: record.key.as_str().to_owned(),
        why: error.to_string(),
    })
}
