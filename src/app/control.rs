//! The control side as a part that can be stopped and started again, while the proxy goes on with
//! its last table: an upgrade needs the store for the new process, and has it back if that fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::{
    AskGates, Gates, Handle, Kept, Message, Outbox, Prepare, Recovered, StoreState, Watchdog,
    Writer,
};
use crate::core::model::{MonoTime, Span};
use crate::core::routing::RoutingTable;
use crate::probe::Prober;
use crate::promql::Asker;
use crate::proxy::AccessLog;
use crate::resolve::Resolver;
use crate::telemetry::{Recorder, Windows};

use super::AppError;
use super::admin::{AdminPart, AdminSockets};
use super::memory::MemoryGuard;
use super::names::check_names;
use super::storage::Storage;

/// What outlives the control side: shared with the proxy, or slow to make.
#[derive(Debug)]
pub(super) struct Lasting {
    /// Where the configuration came from; `None` if it came from nowhere.
    pub(super) file: Option<PathBuf>,
    pub(super) clock: Clock,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) windows: Arc<Windows>,
    pub(super) gates: Arc<Gates>,
    pub(super) admin: AdminSockets,
    /// `None` if no request is logged.
    pub(super) access_log: Option<AccessLog>,
    pub(super) proxy_runtime: Runtime,
    pub(super) control_runtime: Runtime,
    /// Locked by the control side from its beginning to its end.
    pub(super) kept: Arc<Mutex<Kept>>,
    pub(super) _memory: MemoryGuard,
}

/// The running control side: writer, store, probes, admin API.
#[derive(Debug)]
pub(super) struct ControlPart {
    pub(super) handle: Handle,
    pub(super) admin: AdminPart,
    prober: Arc<Prober>,
    resolver: Arc<Resolver>,
    asker: Arc<Asker>,
    outbox: Outbox,
    inbox: mpsc::Sender<Message>,
    writer: JoinHandle<Arc<Config>>,
    watching: JoinHandle<()>,
    /// Whoever works off the outbox; `None` when the store could not be read.
    saving: Option<JoinHandle<()>>,
    /// Whoever writes the table file; `None` for a store in memory.
    writing: Option<JoinHandle<()>>,
    /// Whoever writes the evidence; `None` likewise.
    recording: Option<JoinHandle<()>>,
    begun: MonoTime,
}

/// Whose store it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nobody's: that it is held is a mistake.
    Free,
    /// It is being let go of by another process.
    Inherited,
}

/// How long the store and the table file may take to save what waits.
const FLUSH: Duration = Duration::from_secs(5);

impl ControlPart {
    /// Opens the store, recovers, publishes the first table, and serves the admin API. Blocks.
    ///
    /// # Errors
    /// What could not be built; nothing of it is left running then.
    pub(super) fn start(
        lasting: &Lasting,
        config: &Arc<Config>,
        claim: Claim,
    ) -> Result<Self, AppError> {
        let runtime = &lasting.control_runtime;
        let kept = Arc::clone(&lasting.kept).try_lock_owned().map_err(|_| AppError::StillRuns)?;
        let opened = match claim {
            Claim::Free => runtime.block_on(Storage::open(&config.store))?,
            Claim::Inherited => Storage::open_soon(&config.store, runtime)?,
        };
        // Nobody else takes uploads from now on.
        let mut config = Arc::clone(config);
        lasting.gates.catch_up(&mut config).map_err(AppError::Gates)?;
        let config = &config;
        let prober = Arc::new(Prober::start(runtime.handle().clone()));
        let resolver = Arc::new(Resolver::start(runtime.handle().clone()));
        let asker = Arc::new(Asker::start(runtime.handle().clone()));
        let (inbox, messages) = mpsc::channel(Writer::INBOX);
        let outbox = opened.outbox();
        let (table_writer, writing) = opened.table_writer(runtime);
        let (evidence, recording) = opened.evidence_writer(runtime);
        let watchdog = Watchdog::new(lasting.clock);
        let recovered = Recovered {
            config: Arc::clone(config),
            file: lasting.file.clone(),
            clock: lasting.clock,
            stored: opened.stored,
            store: opened.store.clone(),
            served: opened.served,
            table: Arc::clone(&lasting.table),
            recorder: Arc::clone(&lasting.recorder),
            windows: Arc::clone(&lasting.windows),
            prober: Arc::clone(&prober),
            table_writer,
            gates: Arc::clone(&lasting.gates) as Arc<dyn AskGates>,
            prepare: preparing(lasting, &resolver),
            resolver: Arc::clone(&resolver),
            kept,
            asker: Arc::clone(&asker),
            evidence,
            uploads: Some(Arc::clone(&lasting.gates)),
        };
        let channel = (inbox.clone(), messages);
        let (mut writer, handle) =
            recovered.into_writer(outbox.clone(), watchdog.clone(), channel)?;
        runtime.block_on(writer.hear_names());
        let admin = lasting.admin.serve(config, &handle, lasting.clock, runtime)?;
        let saving =
            opened.store.map(|store| runtime.spawn(outbox.clone().run(store, inbox.clone())));
        Ok(Self {
            handle,
            admin,
            prober,
            resolver,
            asker,
            outbox,
            inbox,
            writer: runtime.spawn(writer.run_and_tell_config()),
            watching: lasting.proxy_runtime.spawn(watchdog.run()),
            saving,
            writing,
            recording,
            begun: lasting.clock.mono(),
        })
    }

    /// Whether the writer works.
    pub(super) fn runs(&self) -> bool {
        !self.writer.is_finished()
    }

    /// How long ago it began.
    pub(super) fn age(&self, lasting: &Lasting) -> Span {
        lasting.clock.mono().since(self.begun)
    }

    /// Whether everything decided so far can be saved now; waits a moment for it. Blocks.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the store.
    pub(super) fn settle(&self, lasting: &Lasting) -> Result<(), String> {
        let saving = async { timeout(FLUSH, saved(&self.outbox)).await.is_ok() };
        let saved = lasting.control_runtime.block_on(saving);
        match &self.handle.view().store {
            StoreState::Good if saved => Ok(()),
            StoreState::Good => Err("the store does not save in time".to_owned()),
            StoreState::Failing(why) => Err(format!("the store does not save: {why}")),
            StoreState::Unreadable(why) => Err(format!("the store cannot be read: {why}")),
        }
    }

    /// Ends it: the admin API first, the store last, which is closed when this returns. Blocks.
    ///
    /// Gives the configuration in force; `None` if the writer had ended badly.
    pub(super) fn stop(self, lasting: &Lasting) -> Option<Arc<Config>> {
        lasting.control_runtime.block_on(self.end())
    }

    async fn end(self) -> Option<Arc<Config>> {
        self.watching.abort();
        self.admin.shutdown().await;
        let (done, _) = oneshot::channel();
        // A writer that is gone has stopped, too.
        let _ = self.inbox.send(Message::Shutdown(done)).await;
        let config = self.writer.await.inspect_err(|error| {
            tracing::error!(%error, "the writer had ended badly");
        });
        self.prober.shutdown().await;
        self.resolver.shutdown().await;
        self.asker.shutdown().await;
        drop((self.handle, self.inbox, self.prober, self.resolver, self.asker));
        if !finished(self.saving).await {
            tracing::error!("the store did not save everything before the end");
        }
        if !finished(self.writing).await {
            tracing::error!("the table file was not written before the end");
        }
        if !finished(self.recording).await {
            tracing::error!("the evidence was not written before the end");
        }
        config.ok()
    }
}

#[cfg(test)]
impl ControlPart {
    /// Ends the writer in the midst of its work, as a panic does.
    pub(super) fn kill_writer(&self) {
        self.writer.abort();
    }
}

/// Waits for the end of a task, and makes it end if it takes too long; gives whether it did so by
/// itself.
async fn finished(task: Option<JoinHandle<()>>) -> bool {
    let Some(mut task) = task else { return true };
    if timeout(FLUSH, &mut task).await.is_ok() {
        return true;
    }
    task.abort();
    // Aborted, it lets go of what it holds.
    let _ = task.await;
    false
}

/// Resolves once nothing waits to be saved.
async fn saved(outbox: &Outbox) {
    while !outbox.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a reload does besides: gates are loaded, names are asked for, and the access log is opened
/// anew.
fn preparing(lasting: &Lasting, resolver: &Arc<Resolver>) -> Prepare {
    let (gates, resolver) = (Arc::clone(&lasting.gates), Arc::clone(resolver));
    let (runtime, access_log) =
        (lasting.control_runtime.handle().clone(), lasting.access_log.clone());
    Arc::new(move |config: &Config| {
        gates.prepare(config)?;
        if let Some(log) = &access_log {
            log.reopen();
        }
        // A name that is in use keeps its addresses: DNS that is down is no reason to refuse it.
        runtime.block_on(check_names(config, |name| resolver.knows(name)))
    })
}
