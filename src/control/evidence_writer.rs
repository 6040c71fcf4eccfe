//! Writing the evidence of rollouts, in a task of its own: the writer hands bytes over and never
//! waits. Where the queue is full or the disk says no, evidence is lost, and the log is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::core::model::RolloutId;
use crate::store::EvidenceFolder;

use super::call_log::{CallLog, KeptCall};

/// Hands evidence to the task that writes it; cheap to clone.
#[derive(Clone, Debug)]
pub struct EvidenceWriter {
    /// `None` where no evidence is kept.
    to: Option<(EvidenceFolder, mpsc::Sender<Order>)>,
    /// How many bytes wait, those included that are being written.
    waiting: Arc<AtomicUsize>,
}

/// The end that the task reads, and how many bytes wait.
#[derive(Debug)]
pub struct EvidenceOrders(mpsc::Receiver<Order>, Arc<AtomicUsize>);

/// What both ends know of one log.
#[derive(Debug, Default)]
pub(super) struct LogState {
    /// How long it is.
    kept: AtomicU64,
    /// How often something of it was lost. Bytes say what changed since the ones before, so that
    /// those of an earlier era are of no use any more.
    era: AtomicU64,
}

/// What is to be done.
#[derive(Debug)]
enum Order {
    Append { rollout: RolloutId, bytes: Vec<u8>, era: u64, state: Arc<LogState> },
    Keep { rollout: RolloutId, call: KeptCall },
    Remove(Vec<RolloutId>),
    KeepOnly(BTreeSet<RolloutId>),
}

/// The most orders that wait: with a few KiB each, seldom 64.
const QUEUE: usize = 256;
/// The most bytes that wait: a disk that stands still must not cost more memory.
const BYTES: usize = 4 << 20;

impl EvidenceWriter {
    /// A writer into a folder, and the end that its task reads.
    #[must_use]
    pub fn new(folder: EvidenceFolder) -> (Self, EvidenceOrders) {
        let (orders, received) = mpsc::channel(QUEUE);
        let waiting: Arc<AtomicUsize> = Arc::default();
        let end = EvidenceOrders(received, Arc::clone(&waiting));
        (Self { to: Some((folder, orders)), waiting }, end)
    }

    /// Where no evidence is kept.
    #[must_use]
    pub fn none() -> Self {
        Self { to: None, waiting: Arc::default() }
    }

    /// Where evidence can be read; `None` where none is kept.
    pub(super) fn folder(&self) -> Option<EvidenceFolder> {
        self.to.as_ref().map(|(folder, _)| folder.clone())
    }

    /// Has bytes of an era appended to a log.
    pub(super) fn append(
        &self,
        rollout: &RolloutId,
        (bytes, era): (Vec<u8>, u64),
        state: &Arc<LogState>,
    ) {
        let (to, state_of) = (rollout.clone(), Arc::clone(state));
        if !self.give(Order::Append { rollout: to, bytes, era, state: state_of }) {
            state.lose(rollout, era, "too much waits to be written");
        }
    }

    /// Has a call of a gate kept. One that is lost is missed by the ledger, which has its digest.
    pub(super) fn keep_call(&self, rollout: &RolloutId, call: KeptCall) {
        let order = Order::Keep { rollout: rollout.clone(), call };
        if self.to.is_some() && !self.give(order) {
            tracing::warn!(%rollout, "a call of a gate is not kept: too much waits to be written");
        }
    }

    /// Has the logs of rollouts removed that nobody knows any more.
    pub(super) fn remove(&self, rollouts: &[RolloutId]) {
        // What is not done now is done at the next start.
        self.give(Order::Remove(rollouts.to_vec()));
    }

    /// Has the logs of all other rollouts removed.
    pub(super) fn keep_only(&self, rollouts: BTreeSet<RolloutId>) {
        self.give(Order::KeepOnly(rollouts));
    }

    /// Whether it was taken.
    fn give(&self, order: Order) -> bool {
        let Some((_, orders)) = &self.to else { return false };
        let bytes = order.bytes();
        let before = self.waiting.fetch_add(bytes, Ordering::AcqRel);
        // One that is longer than that may wait alone.
        let fits = before == 0 || bytes == 0 || before + bytes <= BYTES;
        let given = fits && orders.try_send(order).is_ok();
        if !given {
            self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        }
        given
    }

    /// Does what is ordered, until nobody orders anything any more.
    pub async fn run(folder: EvidenceFolder, orders: EvidenceOrders) {
        let EvidenceOrders(mut orders, waiting) = orders;
        let mut logs = Logs::new(folder.clone());
        loop {
            let mut batch = Vec::new();
            if orders.recv_many(&mut batch, QUEUE).await == 0 {
                return;
            }
            let bytes: usize = batch.iter().map(Order::bytes).sum();
            let work = tokio::task::spawn_blocking(move || {
                batch.into_iter().for_each(|order| logs.carry_out(order));
                logs
            });
            logs = work.await.unwrap_or_else(|error| {
                tracing::error!(%error, "evidence was not written");
                Logs::new(folder.clone())
            });
            waiting.fetch_sub(bytes, Ordering::AcqRel);
        }
    }
}

impl Order {
    /// What it has to write, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Append { bytes, .. } => bytes.len(),
            Self::Keep { call, .. } => call.line.len(),
            Self::Remove(_) | Self::KeepOnly(_) => 0,
        }
    }
}

impl LogState {
    /// How long the log is.
    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// The present era: bytes of an earlier one are not written.
    pub(super) fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    fn lose(&self, rollout: &RolloutId, era: u64, why: &str) {
        if self.era.fetch_max(era + 1, Ordering::AcqRel) <= era {
            tracing::warn!(%rollout, why, "evidence was lost; its log says so");
        }
    }
}

/// The logs as the task knows them.
#[derive(Debug)]
struct Logs {
    folder: EvidenceFolder,
    /// How much of each log is good, of those that were written to.
    lengths: BTreeMap<RolloutId, u64>,
    /// The records of calls of gates that were written to.
    calls: BTreeMap<RolloutId, CallLog>,
}

impl Logs {
    fn new(folder: EvidenceFolder) -> Self {
        Self { folder, lengths: BTreeMap::new(), calls: BTreeMap::new() }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Append { era, state, .. } if era < state.era() => {}
            Order::Append { rollout, bytes, era, state } => {
                let length = self.lengths.get(&rollout).copied();
                match self.folder.append(&rollout, length, &bytes) {
                    Ok(length) => {
                        state.kept.store(length, Ordering::Release);
                        self.lengths.insert(rollout, length);
                    }
                    Err(error) => {
                        // What is good is looked for again.
                        self.lengths.remove(&rollout);
                        state.lose(&rollout, era, &error.to_string());
                    }
                }
            }
            Order::Keep { rollout, call } => {
                let log = self.calls.entry(rollout.clone()).or_default();
                if let Err(error) = log.append(&self.folder, &rollout, call) {
                    tracing::warn!(%rollout, %error, "a call of a gate is not kept");
                }
            }
            Order::Remove(rollouts) => {
                for rollout in rollouts {
                    self.lengths.remove(&rollout);
                    self.calls.remove(&rollout);
                    tell(self.folder.remove(&rollout));
                }
            }
            Order::KeepOnly(rollouts) => tell(self.folder.keep_only(&rollouts)),
        }
    }
}

fn tell(removed: io::Result<()>) {
    if let Err(error) = removed {
        tracing::warn!(%error, "old evidence was not removed; it is tried at the next start");
    }
}

#[cfg(test)]
impl EvidenceOrders {
    /// Does what waits, without a task; how often bytes were to be appended.
    pub(super) fn carry_out(&mut self, folder: &EvidenceFolder) -> usize {
        let mut logs = Logs::new(folder.clone());
        let mut appends = 0;
        while let Ok(order) = self.0.try_recv() {
            appends += usize::from(matches!(order, Order::Append { .. }));
            self.1.fetch_sub(order.bytes(), Ordering::AcqRel);
            logs.carry_out(order);
        }
        appends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> RolloutId {
        "d-ABCDEFGHI".parse().expect("an id")
    }

    #[tokio::test]
    async fn what_is_ordered_is_written_before_the_task_ends() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let (writer, orders) = EvidenceWriter::new(folder.clone());
        let state = Arc::default();
        writer.append(&id(), (b"one".to_vec(), 0), &state);
        writer.append(&id(), (b"two".to_vec(), 0), &state);
        drop(writer);
        EvidenceWriter::run(folder.clone(), orders).await;
        assert_eq!(folder.read(&id()).expect("readable").as_deref(), Some(&b"onetwo"[..]));
        assert_eq!((state.kept(), state.era()), (6, 0));
    }

    #[tokio::test]
    async fn what_finds_no_room_is_lost_and_waits_for_nobody() {
        let home = tempfile::tempdir().expect("a folder");
        let (writer, orders) = EvidenceWriter::new(EvidenceFolder::new(home.path()));
        let state = Arc::default();
        for _ in 0..QUEUE {
            writer.append(&id(), (vec![0], 0), &state);
        }
        assert_eq!(state.era(), 0);
        writer.append(&id(), (vec![0], 0), &state);
        writer.append(&id(), (vec![0], 0), &state);
        assert_eq!(state.era(), 1, "one loss, until the recorder has begun anew");
        drop(orders);
    }

    #[tokio::test]
    async fn few_bytes_wait_and_those_that_were_written_make_room() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let (writer, mut orders) = EvidenceWriter::new(folder.clone());
        let state: Arc<LogState> = Arc::default();
        let append = |bytes: usize| {
            let before = state.era();
            writer.append(&id(), (vec![0; bytes], before), &state);
            state.era() == before
        };
        assert!(append(BYTES / 2) && append(BYTES / 2));
        assert!(!append(1), "there is no room for it");
        writer.remove(&[id()]);
        assert_eq!(orders.carry_out(&folder), 2);
        assert!(append(BYTES));
        assert_eq!(writer.waiting.load(Ordering::Acquire), BYTES);
        drop(writer);
        let waiting = Arc::clone(&orders.1);
        EvidenceWriter::run(folder, orders).await;
        assert_eq!(waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn what_follows_a_loss_is_not_written_before_the_log_begins_anew() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let (writer, orders) = EvidenceWriter::new(folder.clone());
        let state: Arc<LogState> = Arc::default();
        writer.append(&id(), (b"one".to_vec(), 0), &state);
        state.lose(&id(), 0, "a test");
        writer.append(&id(), (b"two".to_vec(), 0), &state);
        writer.append(&id(), (b"anew".to_vec(), 1), &state);
        drop(writer);
        EvidenceWriter::run(folder.clone(), orders).await;
        assert_eq!(folder.read(&id()).expect("readable").as_deref(), Some(&b"anew"[..]));
    }

    #[tokio::test]
    async fn what_the_disk_refuses_is_lost() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("file");
        std::fs::write(&file, "in the way").expect("written");
        let folder = EvidenceFolder::new(&file);
        let (writer, orders) = EvidenceWriter::new(folder.clone());
        let state = Arc::default();
        writer.append(&id(), (vec![0], 0), &state);
        drop(writer);
        EvidenceWriter::run(folder, orders).await;
        assert_eq!(state.era(), 1);
    }

    #[test]
    fn a_log_that_was_removed_is_lost_once_and_begins_anew() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = EvidenceFolder::new(home.path());
        let mut logs = Logs::new(folder.clone());
        let state: Arc<LogState> = Arc::default();
        let order = |bytes: &[u8], era| Order::Append {
            rollout: id(),
            bytes: bytes.to_vec(),
            era,
            state: Arc::clone(&state),
        };
        logs.carry_out(order(b"one", 0));
        folder.remove(&id()).expect("removed");
        logs.carry_out(order(b"two", 0));
        assert_eq!(state.era(), 1, "nobody was told");
        logs.carry_out(order(b"anew", 1));
        assert_eq!(folder.read(&id()).expect("readable").as_deref(), Some(&b"anew"[..]));
    }
}
