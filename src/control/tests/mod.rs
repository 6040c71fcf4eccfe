//! The writer as a whole: requests through its handle, a store that fails when it is told to, gates
//! that say what they are told to, and a next life that finds what the last one left.

mod aborting;
mod alarms;
mod alerts;
mod burns;
mod comparing;
mod ejecting;
mod forgetting;
mod hanging;
mod idempotency;
mod ledger;
mod names;
mod overrides;
mod queries;
mod recovering;
mod reloading;
mod remainders;
mod remains;
mod replaying;
mod reviving;
mod roles;
mod shadowing;
mod splits;
mod starting;
mod sticky;
mod suspects;
mod targets;
mod warming;
mod watching;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use remains::{COMPONENT, Process, Remains};
use words::{
    actor, id_of, name, outage, percent, persisted, put, record, refused, request, roles, split,
    targets,
};

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::ledger::{Chain, Entry};
use crate::core::model::{
    AlarmState, Exposure, GateName, GateStage, RolloutId, ServiceName, Sha256, Target, Weight,
};
use crate::core::rollout::{GateAnswer, GateCall, GateEvidence, StateName, Verb};
use crate::core::routing::RoutingTable;
use crate::gate::{KeptState, MemoryState};
use crate::store::{Faulty, LedgerQuery, MemoryStore, Store, StoreError, TableImage};
use crate::telemetry::{GateCallsGauge, Recorder};

/// One service whose rollouts take no time, unless they are told to.
const SHOP: &str = "
listeners: [{ name: public, address: '127.0.0.1:0', rules: [{ service: shop }] }]
target_groups: { a: { targets: ['127.0.0.1:9001'] }, b: { targets: ['127.0.0.1:9002'] } }
services:
  shop: { target_groups: [a, b], strategy: quick, min_green: 0, alarms: [pager] }
strategies:
  quick: { steps: [{ weight: 10%, bake: 10ms }] }
  slow: { steps: [{ weight: 10%, bake: 1h }, { weight: 50%, bake: 1h }] }
  approved: { steps: [{ approval: { timeout: 1h } }, { weight: 10%, bake: 1h }] }
  baked: { all_at_once: true, final_bake: { for: 600ms } }
alarms: { pager: { pushed: true, on_insufficient: ignore } }
";

/// The same with gates at every stage.
fn gated() -> String {
    let stages = [
        "before-install",
        "after-install",
        "after-allow-test-traffic",
        "before-allow-traffic",
        "before-step",
        "during-step",
        "after-allow-traffic",
        "on-rollback",
        "after-rollback",
    ];
    let uses = format!("gates: [{{ gate: probe, at: [{}] }}], strategy", stages.join(", "));
    let digest = Sha256::of(COMPONENT);
    let gates = format!("gates: {{ probe: {{ component: probe.wasm, sha256: {digest} }} }}");
    format!("{}{gates}\n", SHOP.replacen("strategy", &uses, 1))
}

/// How long a condition is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running writer.
struct Rig {
    store: Arc<Faulty<MemoryStore>>,
    handle: Handle,
    table: Arc<ArcSwap<RoutingTable>>,
    gates: Arc<Script>,
    clock: Clock,
    images: watch::Receiver<Option<TableImage>>,
    folder: TempDir,
    draws: AtomicU64,
    outbox: Outbox,
    tasks: [JoinHandle<()>; 2],
    kept: Arc<tokio::sync::Mutex<Kept>>,
    /// Ends when everybody has ended who has it write.
    evidence_task: Option<JoinHandle<()>>,
}

/// Gates that pass at once, except at the stages at which they are told not to answer, or to say
/// something else.
#[derive(Debug, Default)]
struct Script {
    silent: Mutex<BTreeSet<GateStage>>,
    asked: Mutex<Vec<GateCall>>,
    state: MemoryState,
    /// What the comparison said when a stage was asked about last.
    evidence: Mutex<BTreeMap<GateStage, Option<GateEvidence>>>,
    /// What to say to every question; `None` passes.
    answer: Mutex<Option<GateAnswer>>,
}

impl AskGates for Script {
    fn ask(&self, call: GateCall, evidence: Option<GateEvidence>, reply: GateReply) {
        let silent = self.silent.lock().unwrap().contains(&call.stage);
        self.evidence.lock().unwrap().insert(call.stage, evidence);
        self.asked.lock().unwrap().push(call);
        let answer = self.answer.lock().unwrap().clone();
        if !silent {
            reply(answer.unwrap_or(GateAnswer::Pass), None);
        }
    }

    fn calls(&self) -> Vec<GateCallsGauge> {
        Vec::new()
    }

    fn take_changed_states(&self, most: usize) -> Vec<KeptState> {
        self.state.take_changed(most)
    }

    fn restore_states(&self, saved: Vec<KeptState>) {
        self.state.restore(saved);
    }

    fn retain_states(&self, is_kept: &dyn Fn(&ServiceName, &GateName) -> bool) -> usize {
        self.state.retain(is_kept)
    }
}

impl Rig {
    async fn new() -> Self {
        Remains::none().start(SHOP).await
    }

    /// Ends the process between two instructions: what was not saved yet is not.
    async fn crash(self) -> Remains {
        Remains { process: Process::new(), ..self.end().await }
    }

    /// Ends the writer in the same way, and not the process.
    async fn end(self) -> Remains {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        if let Some(task) = self.evidence_task {
            task.await.expect("it writes what is left");
        }
        self.store.release();
        let served = self.images.borrow().clone();
        let recorder = Arc::clone(&self.handle.recorder);
        let process = Process { clock: self.clock, table: self.table, recorder, kept: self.kept };
        Remains { store: self.store, served, folder: self.folder, draws: self.draws, process }
    }

    /// Has the writer end, as a process does that is told to: what it leaves is saved.
    async fn stop(self) -> Remains {
        let (done, ended) = tokio::sync::oneshot::channel();
        self.handle.inbox.send(Message::Shutdown(done)).await.expect("the writer runs");
        ended.await.expect("it ends");
        self.saved().await;
        self.end().await
    }

    /// Ends the process when everything is saved, and starts it again.
    async fn restart(self, config: &str) -> Self {
        self.saved().await;
        self.crash().await.start(config).await
    }

    /// Ends the writer when everything is saved, and starts another one in the same process.
    async fn revive(self, config: &str) -> Self {
        self.saved().await;
        self.end().await.start(config).await
    }

    async fn send(&self, command: Command) -> Result<Reply, Refusal> {
        self.handle.send(request(command)).await
    }

    /// Sends a request whose answer is looked at later.
    fn sending(&self, command: Command) -> JoinHandle<Result<Reply, Refusal>> {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.send(request(command)).await })
    }

    /// A start with a revision and draws of its own.
    fn start(&self, strategy: &str) -> StartRollout {
        let draw = self.draws.fetch_add(4, Ordering::Relaxed);
        StartRollout {
            service: name("shop"),
            revision: name(&format!("v{draw}")),
            targets: None,
            strategy: Some(name(strategy)),
            description: "a test".to_owned(),
            ignore_alarms: Vec::new(),
            idempotency: None,
            draws: [draw, draw + 1, draw + 2, draw + 3],
            alarms: None,
        }
    }

    /// Starts a rollout that must be possible.
    async fn started(&self, strategy: &str) -> RolloutId {
        let start = Command::StartRollout(Box::new(self.start(strategy)));
        id_of(self.send(start).await.expect("started"))
    }

    /// Starts a rollout and waits until green has 10 %.
    async fn shifting(&self) -> RolloutId {
        let id = self.started("slow").await;
        self.until("green has 10%", |rig| rig.green() == percent("10%")).await;
        id
    }

    async fn tell(&self, id: &RolloutId, verb: Verb) -> Result<Reply, Refusal> {
        self.send(Command::Rollout { id: id.clone(), verb }).await
    }

    async fn set_split(&self, green: &str) -> Result<Reply, Refusal> {
        self.send(split(green)).await
    }

    async fn push(&self, state: AlarmState) {
        let push = Command::PushAlarm { alarm: name("pager"), state };
        self.send(push).await.expect("taken");
    }

    async fn reload(&self, config: &str) -> Result<ReloadReport, Refusal> {
        std::fs::write(self.folder.path().join("tidegate.yaml"), config).unwrap();
        let reply = self.handle.reload(actor(), None).await?;
        let Reply::Reloaded(report) = reply else { panic!("{reply:?}") };
        Ok(report)
    }

    /// The service as others see it.
    fn shop(&self) -> ServiceView {
        self.handle.view().services[&name("shop")].clone()
    }

    /// What the next request loads.
    fn exposure(&self) -> Exposure {
        self.table.load().services[&name("shop")].exposure
    }

    /// Green's weight in the table that the next request loads.
    fn green(&self) -> Weight {
        self.exposure().split.green()
    }

    fn rollout(&self, id: &RolloutId) -> Arc<RolloutView> {
        Arc::clone(&self.handle.view().rollouts[id])
    }

    fn silence(&self, stages: impl IntoIterator<Item = GateStage>) {
        *self.gates.silent.lock().unwrap() = stages.into_iter().collect();
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let so = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, so).await.is_err() {
            panic!("not in time: {what}\n{:#?}", self.handle.view());
        }
    }

    /// Waits until a rollout is in a state.
    async fn until_state(&self, id: &RolloutId, state: StateName) {
        let what = format!("{id} is {state}");
        self.until(&what, |rig| rig.rollout(id).state == state).await;
    }

    /// Waits until the slot of the service is free.
    async fn until_over(&self, id: &RolloutId, state: StateName) {
        self.until_state(id, state).await;
        self.until("the slot is free", |rig| rig.shop().active.is_none()).await;
    }

    /// Waits until everything is saved.
    async fn saved(&self) {
        self.until("everything is saved", |rig| rig.outbox.is_empty()).await;
    }

    /// Waits until the store is blocked in a call.
    async fn until_blocked(&self) {
        self.until("the store is asked", |rig| rig.store.waiting() > 0).await;
    }

    /// The whole ledger, which is checked to be one chain.
    async fn ledger(&self) -> Vec<Entry> {
        let entries = self.store.inner().ledger(LedgerQuery::default()).await.unwrap();
        let mut chain = Chain::new();
        entries.iter().for_each(|entry| chain.append(entry).unwrap());
        entries
    }

    /// The kinds of the entries about a rollout.
    async fn story(&self, id: &RolloutId) -> Vec<String> {
        let entries = self.ledger().await;
        let about = entries.into_iter().filter(|entry| entry.rollout.as_ref() == Some(id));
        about.map(|entry| entry.kind).collect()
    }
}
