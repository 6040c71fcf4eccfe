//! The loaded gates, by the name they are used by and the digest of their component.
//!
//! A rollout keeps asking the component that it was created with, so an older digest stays beside
//! a newer one until it is unloaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::bindings::GatePre;
use super::compiler::CompileError;
use super::component_file;
use super::engine::LARGEST_MEMORY;
use super::imports::CallData;
use super::params::ParamsSchema;
use super::runtime::Guests;
use super::words;
use crate::core::model::{GateGrants, GateLimits, GateName, GateSpec, ParamsText, Sha256, Span};
use crate::core::rollout::GateErrorKind;

/// The reason why a gate cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The host did not start.
    #[error("the gate host does not start: {text}")]
    Start {
        /// In wasmtime's or the system's words.
        text: String,
    },
    /// The host gave the work up.
    #[error("the gate host gave up: it is shutting down, or ran into a fault of its own")]
    Stopped,
    /// The limits that the gate was given are themselves out of bounds.
    #[error("{what} is {found}, it must be above 0 and at most {limit}")]
    Limits {
        /// Which limit.
        what: &'static str,
        /// What was asked for.
        found: String,
        /// The most that can be had.
        limit: String,
    },
    /// Too many gates are loaded.
    #[error("at most {limit} gates can be loaded")]
    TooMany {
        /// The most.
        limit: usize,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest permitted size in bytes.
        limit: u64,
    },
    /// The file is another one than was pinned.
    #[error("{} has the digest {found}, expected is {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// What it must hash to.
        expected: Sha256,
        /// What it hashes to.
        found: Sha256,
    },
    /// The file is something else.
    #[error("{} is not a WebAssembly file", path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// The file is a core module.
    #[error("{} is a core module, not a component: wrap it first", path.display())]
    CoreModule {
        /// The file.
        path: PathBuf,
    },
    /// The file has an unknown binary version.
    #[error("{} has the unknown WebAssembly version {found:?}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version field.
        found: [u8; 4],
    },
    /// The file ends within its header.
    #[error("{} is cut off", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// The component is damaged or uses what gates may not use.
    #[error("the component is not valid: {text}")]
    Invalid {
        /// In wasmtime's words.
        text: String,
    },
    /// The component does not keep to the contract.
    #[error("the component does not keep to the contract: {}", problems.join("; "))]
    Contract {
        /// Everything found.
        problems: Vec<String>,
    },
    /// The component could not describe itself.
    #[error("`describe` came to a {}: {text}", kind.as_str())]
    Describe {
        /// What went wrong.
        kind: GateErrorKind,
        /// In words.
        text: String,
    },
    /// The schema of the parameters cannot be used.
    #[error("the schema of the parameters: {text}")]
    Schema {
        /// Why.
        text: String,
    },
    /// The component is not loaded.
    #[error("no gate with the digest {digest} is loaded")]
    NotLoaded {
        /// The digest asked for.
        digest: Sha256,
    },
    /// The parameters do not fit the schema.
    #[error("parameters: {}", violations.join("; "))]
    Params {
        /// Every violation with its place.
        violations: Vec<String>,
    },
    /// There is no native code of it.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Too many others wait.
    #[error("{waiting} gates are being loaded already, try again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
}

/// A gate that is ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedGate {
    /// The name it is used by.
    pub name: GateName,
    /// What the component calls itself.
    pub title: String,
    /// The component's own version.
    pub version: String,
    /// The component's digest.
    pub digest: Sha256,
    /// The JSON Schema of its parameters.
    pub params_schema: String,
}

/// A component with all that its calls need.
pub(super) struct Gate {
    pub(super) loaded: LoadedGate,
    pub(super) limits: GateLimits,
    pub(super) component: GatePre<CallData>,
    pub(super) schema: ParamsSchema,
    pub(super) grants: Arc<GateGrants>,
    /// One for each call of the gate that may run at the same time.
    pub(super) places: Semaphore,
}

impl Gate {
    /// The longest deadline that a gate may be given.
    pub(super) const LONGEST_DEADLINE: Span = GateLimits::LONGEST_DEADLINE;

    /// Makes a gate of a file; has it compiled if it never was, and asks the component once for its
    /// description.
    pub(super) async fn load(
        guests: &Guests,
        spec: &GateSpec,
        path: PathBuf,
    ) -> Result<Self, GateError> {
        check_limits(spec.limits)?;
        let bytes = component_file::read(&path, spec.sha256)?;
        let component = guests.compiler.link(&guests.engine, &bytes, &spec.grants)?;
        let described = guests
            .describe(&spec.name, &component, spec.limits)
            .await
            .map_err(|(kind, text)| GateError::Describe { kind, text })?;
        let schema = ParamsSchema::compile(&described.params_schema)?;
        let loaded = LoadedGate {
            name: spec.name.clone(),
            title: words::clean(&described.name),
            version: words::clean(&described.version),
            digest: spec.sha256,
            params_schema: described.params_schema,
        };
        let grants = Arc::new(spec.grants.clone());
        let places = Semaphore::new(places(spec.limits));
        Ok(Self { loaded, limits: spec.limits, component, schema, grants, places })
    }
}

/// At least one: without a place no call would ever come to its end.
fn places(limits: GateLimits) -> usize {
    usize::try_from(limits.concurrent_calls.max(1)).unwrap_or(Semaphore::MAX_PERMITS)
}

fn check_limits(limits: GateLimits) -> Result<(), GateError> {
    let GateLimits { deadline, memory_bytes, .. } = limits;
    if deadline == Span::ZERO || deadline > Gate::LONGEST_DEADLINE {
        return Err(GateError::Limits {
            what: "the deadline",
            found: deadline.to_string(),
            limit: Gate::LONGEST_DEADLINE.to_string(),
        });
    }
    if memory_bytes == 0 || memory_bytes > LARGEST_MEMORY as u64 {
        return Err(GateError::Limits {
            what: "the memory",
            found: format!("{memory_bytes} bytes"),
            limit: format!("{LARGEST_MEMORY} bytes"),
        });
    }
    Ok(())
}

/// The gates of a host.
#[derive(Default)]
pub(super) struct Registry {
    gates: Mutex<BTreeMap<(GateName, Sha256), Arc<Gate>>>,
}

impl Registry {
    /// The most gates that are loaded at once, older digests included.
    const LIMIT: usize = 256;

    /// Takes a gate in; the same digest under the same name is replaced, with its limits.
    pub(super) fn insert(&self, gate: Gate) -> Result<LoadedGate, GateError> {
        let loaded = gate.loaded.clone();
        let key = (loaded.name.clone(), loaded.digest);
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if !gates.contains_key(&key) && gates.len() >= Self::LIMIT {
            return Err(GateError::TooMany { limit: Self::LIMIT });
        }
        gates.insert(key, Arc::new(gate));
        Ok(loaded)
    }

    /// The gate that a call is for.
    pub(super) fn find(&self, name: &GateName, digest: Sha256) -> Option<Arc<Gate>> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.get(&(name.clone(), digest)).cloned()
    }

    /// Lets go of a gate; calls under way finish.
    pub(super) fn remove(&self, name: &GateName, digest: Sha256) -> bool {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.remove(&(name.clone(), digest)).is_some()
    }

    /// Checks parameters against the schema of a component, under whatever name it is loaded.
    pub(super) fn check_params(
        &self,
        digest: Sha256,
        params: &ParamsText,
    ) -> Result<(), GateError> {
        let gate = {
            let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.values().find(|gate| gate.loaded.digest == digest).cloned()
        };
        gate.ok_or(GateError::NotLoaded { digest })?.schema.check(params)
    }

    /// Every gate, by name and digest.
    pub(super) fn list(&self) -> Vec<LoadedGate> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.values().map(|gate| gate.loaded.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_had_are_refused_by_name() {
        let check = |deadline, memory_bytes, expected: Option<&str>| {
            let limits = GateLimits { deadline, memory_bytes, ..GateLimits::default() };
            let found = check_limits(limits).err();
            match (found.map(|error| error.to_string()), expected) {
                (None, None) => {}
                (Some(text), Some(word)) => assert!(text.contains(word), "{text}"),
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        };
        check(Span::from_ms(50), 16 << 20, None);
        check(Span::from_secs(10), 64 << 20, None);
        check(Span::ZERO, 16 << 20, Some("deadline"));
        check(Span::from_ms(10_001), 16 << 20, Some("deadline"));
        check(Span::from_ms(50), 0, Some("memory"));
        check(Span::from_ms(50), (64 << 20) + 1, Some("memory"));
    }
}
