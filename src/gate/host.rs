//! The handle on the host of gates.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::GateError;
use super::compiler::{CompileLimits, Compiler, Stop};
use super::engine;
use super::imports::Views;
use super::outside::Outside;
use super::records::{GateRecord, Records};
use super::registry::{Gate, LoadedGate, Registry};
use super::runtime::{Guests, Job, Runtime};
use crate::clock::Clock;
use crate::core::model::{GateName, GateSpec, ParamsText, Sha256};
use crate::core::rollout::{
    GateAnswer, GateCall, GateEvidence, GateHearing, GateState, TelemetryView,
};

/// What the host is made of.
pub struct GateHostParts {
    /// Measures the deadlines of calls.
    pub clock: Clock,
    /// What gates may read of the telemetry.
    pub telemetry: Arc<dyn TelemetryView>,
    /// What gates keep from call to call.
    pub state: Arc<dyn GateState>,
    /// Where compiled components are kept, in a directory of our own that nobody else may write;
    /// it is made if it is missing. `None` keeps them for as long as the host is there.
    pub cache: Option<PathBuf>,
    /// The clock, chance and network of gates that were granted them.
    pub outside: Arc<dyn Outside>,
}

impl fmt::Debug for GateHostParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateHostParts").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Loads gates and asks them.
///
/// End it with [`Self::shutdown`], which waits; dropped, its threads end by themselves a moment
/// later.
pub struct GateHost {
    guests: Arc<Guests>,
    runtime: Runtime,
    ticker: JoinHandle<()>,
    compiling: Stop,
}

impl fmt::Debug for GateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateHost").field("gates", &self.list()).finish_non_exhaustive()
    }
}

impl GateHost {
    /// Starts the host's threads.
    ///
    /// # Errors
    /// No memory for the pool of instances, no threads, or a cache directory that cannot be used.
    pub fn start(parts: GateHostParts) -> Result<Self, GateError> {
        Self::start_within(parts, CompileLimits::default())
    }

    /// The same with other limits for what is compiled.
    pub(super) fn start_within(
        parts: GateHostParts,
        limits: CompileLimits,
    ) -> Result<Self, GateError> {
        let GateHostParts { clock, telemetry, state, cache, outside } = parts;
        let (compiler, compiling) = Compiler::open(cache.as_deref(), limits, clock)?;
        let engine = engine::running(compiler.cache())
            .map_err(|error| GateError::Start { text: format!("{error:#}") })?;
        let weak = engine.weak();
        let views = Views { telemetry, state, outside };
        let (registry, records) = (Registry::default(), Records::default());
        let guests = Arc::new(Guests { engine, clock, views, registry, compiler, records });
        let no_thread = |error: std::io::Error| GateError::Start { text: error.to_string() };
        let ticker = thread::Builder::new()
            .name("gate-ticker".to_owned())
            .spawn(move || engine::tick(&weak))
            .map_err(no_thread)?;
        let runtime = Runtime::start(guests.clone()).map_err(no_thread)?;
        Ok(Self { guests, runtime, ticker, compiling })
    }

    /// Loads a gate: reads its file, compares the digest, has it compiled if it is not in the cache,
    /// links it and lets it describe itself. Takes seconds for a large component that was never
    /// compiled, and waits for it.
    ///
    /// A relative path counts from `base`, the folder of the configuration file.
    ///
    /// # Errors
    /// Whatever is wrong with the file, the component, its description or its limits.
    pub fn load(&self, spec: &GateSpec, base: &Path) -> Result<LoadedGate, GateError> {
        let (guests, spec) = (self.guests.clone(), spec.clone());
        let path = base.join(&spec.component);
        self.runtime.run_blocking(move |handle| {
            let gate = handle.block_on(Gate::load(&guests, &spec, path))?;
            guests.registry.insert(gate)
        })?
    }

    /// Lets go of a gate; calls under way finish, later ones find it unavailable. Says whether it
    /// was loaded.
    pub fn unload(&self, name: &GateName, digest: Sha256) -> bool {
        self.guests.records.forget(name, digest);
        self.guests.registry.remove(name, digest)
    }

    /// What is remembered of the calls of each gate.
    #[must_use]
    pub fn records(&self) -> Vec<GateRecord> {
        self.guests.records.list()
    }

    /// Whether a component is left alone now, because it failed again and again.
    #[must_use]
    pub fn is_open(&self, name: &GateName, digest: Sha256) -> bool {
        self.guests.records.is_open(name, digest)
    }

    /// How many components were compiled, as opposed to found in the cache.
    #[must_use]
    pub fn compilations(&self) -> u64 {
        self.guests.compiler.compiled()
    }

    /// The gates that are loaded, by name and digest.
    #[must_use]
    pub fn list(&self) -> Vec<LoadedGate> {
        self.guests.registry.list()
    }

    /// Checks parameters against the schema of a loaded component.
    ///
    /// # Errors
    /// The component is not loaded, or the parameters do not fit; then every violation is listed
    /// with its place.
    pub fn check_params(&self, digest: Sha256, params: &ParamsText) -> Result<(), GateError> {
        self.guests.registry.check_params(digest, params)
    }

    /// Asks a gate; never blocks, and calls `reply` exactly once. `evidence` is what the
    /// comparison of the rollout says now; `None` if nothing is compared.
    ///
    /// `reply` runs on the gates' thread, or on the caller's before this returns if the question
    /// could not be queued. It must not block.
    pub fn ask(
        &self,
        call: GateCall,
        evidence: Option<GateEvidence>,
        reply: impl FnOnce(GateAnswer) + Send + 'static,
    ) {
        self.hear(call, evidence, move |answer, _| reply(answer));
    }

    /// The same, and gives what the gate was told besides; `None` if it was not asked.
    pub fn hear(
        &self,
        call: GateCall,
        evidence: Option<GateEvidence>,
        reply: impl FnOnce(GateAnswer, Option<Box<GateHearing>>) + Send + 'static,
    ) {
        self.runtime.submit(Job { call, evidence, reply: Box::new(reply) });
    }

    /// Ends the host: waiting questions are answered with an error, running ones come to their
    /// end, threads are joined. Blocks for as long as the longest deadline of a running call.
    pub fn shutdown(self) {
        let Self { guests, runtime, ticker, compiling } = self;
        // What is being compiled would be waited for otherwise.
        drop(compiling);
        runtime.shutdown();
        // The last reference to the engine: with it the ticker ends.
        drop(guests);
        if ticker.join().is_err() {
            tracing::error!("the thread of the gates' epoch panicked");
        }
    }
}
