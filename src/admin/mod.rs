//! The admin API: HTTP for deploy tools, people and the command line.
//!
//! A request passes, from the outside in: the deadline, the check of its `Host`, the token
//! ([`TokenFile`]), the permission of its route ([`Role`]), then the route itself, which reads
//! the request into types of `core`, asks the single writer through its [`Handle`], and tells the
//! answer. Reads look at the writer's last view and never queue behind it. Nothing here decides
//! anything about a rollout, and nothing here touches the store.
//!
//! Every answer that is not a success is problem+json, 404 and 405 too. The routes are one table
//! (`routes.rs`), which a test compares with the OpenAPI document.
//!
//! Browsers are kept out: no CORS, every change needs a header that a foreign page cannot send,
//! and a `Host` that is not ours is refused (DNS rebinding).

mod alarm_hooks;
mod alarms;
mod auth;
mod body;
mod condition;
mod envelope;
mod evidence;
mod evidence_body;
mod explain;
mod gate_calls;
mod gates;
mod health;
mod hosts;
mod idempotency;
pub mod json;
mod kept_file;
mod ledger;
mod metrics;
mod openapi;
mod paging;
mod problem;
mod reload;
mod role;
mod rollouts;
mod routes;
mod server;
mod services;
mod targets;
mod throttle;
mod token;
mod verbs;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::control::Handle;

pub use openapi::document;
pub use role::{Permission, Role};
pub use server::{AdminServer, BindError};
pub use token::{StoredToken, TokenError, TokenFile, TokenPaths};

use hosts::Hosts;
use throttle::Throttle;

/// What every request needs.
#[derive(Debug)]
pub struct AdminState {
    handle: Handle,
    tokens: TokenFile,
    throttle: Throttle,
    hosts: Hosts,
    clock: Clock,
    /// Places for components that are uploaded.
    uploads: Arc<Semaphore>,
}

impl AdminState {
    /// The most components that are read, or looked at, at a time: each may take 32 MiB.
    const UPLOADS: usize = 2;

    /// The state of an API that listens on an address.
    #[must_use]
    pub fn new(handle: Handle, tokens: TokenFile, clock: Clock, address: SocketAddr) -> Self {
        let hosts = Hosts::of(address);
        let uploads = Arc::new(Semaphore::new(Self::UPLOADS));
        Self { handle, tokens, throttle: Throttle::default(), hosts, clock, uploads }
    }
}
