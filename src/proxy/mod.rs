//! The data plane: accepts requests, chooses side and target, forwards, answers, counts.
//!
//! It reads the routing table, once per request, and counts outcomes; it decides no rollout and
//! writes no state. Pingora does the HTTP, embedded on the caller's runtime with listening
//! sockets that are bound here: one stock service per listener, each with a table of descriptors
//! of its own (two services that share one abort the process) and a connection pool of its own.
//!
//! The layers of a connection, from the outside:
//!
//! - `edge`: counts connections, so that a shutdown can wait for them and cut what is left;
//! - `deadline`: bounds the time of a request's whole header;
//! - `phases`: Pingora's hooks, which admit (`admission`), choose (`selection`), forward
//!   (`forward`), try again (`attempt`), answer (`answer`) and score (`score`).
//!
//! A client that closes its sending half keeps waiting for the answer, which a target goes on
//! working for. To drop the request instead would hide a green so slow that its users give up:
//! their requests would never be scored.

mod admission;
mod answer;
mod attempt;
mod cookie;
mod deadline;
mod drain;
mod edge;
mod forward;
mod inherit;
mod limits;
mod listener;
mod phases;
mod running;
mod score;
mod selection;
#[cfg(test)]
mod testkit;

pub use cookie::CohortId;
pub use inherit::bind_or_inherit;
pub use limits::Limits;
pub use listener::{BoundListener, ProxyError, bind};
pub use running::{ProxyParts, RunningProxy, start};
pub use selection::{AssignedBy, Draws, Question, Selection, Unrouted};
