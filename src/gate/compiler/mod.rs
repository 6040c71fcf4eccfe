//! Makes native code of components, in a process of its own.
//!
//! A component of less than a megabyte can hold a compiler for minutes and take gigabytes, and an
//! allocation that fails aborts the process. So the proxy never compiles: it starts its own binary
//! again ([`child`]), which gives itself limits, compiles, leaves the native code in a folder and
//! ends. What is left there is moved into the cache ([`artefacts`]), from where alone it is loaded.
//!
//! wasmtime's way to load native code is `unsafe` with one exception: its own cache, which
//! `Component::new` asks first. The engine that runs guests has that cache and no compiler, so
//! what is not in the cache is an error. The cache names its entries by a digest of the component
//! and of the engine's settings, and an engine without a compiler has one setting less: hence
//! [`artefacts::key`], and the new name that an entry gets on its way into the cache.

mod artefacts;
mod child;
mod job;
mod limits;

#[cfg(test)]
mod bombs;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::{Cache, Engine};

use self::artefacts::Artefacts;
use self::job::Job;
use super::bindings::GatePre;
use super::imports::CallData;
use super::{GateError, contract, engine};
use crate::clock::Clock;
use crate::core::model::{GateGrants, Span};

pub use self::child::compile_gate;
pub(super) use self::limits::CompileLimits;

/// The reason why there is no native code of a component.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It took too much memory.
    #[error("compiling the component takes more than {limit} bytes of memory")]
    Memory {
        /// What it may take.
        limit: u64,
    },
    /// It took too much of the processor.
    #[error("compiling the component takes more than {limit} of processor time")]
    Processor {
        /// What it may take.
        limit: Span,
    },
    /// It took too long.
    #[error("compiling the component takes longer than {limit}")]
    Time {
        /// How long it may take.
        limit: Span,
    },
    /// Too much came of it.
    #[error("the native code of the component is larger than {limit} bytes")]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
    /// The compiler ended in another way.
    #[error("the compiler did not come to an end with this component: {text}")]
    Crashed {
        /// How it ended, and what it said.
        text: String,
    },
    /// The compiler could not be started, or what it made could not be kept.
    #[error("the component cannot be compiled here: {text}")]
    Host {
        /// Why.
        text: String,
    },
    /// The host ends.
    #[error("the component is not compiled any more: the gate host is shutting down")]
    Stopped,
}

/// Turns components into code, out of the cache or by another process.
pub(super) struct Compiler {
    artefacts: Artefacts,
    cache: Cache,
    limits: CompileLimits,
    clock: Clock,
    stopped: Arc<AtomicBool>,
    compiled: AtomicU64,
}

/// Ends a compilation under way when it is dropped.
pub(super) struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Compiler {
    /// Opens the cache in a folder of our own; `None` makes one that lasts as long as this does.
    pub(super) fn open(
        cache: Option<&Path>,
        limits: CompileLimits,
        clock: Clock,
    ) -> Result<(Self, Stop), GateError> {
        let artefacts = Artefacts::open(cache)
            .map_err(|error| GateError::Start { text: format!("the cache of gates: {error}") })?;
        let cache = engine::cache(artefacts.root())
            .map_err(|error| GateError::Start { text: format!("{error:#}") })?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Stop(Arc::clone(&stopped));
        let compiled = AtomicU64::new(0);
        Ok((Self { artefacts, cache, limits, clock, stopped, compiled }, stop))
    }

    /// The cache that the engine must be given.
    pub(super) fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// How often another process was started to compile.
    pub(super) fn compiled(&self) -> u64 {
        self.compiled.load(Ordering::Relaxed)
    }

    /// Links a component to what was granted, compiled now if it never was. Blocks.
    pub(super) fn link(
        &self,
        engine: &Engine,
        bytes: &[u8],
        grants: &GateGrants,
    ) -> Result<GatePre<CallData>, GateError> {
        let key = artefacts::key(engine, bytes);
        if self.artefacts.has(&key) {
            if let Some(linked) = self.linked(engine, bytes, grants) {
                return linked;
            }
            // Made for another processor, or by another build.
            self.artefacts.forget(&key);
        }
        self.compile(&key, bytes)?;
        self.linked(engine, bytes, grants).unwrap_or_else(|| {
            let text = "what the compiler made does not fit this process".to_owned();
            Err(CompileError::Host { text }.into())
        })
    }

    /// Links what is in the cache; `None` if it is not there, or is of no use to this engine.
    fn linked(
        &self,
        engine: &Engine,
        bytes: &[u8],
        grants: &GateGrants,
    ) -> Option<Result<GatePre<CallData>, GateError>> {
        // One load at a time: a hit that is counted meanwhile is this one's.
        let before = self.cache.cache_hits();
        let linked = contract::link(engine, bytes, grants);
        (self.cache.cache_hits() > before).then_some(linked)
    }

    fn compile(&self, key: &str, bytes: &[u8]) -> Result<(), GateError> {
        let host = |error: std::io::Error| CompileError::Host { text: error.to_string() };
        let staging = self.artefacts.stage().map_err(host)?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let job = Job {
            folder: staging.folder(),
            limits: self.limits,
            clock: self.clock,
            stopped: &self.stopped,
        };
        job.run(bytes)?;
        self.artefacts.keep(key, &staging).map_err(host)?;
        Ok(())
    }
}
