//! What is built first, and needs neither an address nor the store.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock;
use crate::config::Config;
use crate::control::Gates;
use crate::core::rollout::TelemetryView;
use crate::core::routing::RoutingTable;
use crate::proxy::{self, AccessLog, BoundListener, ProxyParts};
use crate::telemetry::{Log, Recorder, Windows};

use super::admin::AdminSockets;
use super::control::{Claim, ControlPart, Lasting};
use super::memory::MemoryGuard;
use super::storage::{cache_path, uploads_path};
use super::upgrade::{KnownTarget, remember};
use super::{App, AppError};

/// Runtimes and counters, and what to serve.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    file: Option<PathBuf>,
    clock: Clock,
    recorder: Arc<Recorder>,
    windows: Arc<Windows>,
    proxy_runtime: Runtime,
    control_runtime: Runtime,
}

impl Parts {
    /// Starts the threads; the log is the process' own, `None` if nobody hears what it says.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn new(
        config: Config,
        file: Option<PathBuf>,
        log: Option<Log>,
    ) -> Result<Self, AppError> {
        Ok(Self {
            config: Arc::new(config),
            file,
            clock: Clock::start(),
            recorder: Arc::new(Recorder::beside(log)),
            windows: Arc::new(Windows::default()),
            proxy_runtime: runtime("proxy", workers())?,
            control_runtime: runtime("control", 2)?,
        })
    }

    /// Loads the gates, uploaded ones among them. Blocks.
    ///
    /// # Errors
    /// A gate cannot be used.
    pub(super) fn gates(&mut self) -> Result<Arc<Gates>, AppError> {
        let telemetry = Arc::clone(&self.windows) as Arc<dyn TelemetryView>;
        let gates = Gates::new(self.clock, telemetry, cache_path(&self.config.store));
        let uploads = uploads_path(&self.config.store);
        let gates = gates.with_uploads(uploads.as_deref()).map_err(AppError::Gates)?;
        let gates = Arc::new(gates);
        gates.merge(Arc::make_mut(&mut self.config)).map_err(AppError::Gates)?;
        gates.prepare(&self.config).map_err(AppError::Gates)?;
        Ok(gates)
    }

    /// Opens the access log; `None` if there is none.
    fn access_log(&self) -> Result<Option<AccessLog>, AppError> {
        let Some(spec) = &self.config.access_log else { return Ok(None) };
        let log = AccessLog::start(spec, Arc::clone(&self.recorder), self.clock);
        log.map(Some).map_err(|error| AppError::AccessLog { path: spec.path.clone(), error })
    }

    /// Opens the store, recovers, and serves on these sockets; what is known of targets already
    /// counts until they are checked. Blocks.
    ///
    /// # Errors
    /// What could not be built; nothing is left running then.
    pub(super) fn serve(
        self,
        bound: Vec<BoundListener>,
        admin: AdminSockets,
        gates: Arc<Gates>,
        claim: Claim,
        known: &[KnownTarget],
    ) -> Result<App, AppError> {
        let access_log = self.access_log()?;
        let limit = self.config.overload.memory_limit;
        let memory = MemoryGuard::start(Arc::clone(&self.recorder), limit, &self.control_runtime);
        let lasting = Lasting {
            file: self.file,
            clock: self.clock,
            table: Arc::new(ArcSwap::from_pointee(RoutingTable::default())),
            recorder: self.recorder,
            windows: self.windows,
            gates,
            admin,
            access_log,
            proxy_runtime: self.proxy_runtime,
            control_runtime: self.control_runtime,
            kept: Arc::default(),
            _memory: memory,
        };
        let control = ControlPart::start(&lasting, &self.config, claim)?;
        remember(&lasting.table.load(), known);
        let parts = ProxyParts {
            table: Arc::clone(&lasting.table),
            recorder: Arc::clone(&lasting.recorder),
            clock: lasting.clock,
            access_log: lasting.access_log.clone(),
        };
        let proxy = {
            let _inside = lasting.proxy_runtime.enter();
            proxy::start(&parts, bound)
        };
        Ok(App { config: self.config, proxy, control: Some(control), door: None, lasting })
    }
}

fn runtime(what: &'static str, threads: usize) -> Result<Runtime, AppError> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(what)
        .enable_all()
        .build()
        .map_err(|error| AppError::Runtime { what, error })
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
