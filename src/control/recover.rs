//! Recovering: the state after a start, from the past and the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::clock::Clock;
use crate::config::Config;
use crate::core::model::{RolloutId, ServiceName, TargetGroupName};
use crate::core::rollout::Actor;
use crate::core::routing::RoutingTable;
use crate::probe::Prober;
use crate::promql::Asker;
use crate::resolve::Resolver;
use crate::store::{Snapshot, Store, TableImage};
use crate::telemetry::{Recorder, Windows};

use super::alarms::Alarms;
use super::change::Changes;
use super::draft::{About, EntryKind, entry};
use super::handle::Prepare;
use super::history::History;
use super::lists::Lists;
use super::past::Past;
use super::{
    AskGates, EvidenceWriter, Gates, Handle, Kept, Message, Outbox, StoreState, TableWriter, World,
    Writer,
};

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
    /// What the control side before this one has left, if the process had one.
    pub kept: OwnedMutexGuard<Kept>,
    /// Who asks Prometheus servers.
    pub asker: Arc<Asker>,
    /// Who writes the evidence of rollouts.
    pub evidence: EvidenceWriter,
    /// Who takes uploaded gates; `None` where nobody does.
    pub uploads: Option<Arc<Gates>>,
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("file", &self.file).finish_non_exhaustive()
    }
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
            reloading: Arc::default(),
            evidence: self.evidence.folder(),
            gates: self.uploads.clone(),
        };
        let world = self.into_world(outbox, inbox)?;
        Ok((Writer::new(world, messages, &handle, watchdog), handle))
    }

    fn into_world(
        self,
        outbox: Outbox,
        inbox: mpsc::Sender<Message>,
    ) -> Result<World, RecoverError> {
        let mut past = Past::read(self.stored, self.served)?;
        // What cannot be read is left untouched, and so is the table file that stands in for it.
        let (outbox, table_writer, evidence) = match &past.store {
            StoreState::Good | StoreState::Failing(_) => (outbox, self.table_writer, self.evidence),
            StoreState::Unreadable(_) => {
                (Outbox::closed(), TableWriter::new().0, EvidenceWriter::none())
            }
        };
        // The file may be older than what requests load.
        let generation = past.served.generation.max(self.table.load().generation);
        let now = self.clock.now();
        let mut world = World {
            now,
            services: past.services(&self.config)?,
            groups: past.groups(&self.config),
            rollouts: BTreeMap::new(),
            history: History::default(),
            repeatable: std::mem::take(&mut past.records.repeatable),
            alarms: Alarms::default(),
            changes: Changes::default(),
            answers: Vec::new(),
            kept: self.kept,
            generation,
            table: self.table,
            recorder: self.recorder,
            windows: self.windows,
            prober: self.prober,
            outbox,
            table_writer,
            store: past.store.clone(),
            gates: self.gates,
            inbox,
            changed: true,
            unsettled: true,
            clock: self.clock,
            config: self.config,
            resolver: self.resolver,
            lists: Lists::default(),
            asker: self.asker,
            attempts: BTreeMap::new(),
            evidence,
        };
        // Where names were last time, until DNS is heard: it may be down, too.
        for (name, addresses) in &past.served.resolved {
            if world.kept.live.resolved().of(name).is_empty() {
                world.kept.live.resolve(name, addresses);
            }
        }
        if past.store == StoreState::Good {
            let states = std::mem::take(&mut past.records.gate_states);
            world.gates.restore_states(states.into_iter().map(Into::into).collect());
        }
        world.register_targets();
        world.restore_rollouts(std::mem::take(&mut past.records.rollouts), &past)?;
        world.forget_gate_states();
        world.restore_attempts(std::mem::take(&mut past.records.attempts));
        world.forget_old_evidence();
        world.configure_alarms();
        for (alarm, record) in past.records.alarms {
            world.alarms.push(&alarm, record);
        }
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
