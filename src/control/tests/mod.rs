//! The writer as a whole: requests through its handle, a store that fails when it is told to, gates
//! that say what they are told to, and a next life that finds what the last one left.

mod aborting;
mod alarms;
mod ejecting;
mod idempotency;
mod ledger;
mod names;
mod recovering;
mod reloading;
mod reviving;
mod roles;
mod splits;
mod starting;
mod targets;
mod watching;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::ledger::{Chain, Entry};
use crate::core::model::{AlarmState, Exposure, GateStage, RolloutId, Sha256, Target, Weight};
use crate::core::rollout::{Actor, GateAnswer, GateCall, StateName, Verb};
use crate::core::routing::RoutingTable;
use crate::probe::Prober;
use crate::resolve::Resolver;
use crate::store::{
    Faulty, Key, LedgerQuery, MemoryStore, Snapshot, Store, StoreError, TableImage, Transaction,
};
use crate::telemetry::{GateCallsGauge, Recorder, Windows};

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

/// What stands in for a component: nobody runs it here.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// How long a condition is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// What outlives a process.
struct Remains {
    store: Arc<Faulty<MemoryStore>>,
    /// What the table file holds; `None` without one.
    served: Option<TableImage>,
    folder: TempDir,
    draws: AtomicU64,
    process: Process,
}

/// What outlives a control side, and ends with its process.
struct Process {
    clock: Clock,
    table: Arc<ArcSwap<RoutingTable>>,
    recorder: Arc<Recorder>,
    kept: Arc<tokio::sync::Mutex<Kept>>,
}

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
}

/// Gates that pass at once, except at the stages at which they are told not to answer.
#[derive(Debug, Default)]
struct Script {
    silent: Mutex<BTreeSet<GateStage>>,
    asked: Mutex<Vec<GateCall>>,
}

impl AskGates for Script {
    fn ask(&self, call: GateCall, reply: Box<dyn FnOnce(GateAnswer) + Send>) {
        let silent = self.silent.lock().unwrap().contains(&call.stage);
        self.asked.lock().unwrap().push(call);
        if !silent {
            reply(GateAnswer::Pass);
        }
    }

    fn calls(&self) -> Vec<GateCallsGauge> {
        Vec::new()
    }
}

impl Process {
    fn new() -> Self {
        let (table, recorder, kept) = (Arc::default(), Arc::default(), Arc::default());
        Self { clock: Clock::start(), table, recorder, kept }
    }
}

impl Remains {
    fn none() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("probe.wasm"), COMPONENT).unwrap();
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        let (draws, process) = (AtomicU64::new(1), Process::new());
        Self { store, served: None, folder, draws, process }
    }

    async fn start(self, config: &str) -> Rig {
        self.try_start(config).await.expect("what is stored fits the configuration")
    }

    async fn try_start(self, config: &str) -> Result<Rig, RecoverError> {
        let stored = self.store.inner().load().await.map_err(|error| error.to_string());
        self.start_with(config, stored)
    }

    /// Starts where the store cannot be read.
    fn start_unreadable(self, config: &str) -> Result<Rig, RecoverError> {
        self.start_with(config, Err("it is torn".to_owned()))
    }

    /// Starts with what was read of the store.
    fn start_with(
        self,
        config: &str,
        stored: Result<Snapshot, String>,
    ) -> Result<Rig, RecoverError> {
        let gates: Arc<Script> = Arc::default();
        let Self { store, served, folder, draws, process } = self;
        let Process { clock, table, recorder, kept } = process;
        let readable = stored.is_ok();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, config).unwrap();
        let (table_writer, images) = TableWriter::new();
        let outbox = if readable { Outbox::new() } else { Outbox::closed() };
        let (inbox, messages) = mpsc::channel(Writer::INBOX);
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let recovered = Recovered {
            config: Arc::new(Config::load(&file).unwrap()),
            file: Some(file),
            clock,
            stored,
            store: readable.then(|| Arc::clone(&shared)),
            served,
            table: Arc::clone(&table),
            recorder,
            windows: Arc::new(Windows::default()),
            prober: Arc::new(Prober::start(tokio::runtime::Handle::current())),
            table_writer,
            gates: Arc::clone(&gates) as Arc<dyn AskGates>,
            prepare: Arc::new(|_| Ok(())),
            resolver: Arc::new(Resolver::start(tokio::runtime::Handle::current())),
            kept: Arc::clone(&kept).try_lock_owned().expect("the writer before is gone"),
        };
        let watchdog = Watchdog::new(clock);
        let channel = (inbox.clone(), messages);
        let (writer, handle) = recovered.into_writer(outbox.clone(), watchdog, channel)?;
        let saver = tokio::spawn(outbox.clone().run(shared, inbox));
        let tasks = [saver, tokio::spawn(writer.run())];
        Ok(Rig { store, handle, table, gates, clock, images, folder, draws, outbox, tasks, kept })
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

/// A record of the store with its version there; `None` if there is none.
async fn record(store: &Faulty<MemoryStore>, key: &str) -> Option<(serde_json::Value, u64)> {
    let records = store.inner().load().await.unwrap().records;
    let found = records.into_iter().find(|record| record.key.as_str() == key)?;
    Some((serde_json::from_str(&found.value).unwrap(), found.version))
}

/// Puts a record into the store.
async fn put(store: &Faulty<MemoryStore>, key: &str, value: String) {
    let key: Key = key.parse().unwrap();
    let transaction = Transaction { puts: vec![(key, value)], ..Transaction::default() };
    store.inner().commit(transaction).await.unwrap();
}

fn actor() -> Actor {
    Actor { name: "ann".to_owned(), origin: "test".to_owned() }
}

fn request(command: Command) -> Request {
    Request { command, actor: actor(), reason: Some("because".to_owned()), if_match: None }
}

fn split(green: &str) -> Command {
    Command::SetSplit { service: name("shop"), green: percent(green) }
}

fn roles(change: RoleChange) -> Command {
    Command::Roles { service: name("shop"), change }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn percent(text: &str) -> Weight {
    name(text)
}

fn targets(ports: &[u16]) -> Vec<Target> {
    ports.iter().map(|port| Target { address: name(&format!("127.0.0.1:{port}")) }).collect()
}

/// The rollout that an answer is about.
fn id_of(reply: Reply) -> RolloutId {
    let Reply::Started { rollout } = reply else { panic!("{reply:?}") };
    rollout.id.clone()
}

/// Whether an answer says that the change is saved.
fn persisted(reply: &Reply) -> bool {
    let (Reply::Service { persisted, .. } | Reply::Rollout { persisted, .. }) = reply else {
        panic!("{reply:?}")
    };
    *persisted
}

fn refused(answer: Result<Reply, Refusal>, code: &str) -> Refusal {
    let refusal = answer.expect_err("refused");
    assert_eq!(refusal.code(), code, "{refusal}");
    refusal
}

fn outage() -> StoreError {
    StoreError::Full
}
