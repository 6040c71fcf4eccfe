//! Recovering: the state after a start, from the store and the table file.
//!
//! Roles are never guessed from the configuration where a store or a table file knows them, and a
//! service serves the lower green weight of the two from its first request.

use std::collections::BTreeMap;
use std::path::PathBuf;
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
use super::tally::Running;
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
    services: BTreeMap<String, ServiceRecord>,
    groups: BTreeMap<String, GroupRecord>,
    rollouts: Vec<RolloutRecord>,
    alarms: BTreeMap<String, AlarmRecord>,
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
        let (records, store) = match &self.stored {
            Ok(snapshot) => (Records::read(&snapshot.records)?, StoreState::Good),
            Err(why) => (Records::default(), StoreState::Unreadable(why.clone())),
        };
        let served = self.served.unwrap_or_default();
        let now = self.clock.now();
        let mut world = World {
            now,
            services: BTreeMap::new(),
            groups: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            history: History::default(),
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
            table_writer: self.table_writer,
            store,
            gates: self.gates,
            inbox,
            changed: true,
            unsettled: true,
            clock: self.clock,
            config: self.config,
        };
        world.restore_groups(&records, &served);
        world.restore_services(&records, &served)?;
        world.restore_alarms(&records);
        world.register_targets();
        world.restore_rollouts(records.rollouts, &served)?;
        world.publish();
        world.resume_rollouts(&served);
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
            let stored = records.groups.get(name.as_str()).cloned();
            let imaged = served.services.values().find_map(|image| {
                Some(GroupRecord {
                    targets: image.targets.get(name)?.clone(),
                    revision: image.revisions.get(name).cloned(),
                    registered: true,
                })
            });
            // A store without the group's record may still have served other targets than the
            // file's: the table file knows, unless they are the same.
            let imaged = imaged.filter(|_| self.store != StoreState::Good);
            self.groups.insert(name.clone(), Group::restored(declared, stored.or(imaged)));
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
            let stored = records.services.get(spec.name.as_str()).cloned();
            let record = match (stored, image, &self.store) {
                (Some(record), _, _) => record,
                (None, Some(image), _) => from_image(image),
                (None, None, StoreState::Unreadable(_)) => continue,
                (None, None, StoreState::Good | StoreState::Failing(_)) => {
                    ServiceState::fresh(spec)
                }
            };
            if !spec.target_groups.contains(&record.blue) {
                let (service, group) = (spec.name.clone(), record.blue);
                return Err(RecoverError::BlueIsGone { service, group });
            }
            let stored = Exposure { split: record.split, salt: record.salt, green_exists: false };
            let exposure = in_force(stored, &record.blue, image);
            let record = ServiceRecord { split: exposure.split, ..record };
            let state = ServiceState { record, exposure, active: None, busy: false };
            self.services.insert(spec.name.clone(), state);
        }
        Ok(())
    }

    fn restore_alarms(&mut self, records: &Records) {
        let config = Arc::clone(&self.config);
        self.alarms.configure(&config);
        for (name, record) in &records.alarms {
            if let Ok(alarm) = name.parse::<AlarmName>() {
                self.alarms.push(&alarm, record.clone());
            }
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
        state.exposure = in_force(rollout.exposure(), &spec.blue, image);
        let meter = self.recorder.side(&spec.service, Side::Green);
        let running = Running::resume(tally, meter);
        self.rollouts.insert(spec.id.clone(), Active { rollout, running, drafts: Vec::new() });
        Ok(())
    }

    /// Tells every rollout that the process started, and what is served.
    fn resume_rollouts(&mut self, served: &TableImage) {
        let ids: Vec<RolloutId> = self.rollouts.keys().cloned().collect();
        for id in ids {
            let Some(active) = self.rollouts.get(&id) else {
                continue;
            };
            let spec = Arc::clone(active.rollout.spec());
            let image = served.services.get(&spec.service);
            let in_force = in_force(active.rollout.exposure(), &spec.blue, image);
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
        version: 0,
    }
}

impl Records {
    fn read(records: &[Record]) -> Result<Self, RecoverError> {
        let mut read = Self::default();
        for record in records {
            let name = record.key.name().to_owned();
            match record.key.kind() {
                "service" => {
                    read.services.insert(name, parse(record)?);
                }
                "target-group" => {
                    read.groups.insert(name, parse(record)?);
                }
                "rollout" => read.rollouts.push(parse(record)?),
                "alarm" => {
                    read.alarms.insert(name, parse(record)?);
                }
                "idempotency" => {
                    if let Ok(scope) = name.parse() {
                        read.repeatable.insert(scope, parse(record)?);
                    }
                }
                // Another release may keep more than this one knows.
                _ => {}
            }
        }
        Ok(read)
    }
}

fn parse<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, RecoverError> {
    serde_json::from_str(&record.value).map_err(|error| RecoverError::Record {
        key: record.key.as_str().to_owned(),
        why: error.to_string(),
    })
}
