//! The only composition root: builds every part from a configuration, one function per subsystem,
//! and takes them down in the right order.
//!
//! Three runtimes, so that none can starve another: the proxy's, the control side's (writer, store,
//! probes, admin API), and the gates' own.

mod admin;
mod check;
pub mod demo;
mod error;
mod names;
mod serve;
mod storage;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::{
    AskGates, Gates, Handle, Message, Outbox, Prepare, Recovered, Watchdog, Writer,
};
use crate::core::model::ListenerName;
use crate::core::rollout::TelemetryView;
use crate::core::routing::RoutingTable;
use crate::probe::Prober;
use crate::proxy::{self, AccessLog, ProxyParts, RunningProxy};
use crate::resolve::Resolver;
use crate::telemetry::{Recorder, Windows};

use admin::{AdminPart, BoundAdmin};
use names::check_names;
use storage::{Storage, cache_path};

pub use check::check_config;
pub use error::AppError;
pub use serve::serve;
pub use verify::verify_ledger;

/// A running Tidegate.
#[derive(Debug)]
pub struct App {
    handle: Handle,
    listeners: Vec<ListenerName>,
    proxy: RunningProxy,
    prober: Arc<Prober>,
    gates: Arc<Gates>,
    outbox: Outbox,
    admin: Option<AdminPart>,
    inbox: mpsc::Sender<Message>,
    proxy_runtime: Runtime,
    control_runtime: Runtime,
    /// Always there until the end.
    writer: Option<JoinHandle<()>>,
    resolver: Arc<Resolver>,
    /// `None` if no request is logged.
    access_log: Option<AccessLog>,
}

/// How long requests in flight may take to finish when the process ends.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the store may take to save what waits when the process ends.
const FLUSH: Duration = Duration::from_secs(5);

impl App {
    /// Starts everything. Traffic flows when this returns.
    ///
    /// # Errors
    /// What could not be built; nothing is left running then.
    pub fn start(config: Config, file: Option<PathBuf>) -> Result<Self, AppError> {
        let config = Arc::new(config);
        let clock = Clock::start();
        let proxy_runtime = runtime("proxy", workers())?;
        let control_runtime = runtime("control", 2)?;
        let bound = proxy::bind(&config.listeners)?;
        let admin = BoundAdmin::bind(&config, &control_runtime)?;
        let recorder = Arc::new(Recorder::default());
        let windows = Arc::new(Windows::default());
        let access_log = access_log(&config, &recorder, clock)?;
        let gates = gates(&config, clock, &windows)?;
        let opened = control_runtime.block_on(Storage::open(&config.store))?;
        let table = Arc::new(ArcSwap::from_pointee(RoutingTable::default()));
        let prober = Arc::new(Prober::start(control_runtime.handle().clone()));
        let resolver = Arc::new(Resolver::start(control_runtime.handle().clone()));
        let (inbox, messages) = mpsc::channel(Writer::INBOX);
        let outbox = opened.outbox();
        let table_writer = opened.table_writer(&control_runtime);
        let watchdog = Watchdog::new(clock);
        let recovered = Recovered {
            config: Arc::clone(&config),
            file,
            clock,
            stored: opened.stored,
            store: opened.store.clone(),
            served: opened.served,
            table: Arc::clone(&table),
            recorder: Arc::clone(&recorder),
            windows,
            prober: Arc::clone(&prober),
            table_writer,
            gates: Arc::clone(&gates) as Arc<dyn AskGates>,
            prepare: preparing(&gates, &resolver, control_runtime.handle(), access_log.as_ref()),
            resolver: Arc::clone(&resolver),
        };
        let channel = (inbox.clone(), messages);
        let (mut writer, handle) =
            recovered.into_writer(outbox.clone(), watchdog.clone(), channel)?;
        control_runtime.block_on(writer.hear_names());
        if let Some(store) = opened.store {
            control_runtime.spawn(outbox.clone().run(store, inbox.clone()));
        }
        let writer = Some(control_runtime.spawn(writer.run()));
        proxy_runtime.spawn(watchdog.run());
        let parts = ProxyParts { table, recorder, clock, access_log: access_log.clone() };
        let proxy = {
            let _inside = proxy_runtime.enter();
            proxy::start(&parts, bound)
        };
        let admin = admin.serve(&config, &handle, clock, &control_runtime)?;
        Ok(Self {
            handle,
            listeners: config.listeners.iter().map(|spec| spec.name.clone()).collect(),
            proxy,
            prober,
            gates,
            outbox,
            admin: Some(admin),
            inbox,
            proxy_runtime,
            control_runtime,
            writer,
            resolver,
            access_log,
        })
    }

    /// The way to the writer.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where a listener listens; `None` if there is no such listener.
    #[must_use]
    pub fn address(&self, listener: &ListenerName) -> Option<SocketAddr> {
        self.proxy.address(listener)
    }

    /// Every listener with the address where it listens.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerName, SocketAddr)> + '_ {
        self.listeners.iter().filter_map(|name| Some((name.clone(), self.address(name)?)))
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// The file with the token that the first start made.
    #[must_use]
    pub fn admin_token_file(&self) -> Option<&std::path::Path> {
        self.admin.as_ref().map(|admin| admin.token.as_path())
    }

    /// Opens the access log's file anew, after a rotation.
    pub fn reopen_access_log(&self) {
        match &self.access_log {
            Some(log) => log.reopen(),
            None => tracing::info!("there is no access log to open anew"),
        }
    }

    /// Ends everything: listeners first, the store last. Blocks until it is done.
    pub fn shutdown(mut self) {
        let cut = self.proxy_runtime.block_on(self.proxy.shutdown(DRAIN));
        if cut > 0 {
            tracing::warn!(cut, "requests were cut at the end of the drain");
        }
        if let Some(admin) = self.admin.take() {
            self.control_runtime.block_on(admin.shutdown());
        }
        let writer = self.writer.take();
        if let Some(log) = &self.access_log {
            log.close();
        }
        self.control_runtime.block_on(async {
            let (done, stopped) = oneshot::channel();
            if self.inbox.send(Message::Shutdown(done)).await.is_ok() {
                // A writer that is gone has stopped, too.
                let _ = stopped.await;
            }
            if let Some(writer) = writer
                && let Err(error) = writer.await
            {
                tracing::error!(%error, "the writer had failed: nothing was decided since");
            }
            self.prober.shutdown().await;
            self.resolver.shutdown().await;
            let flushed = async {
                while !self.outbox.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            if tokio::time::timeout(FLUSH, flushed).await.is_err() {
                tracing::error!("the store did not save everything before the end");
            }
        });
        self.gates.shutdown();
        self.control_runtime.shutdown_timeout(FLUSH);
        self.proxy_runtime.shutdown_timeout(FLUSH);
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

fn gates(config: &Config, clock: Clock, windows: &Arc<Windows>) -> Result<Arc<Gates>, AppError> {
    let telemetry = Arc::clone(windows) as Arc<dyn TelemetryView>;
    let gates = Arc::new(Gates::new(clock, telemetry, cache_path(&config.store)));
    gates.prepare(config).map_err(AppError::Gates)?;
    Ok(gates)
}

fn access_log(
    config: &Config,
    recorder: &Arc<Recorder>,
    clock: Clock,
) -> Result<Option<AccessLog>, AppError> {
    let Some(spec) = &config.access_log else { return Ok(None) };
    let log = AccessLog::start(spec, Arc::clone(recorder), clock);
    log.map(Some).map_err(|error| AppError::AccessLog { path: spec.path.clone(), error })
}

/// What a reload does besides: gates are loaded, names are asked for, and the access log is opened
/// anew.
fn preparing(
    gates: &Arc<Gates>,
    resolver: &Arc<Resolver>,
    runtime: &tokio::runtime::Handle,
    access_log: Option<&AccessLog>,
) -> Prepare {
    let (gates, resolver, runtime) = (Arc::clone(gates), Arc::clone(resolver), runtime.clone());
    let access_log = access_log.cloned();
    Arc::new(move |config: &Config| {
        gates.prepare(config)?;
        if let Some(log) = &access_log {
            log.reopen();
        }
        // A name that is in use keeps its addresses: DNS that is down is no reason to refuse it.
        runtime.block_on(check_names(config, |name| resolver.knows(name)))
    })
}
