//! The pure core: what is decided, never what is done.
//!
//! No sockets, files, clocks, randomness or logging in here: time and chance are arguments, and
//! every function gives the same answer to the same question.

pub mod analysis;
pub mod health;
pub mod ledger;
pub mod model;
pub mod rollout;
pub mod routing;
pub mod simulation;
