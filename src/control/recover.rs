//! Recovering: the state after a start, from the store and the table file.
//!
//! Roles are never guessed from the configuration where a store or a table file knows them, and a
//! service serves the lower green weight of the two from its first request.

use std::collections::{BTreeMap, BTreeSet};
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
    WallTime,
};
use crate::core::rollout::{Actor, Command, Event, Hold, Rollout, Spec, Verb};
use crate::core::routing::{LiveTargets, RoutingTable};
use crate::probe::Prober;
use crate::resolve::Resolver;
use crate::store::{Record, ServiceImage, Snapshot, Store, TableImage};
use crate::telemetry::{Recorder, Windows};

use super::alarms::Alarms;
use super::change::Changes;
use super::draft::{About, EntryKind, entry};
use super::group::Group;
use super::handle::Prepare;
use super::history::History;
use super::links::Links;
use super::lists::Lists;
use super::record::{AlarmRecord, GroupRecord, IdempotencyRecord, RolloutRecord, ServiceRecord};
use super::reload::lost_for;
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
    /// Who resolves names.
    pub resolver: Arc<Resolver>,
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
            lists: self.resolver.list_count(),
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
        let (mut records, store, outbox, table_writer) = match read {
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
            links: Links::default(),
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
            resolver: self.resolver,
            lists: Lists::default(),
        };
        world.restore_groups(&records, &served);
        world.restore_services(&records, &served)?;
        // Where names were last time, until DNS is heard: it may be down, too.
        for (name, addresses) in &served.resolved {
            world.live.resolve(name, addresses);
        }
        world.register_targets();
        world.restore_rollouts(std::mem::take(&mut records.rollouts), &served)?;
        world.restore_alarms(&records);
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
        self.configure_alarms();
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
        let mut rollbacks = Vec::new();
        for record in records {
            match record {
                RolloutRecord::Rollback(rollback) => rollbacks.push(rollback),
                RolloutRecord::Rollout { rollout, tally, ended: None } => {
                    self.restore_active(*rollout, tally, served)?;
                }
                RolloutRecord::Rollout { rollout, tally, ended: Some(at) } => {
                    ended.push((at, rollout, tally));
                }
            }
        }
        // The newest first: what came before it was over when it began.
        ended.sort_by_key(|(at, rollout, _)| std::cmp::Reverse((*at, rollout.spec().id.clone())));
        let mut seen = BTreeSet::new();
        let mut views = Vec::new();
        for (at, rollout, tally) in ended {
            let service = &rollout.spec().service;
            let newest = seen.insert(service.clone());
            if newest && rollout.has_gates_to_ask() && self.may_restore(rollout.spec()) {
                rollbacks.retain(|rollback| rollback.of != rollout.spec().id);
                self.restore_ended(*rollout, tally, at, served)?;
            } else {
                views.push(Arc::new(of_machine(&rollout, tally, Some(at))));
            }
        }
        views.extend(rollbacks.iter().map(|rollback| Arc::new(of_rollback_record(rollback))));
        self.history.restore(views);
        Ok(())
    }

    /// Puts back a rollout that ended without what follows the record of that; both then go to the
    /// history together.
    fn restore_ended(
        &mut self,
        rollout: Rollout,
        tally: Tally,
        at: WallTime,
        served: &TableImage,
    ) -> Result<(), RecoverError> {
        let id = rollout.spec().id.clone();
        self.restore_active(rollout, tally, served)?;
        if let Some(active) = self.rollouts.get_mut(&id) {
            active.ended = Some(at);
        }
        Ok(())
    }

    /// Whether the service of a rollout is there with its groups, and has no other rollout.
    fn may_restore(&self, spec: &Spec) -> bool {
        let declared = self.config.services.get(&spec.service);
        let state = self.services.get(&spec.service);
        declared.is_some_and(|declared| has_groups(declared, spec))
            && state.is_some_and(|state| state.active.is_none())
    }

    /// Puts a rollout back; the first table already says of green what it may.
    fn restore_active(
        &mut self,
        rollout: Rollout,
        tally: Tally,
        served: &TableImage,
    ) -> Result<(), RecoverError> {
        let spec = Arc::clone(rollout.spec());
        let fits = |declared: &ServiceSpec| has_groups(declared, &spec);
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
        let meter = self.recorder.present(&spec.service, Side::Green);
        let active = Active { unsettled: true, ..Active::new(rollout, tally, meter) };
        self.rollouts.insert(spec.id.clone(), active);
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
            self.pause_what_lost_something(&id);
        }
    }

    /// A rollout that cannot have what it was created with waits for a person.
    fn pause_what_lost_something(&mut self, id: &RolloutId) {
        let Some(active) = self.rollouts.get(id) else {
            return;
        };
        let lost = lost_for(active.rollout.spec(), &self.config);
        let over = active.rollout.state().ending().is_some();
        let paused = active.rollout.holds().iter().any(|hold| matches!(hold, Hold::Paused { .. }));
        if lost.is_empty() || over || paused {
            return;
        }
        let lost = lost.join(", ");
        tracing::error!(rollout = %id, lost, "paused: the configuration no longer has this");
        let reason =
            Some(format!("the configuration no longer has what it was created with: {lost}"));
        let command = Command { verb: Verb::Pause, actor: Actor::tidegate(), reason };
        self.feed(id, Event::Commanded(command));
    }
}

fn has_groups(declared: &ServiceSpec, spec: &Spec) -> bool {
    [&spec.blue, &spec.green].into_iter().all(|group| declared.target_groups.contains(group))
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
