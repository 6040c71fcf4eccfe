//! The only composition root: builds every part from a configuration, one function per subsystem,
//! and takes them down in the right order.
//!
//! Three runtimes, so that none can starve another: the proxy's, the control side's (writer, store,
//! probes, admin API), and the gates' own.

mod addresses;
mod admin;
mod check;
mod control;
pub mod demo;
mod error;
mod handover;
mod memory;
mod names;
mod parts;
mod revival;
mod serve;
mod storage;
mod trial;
mod upgrade;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::control::Handle;
use crate::core::model::ListenerName;
use crate::proxy::{self, RunningProxy};
use crate::telemetry::Log;

use addresses::placed;
use admin::AdminSockets;
use control::{Claim, ControlPart, Lasting};
use parts::Parts;
use upgrade::Door;

pub use crate::gate::{GateCalls, compile_gate};
pub use addresses::{TriedAddresses, try_addresses};
pub use check::check_config;
pub use error::AppError;
pub use serve::{Beginning, serve};
pub use trial::{Retrial, RetriedCall, Trial, TriedCase, try_gate, try_gate_again};
pub use upgrade::{UpgradeError, UpgradeOptions, Upgraded, upgrade};
pub use verify::verify_ledger;

/// A running Tidegate.
#[derive(Debug)]
pub struct App {
    /// The configuration of the start, or the one in force when the control side was stopped last.
    config: Arc<Config>,
    proxy: RunningProxy,
    /// `None` while none can be had, as after an upgrade that failed so badly that the store could
    /// not be had back: the proxy serves its last table, and it is tried again.
    control: Option<ControlPart>,
    /// `None` where nobody can take over.
    door: Option<Door>,
    lasting: Lasting,
}

/// How long a runtime may take to end.
const LAST_MOMENT: Duration = Duration::from_secs(5);

impl App {
    /// Starts everything. Traffic flows when this returns.
    ///
    /// # Errors
    /// What could not be built; nothing is left running then.
    pub fn start(config: Config, file: Option<PathBuf>) -> Result<Self, AppError> {
        Self::start_with(config, file, None)
    }

    /// The same for a process with a log of its own.
    fn start_with(
        config: Config,
        file: Option<PathBuf>,
        log: Option<Log>,
    ) -> Result<Self, AppError> {
        let mut parts = Parts::new(config, file, log)?;
        let bound = proxy::bind(&parts.config.listeners);
        let bound = bound.map_err(|error| placed(&parts.config, error))?;
        let admin = AdminSockets::bind(&parts.config, None, None)?;
        let gates = parts.gates()?;
        parts.serve(bound, admin, gates, Claim::Free, &[])
    }

    /// The way to the writer; `None` while there is none, after an upgrade that failed badly.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.control.as_ref().map(|control| &control.handle)
    }

    /// Where a listener listens; `None` if there is no such listener.
    #[must_use]
    pub fn address(&self, listener: &ListenerName) -> Option<SocketAddr> {
        self.proxy.address(listener)
    }

    /// Every listener with the address where it listens.
    pub fn listeners(&self) -> impl Iterator<Item = (ListenerName, SocketAddr)> + '_ {
        let names = self.config.listeners.iter().map(|spec| spec.name.clone());
        names.filter_map(|name| self.address(&name).map(|address| (name, address)))
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control.as_ref().map(|control| control.admin.address)
    }

    /// The file with the token that the first start made.
    #[must_use]
    pub fn admin_token_file(&self) -> Option<&std::path::Path> {
        self.control.as_ref().map(|control| control.admin.token.as_path())
    }

    /// Has the access log opened anew, after its file was renamed.
    pub(super) fn reopen_access_log(&self) {
        if let Some(log) = &self.lasting.access_log {
            log.reopen();
        }
    }

    /// Ends everything: listeners first, the store last. Blocks until it is done.
    pub fn shutdown(self) {
        let Self { config, proxy, control, door, lasting } = self;
        if let Some(door) = door {
            door.remove();
        }
        let drain = Duration::from(config.shutdown.drain);
        let cut = lasting.proxy_runtime.block_on(proxy.shutdown(drain));
        if cut > 0 {
            tracing::warn!(cut, "requests were cut at the end of the drain");
        }
        if let Some(control) = control {
            control.stop(&lasting);
        }
        if let Some(log) = &lasting.access_log {
            log.close();
        }
        lasting.gates.shutdown();
        lasting.control_runtime.shutdown_timeout(LAST_MOMENT);
        lasting.proxy_runtime.shutdown_timeout(LAST_MOMENT);
    }
}
