//! The host of gates: components that teams write, run where they can do no harm.
//!
//! Everything in here is arranged so that a gate may be wrong, slow or hostile, and all that comes
//! of it is a [`GateAnswer::Error`](crate::core::rollout::GateAnswer::Error):
//!
//! - A component is pinned by its SHA-256 and may import nothing but the interfaces in `wit/`; of
//!   these a clock, chance and HTTP only where the configuration grants them. Who is granted HTTP may
//!   have it by `wasi:http` as well, and nothing else of WASI.
//! - Every call gets a fresh instance with limits on time, memory, log, answers and calls into the
//!   host. What a gate wants beyond them ends the call with an error of its own kind.
//! - A gate that fails again and again is not asked for a while.
//! - Guests run on a thread of their own. A caller never waits: [`GateHost::ask`] puts the
//!   question into a bounded queue and the answer comes as a call back.
//! - Texts from a guest are cut and cleaned before anything else sees them.
//!
//! - Components are compiled by another process, which has limits of its own; in this one there is
//!   no compiler.
//!
//! What this module does not do: it obeys no verdict, keeps no rollout, and never touches traffic.

mod bindings;
mod breaker;
mod call;
mod calls;
mod capabilities;
mod compiler;
mod component_file;
mod contract;
mod engine;
mod fetch;
mod host;
mod imports;
mod library;
mod limiter;
mod network;
mod outside;
mod params;
mod private_folder;
mod recording;
mod records;
mod registry;
mod requests;
mod runtime;
mod signature;
mod state;
mod wasi;
mod words;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod both_ways;
#[cfg(test)]
mod committed;
#[cfg(test)]
mod granted;
#[cfg(test)]
pub(crate) mod guest;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod malice;
#[cfg(test)]
mod wasi_guest;

pub use calls::{GateCalls, WrittenCall};
pub use compiler::{CompileError, compile_gate};
pub use component_file::read as read_component;
pub use host::{GateHost, GateHostParts};
pub use library::{GateIndex, GateVersion, GateVersions, Library};
pub use network::Network;
pub use outside::{CallCost, FetchError, Fetching, IncomingResponse, OutgoingRequest, Outside};
pub use records::{GATE_TIMES_US, GateRecord};
pub use registry::{GateError, LoadedGate};
pub use signature::{SIGNATURE_BYTES, signer};
pub use state::{KeptState, MemoryState};
