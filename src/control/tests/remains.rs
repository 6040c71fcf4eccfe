//! What a writer leaves to its next life, in the same process or in another one.

use tokio::sync::mpsc;

use super::*;
use crate::probe::Prober;
use crate::promql::Asker;
use crate::resolve::Resolver;
use crate::store::{EvidenceFolder, Snapshot};
use crate::telemetry::Windows;

/// What stands in for a component: nobody runs it here.
pub(super) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The folder in which evidence is kept, if a test has made it.
pub(super) const EVIDENCE: &str = "evidence";

/// What outlives a process.
pub(super) struct Remains {
    pub(super) store: Arc<Faulty<MemoryStore>>,
    /// What the table file holds; `None` without one.
    pub(super) served: Option<TableImage>,
    pub(super) folder: TempDir,
    pub(super) draws: AtomicU64,
    pub(super) process: Process,
}

/// What outlives a control side, and ends with its process.
pub(super) struct Process {
    pub(super) clock: Clock,
    pub(super) table: Arc<ArcSwap<RoutingTable>>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) kept: Arc<tokio::sync::Mutex<Kept>>,
}

impl Process {
    pub(super) fn new() -> Self {
        let (table, recorder, kept) = (Arc::default(), Arc::default(), Arc::default());
        Self { clock: Clock::start(), table, recorder, kept }
    }
}

impl Remains {
    pub(super) fn none() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("probe.wasm"), COMPONENT).unwrap();
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        let (draws, process) = (AtomicU64::new(1), Process::new());
        Self { store, served: None, folder, draws, process }
    }

    pub(super) async fn start(self, config: &str) -> Rig {
        self.try_start(config).await.expect("what is stored fits the configuration")
    }

    pub(super) async fn try_start(self, config: &str) -> Result<Rig, RecoverError> {
        let stored = self.store.inner().load().await.map_err(|error| error.to_string());
        self.start_with(config, stored)
    }

    /// Starts where the store cannot be read.
    pub(super) fn start_unreadable(self, config: &str) -> Result<Rig, RecoverError> {
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
        let path = folder.path().join(EVIDENCE);
        let (evidence, evidence_task) = if path.is_dir() {
            let logs = EvidenceFolder::new(path);
            let (evidence, orders) = EvidenceWriter::new(logs.clone());
            (evidence, Some(tokio::spawn(EvidenceWriter::run(logs, orders))))
        } else {
            (EvidenceWriter::none(), None)
        };
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
            asker: Arc::new(Asker::start(tokio::runtime::Handle::current())),
            evidence,
            uploads: None,
        };
        let watchdog = Watchdog::new(clock);
        let channel = (inbox.clone(), messages);
        let (writer, handle) = recovered.into_writer(outbox.clone(), watchdog, channel)?;
        let saver = tokio::spawn(outbox.clone().run(shared, inbox));
        let tasks = [saver, tokio::spawn(writer.run())];
        Ok(Rig {
            store,
            handle,
            table,
            gates,
            clock,
            images,
            folder,
            draws,
            outbox,
            tasks,
            kept,
            evidence_task,
        })
    }
}
