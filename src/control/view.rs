//! What others see of the state: a snapshot, made after every change and several times a second.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Config;
use crate::core::analysis::Observed;
use crate::core::model::{
    AlarmName, AlarmState, GroupHealth, Revision, RolloutId, Salt, ServiceName, Span, Step,
    Stickiness, StrategyName, TargetAddress, TargetGroupName, TargetHealth, TargetName, WallTime,
    Weight,
};
use crate::core::rollout::{Cause, Hold, Spec, Stage, StateName};

use super::{AnalysisView, Tally};

/// Everything that can be seen at a moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The routing table's generation.
    pub generation: u64,
    /// Every service by name.
    pub services: BTreeMap<ServiceName, ServiceView>,
    /// Every rollout that is known, by id.
    pub rollouts: BTreeMap<RolloutId, Arc<RolloutView>>,
    /// Every alarm, by service.
    pub alarms: Vec<AlarmView>,
    /// Every declared gate with its digest.
    pub gates: Vec<(crate::core::model::GateName, crate::core::model::Sha256)>,
    /// How the store is.
    pub store: StoreState,
    /// Whether every target was probed once since the start.
    pub health: HealthView,
    /// The configuration in force; `None` before the writer's first look at it.
    pub config: Option<Arc<Config>>,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// It saves.
    #[default]
    Good,
    /// It does not save at present; what it said.
    Failing(String),
    /// It could not be read at the start: nothing can be changed.
    Unreadable(String),
}

/// How far the start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthView {
    /// Targets are being probed for the first time.
    #[default]
    Starting,
    /// All were probed.
    Settled,
}

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Grows with every change of its record.
    pub version: u64,
    /// What serves.
    pub blue: SideView,
    /// What is being rolled out, or what served before.
    pub green: SideView,
    /// Green's weight by the last decision.
    pub configured: Weight,
    /// Green's weight in the table that requests load now.
    pub in_force: Weight,
    /// The requests of the last minute.
    pub observed: Observed,
    /// The active rollout; `None` if there is none.
    pub active: Option<RolloutId>,
    /// The strategy of rollouts that name none.
    pub strategy: StrategyName,
    /// The salt in the table that requests load now.
    pub salt: Salt,
    /// What keeps users on a side; `None` draws for each request.
    pub stickiness: Option<Stickiness>,
}

/// One side of a service.
#[derive(Clone, Debug)]
pub struct SideView {
    /// The group that has the role.
    pub group: TargetGroupName,
    /// What it runs; `None` if no deploy tool ever said so.
    pub revision: Option<Revision>,
    /// Whether its targets were registered over the API.
    pub registered: bool,
    /// Its targets.
    pub targets: Vec<TargetView>,
    /// How many of them are healthy.
    pub health: GroupHealth,
    /// Requests since the start of the process, failed ones among them.
    pub requests: u64,
    /// Requests that failed since the start of the process.
    pub failed: u64,
    /// Its targets that are names and have no address yet.
    pub unresolved: Vec<UnresolvedView>,
}

/// One target.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// Where it listens.
    pub address: TargetAddress,
    /// Its health by its checks.
    pub health: TargetHealth,
    /// Requests in flight.
    pub in_flight: u32,
    /// Why its last failed check failed; `None` if none did.
    pub last_failure: Option<String>,
    /// The target as written, which several addresses may share.
    pub name: TargetName,
    /// Whether it is ejected for what it made of its requests.
    pub ejected: bool,
}

/// A target that is a name without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedView {
    /// The target as written.
    pub name: TargetName,
    /// Why it has none; `None` until DNS was asked.
    pub why: Option<String>,
}

/// The rollout that a rollback took back, and the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackOf {
    /// It is no rollback and was not rolled back.
    None,
    /// It was taken back by this rollback.
    RolledBackBy(RolloutId),
    /// It took back this rollout.
    RollbackOf(RolloutId),
}

/// A rollout.
#[derive(Clone, Debug)]
pub struct RolloutView {
    /// Its id.
    pub id: RolloutId,
    /// Its service.
    pub service: ServiceName,
    /// What it runs on; `None` for a rollback.
    pub spec: Option<Arc<Spec>>,
    /// What is rolled out, or came back.
    pub revision: Option<Revision>,
    /// Where it is.
    pub state: StateName,
    /// The lifecycle stage.
    pub stage: Stage,
    /// The number of the present step, from 0.
    pub step: u32,
    /// Green's weight as last exposed.
    pub weight: Weight,
    /// Why it does not advance; empty while it just takes its time.
    pub holds: Vec<Hold>,
    /// Why it ended or was about to; `None` where nothing spoke against it.
    pub cause: Option<Cause>,
    /// Length, time watched and requests scored of the bake under way; `None` without one.
    pub bake: Option<(Span, Span, u64)>,
    /// What its requests came to.
    pub tally: Tally,
    /// When it was created.
    pub created: WallTime,
    /// When it ended; `None` while it runs.
    pub ended: Option<WallTime>,
    /// The rollout on the other end of a rollback.
    pub link: RollbackOf,
    /// Its comparison; `None` if nothing is or was compared.
    pub analysis: Option<AnalysisView>,
}

impl RolloutView {
    /// The planned steps; none for a rollback.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.spec.as_ref().map_or(&[], |spec| &spec.steps)
    }
}

/// An alarm as one service has it.
#[derive(Clone, Debug)]
pub struct AlarmView {
    /// Which.
    pub alarm: AlarmName,
    /// The service that lists it; `None` if none does.
    pub service: Option<ServiceName>,
    /// What it says.
    pub state: AlarmState,
    /// The words of whoever told it, or what came of its query; `None` for alarms on own numbers.
    pub reason: Option<String>,
    /// When the state last changed; `None` if it never did.
    pub since: Option<WallTime>,
    /// Whether its state is told from outside.
    pub pushed: bool,
    /// Where its state comes from, in the word of the configuration.
    pub source: &'static str,
}
