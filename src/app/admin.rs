//! The admin API, and the metrics' own address, as parts of the running whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{AdminServer, AdminState, TokenFile, TokenPaths};
use crate::clock::Clock;
use crate::config::{Config, StoreSpec};
use crate::control::Handle;

use super::AppError;

/// The admin API's addresses, opened before anything is read or written: a start that cannot have
/// them changes nothing.
#[derive(Debug)]
pub(super) struct BoundAdmin {
    api: AdminServer,
    /// `None` where metrics have no address of their own.
    metrics: Option<AdminServer>,
}

/// A running admin API.
#[derive(Debug)]
pub(super) struct AdminPart {
    pub(super) address: SocketAddr,
    /// Where the first start left the plain token.
    pub(super) token: PathBuf,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl BoundAdmin {
    /// Opens the addresses.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub(super) fn bind(config: &Config, runtime: &Runtime) -> Result<Self, AppError> {
        let bind = |address, key| runtime.block_on(AdminServer::bind(address, key));
        let api = bind(config.admin.address, "admin.address")?;
        let metrics = config.admin.metrics_address;
        let metrics = metrics.map(|address| bind(address, "admin.metrics_address")).transpose()?;
        Ok(Self { api, metrics })
    }

    /// Serves.
    ///
    /// # Errors
    /// The tokens cannot be read or made.
    pub(super) fn serve(
        self,
        config: &Config,
        handle: &Handle,
        clock: Clock,
        runtime: &Runtime,
    ) -> Result<AdminPart, AppError> {
        let paths = token_paths(config);
        let tokens = TokenFile::open_or_create(&paths, clock.wall())?;
        let (stop, stopping) = watch::channel(false);
        let address = self.api.address();
        let state = Arc::new(AdminState::new(handle.clone(), tokens, clock, address));
        let mut tasks = vec![runtime.spawn(self.api.serve(state, stopped(stopping.clone())))];
        if let Some(server) = self.metrics {
            tasks.push(runtime.spawn(server.serve_metrics(handle.clone(), stopped(stopping))));
        }
        Ok(AdminPart { address, token: paths.plain, stop, tasks })
    }
}

impl AdminPart {
    /// Finishes the requests under way.
    pub(super) async fn shutdown(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "the admin API ended badly");
            }
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone stops it, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The tokens lie beside the store, or beside the configuration where the store is in memory.
fn token_paths(config: &Config) -> TokenPaths {
    let folder = match &config.store {
        StoreSpec::Path(path) => path.parent().unwrap_or(Path::new("")),
        StoreSpec::Memory => &config.base_dir,
    };
    let usual = TokenPaths::in_folder(folder);
    match &config.admin.token_file {
        Some(hashed) => TokenPaths { hashed: hashed.clone(), ..usual },
        None => usual,
    }
}
