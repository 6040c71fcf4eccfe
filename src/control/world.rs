//! The state that only the writer changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedMutexGuard, mpsc};

use crate::clock::Clock;
use crate::config::Config;
use crate::core::ledger::Draft;
use crate::core::model::{
    GateName, Now, RolloutId, ServiceName, Sha256, TargetGroupName, WallTime,
};
use crate::core::rollout::{GateAnswer, GateCall, GateEvidence, GateHearing, Rollout};
use crate::core::routing::RoutingTable;
use crate::gate::KeptState;
use crate::probe::Prober;
use crate::promql::Asker;
use crate::resolve::Resolver;
use crate::telemetry::{GateCallsGauge, GateGauges, Recorder, Windows};

use super::alarms::Alarms;
use super::attempts::Attempts;
use super::change::{Changes, ReplyTo};
use super::comparing::Comparing;
use super::group::Group;
use super::history::History;
use super::lists::Lists;
use super::record::IdempotencyRecord;
use super::service::ServiceState;
use super::tally::Running;
use super::{
    AnalysisView, EvidenceWriter, Kept, Message, Outbox, Refusal, Reply, StoreState, TableWriter,
};

/// Takes a gate's answer, and what it was told; `None` if it was not asked.
pub type GateReply = Box<dyn FnOnce(GateAnswer, Option<Box<GateHearing>>) + Send>;

/// Asks gates; implemented by the gate host's adapter, and by tests.
pub trait AskGates: Send + Sync {
    /// Asks; the answer comes to `reply`, from another thread, in bounded time. Never blocks.
    /// `evidence` is what the comparison says now; `None` if nothing is compared.
    fn ask(&self, call: GateCall, evidence: Option<GateEvidence>, reply: GateReply);

    /// How often each gate came to which verdict.
    fn calls(&self) -> Vec<GateCallsGauge>;

    /// Takes what gates keep and have changed since it was taken last, at most so many states.
    fn take_changed_states(&self, most: usize) -> Vec<KeptState>;

    /// Replaces all that gates keep by what was saved.
    fn restore_states(&self, saved: Vec<KeptState>);

    /// Forgets what gates keep for what is not to be kept; gives for how many pairs of service and
    /// gate that was.
    fn retain_states(&self, is_kept: &dyn Fn(&ServiceName, &GateName) -> bool) -> usize;

    /// What their calls came to besides.
    fn gauges(&self) -> GateGauges {
        GateGauges::default()
    }
}

/// Everything the writer knows.
pub struct World {
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    /// The time of the message under way.
    pub(super) now: Now,
    /// Every service that is known; one that the configuration does not have now keeps its roles
    /// for when it has it again.
    pub(super) services: BTreeMap<ServiceName, ServiceState>,
    /// Every group that is known, likewise.
    pub(super) groups: BTreeMap<TargetGroupName, Group>,
    /// Rollouts that have not ended, or whose end is not saved yet.
    pub(super) rollouts: BTreeMap<RolloutId, Active>,
    pub(super) history: History,
    /// Requests that may be repeated, by the digest of their scope.
    pub(super) repeatable: BTreeMap<Sha256, IdempotencyRecord>,
    pub(super) alarms: Alarms,
    pub(super) changes: Changes,
    /// Answers to send once the view shows what they tell.
    pub(super) answers: Vec<(ReplyTo, Result<Reply, Refusal>)>,
    pub(super) kept: OwnedMutexGuard<Kept>,
    pub(super) generation: u64,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) windows: Arc<Windows>,
    pub(super) prober: Arc<Prober>,
    pub(super) outbox: Outbox,
    pub(super) table_writer: TableWriter,
    pub(super) store: StoreState,
    pub(super) gates: Arc<dyn AskGates>,
    /// Where answers come back to the writer.
    pub(super) inbox: mpsc::Sender<Message>,
    /// Whether the view is older than the state.
    pub(super) changed: bool,
    /// Whether a target was not probed enough yet since the start.
    pub(super) unsettled: bool,
    pub(super) resolver: Arc<Resolver>,
    pub(super) lists: Lists,
    pub(super) asker: Arc<Asker>,
    /// How often each revision of a service was rolled out.
    pub(super) attempts: BTreeMap<ServiceName, Attempts>,
    pub(super) evidence: EvidenceWriter,
}

/// A rollout in the writer's hands.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) rollout: Rollout,
    pub(super) running: Running,
    /// Facts that wait for the next save.
    pub(super) drafts: Vec<Draft>,
    /// When it ended; `None` while it runs.
    pub(super) ended: Option<WallTime>,
    /// Whether it is from before the start, and waits for a first look at its world.
    pub(super) unsettled: bool,
    /// Its comparison; `None` if nothing is compared.
    pub(super) comparing: Option<Comparing>,
    /// What an earlier life has left of its comparison; `None` if it left nothing.
    pub(super) analysis: Option<AnalysisView>,
    /// When its comparison was last evaluated out of turn, because green failed: in microseconds of
    /// the monotonic clock, which two do not share.
    pub(super) out_of_turn_us: u64,
}

impl Active {
    /// A rollout that begins, or goes on.
    pub(super) fn new(rollout: Rollout, running: Running) -> Self {
        Self {
            rollout,
            running,
            drafts: Vec::new(),
            ended: None,
            unsettled: false,
            comparing: None,
            analysis: None,
            out_of_turn_us: 0,
        }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("generation", &self.generation)
            .field("services", &self.services.len())
            .field("rollouts", &self.rollouts.len())
            .finish_non_exhaustive()
    }
}
