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

/// A running admin API.
#[derive(Debug)]
pub(super) struct AdminPart {
    pub(super) address: SocketAddr,
    /// Where the first start left the plain token.
    pub(super) token: PathBuf,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl AdminPart {
    /// Opens its addresses and serves.
    ///
    /// # Errors
    /// An address cannot be had, or the tokens cannot be read or made.
    pub(super) fn start(
        config: &Config,
        handle: &Handle,
        clock: Clock,
        runtime: &Runtime,
    ) -> Result<Self, AppError> {
        let paths = token_paths(config);
        let tokens = TokenFile::open_or_create(&paths, clock.wall())?;
        let (stop, stopping) = watch::channel(false);
        let server = runtime.block_on(AdminServer::bind(config.admin.address, "admin.address"))?;
        let address = server.address();
        let state = Arc::new(AdminState::new(handle.clone(), tokens, clock, address));
        let mut tasks = vec![runtime.spawn(server.serve(state, stopped(stopping.clone())))];
        if let Some(metrics) = config.admin.metrics_address {
            let bind = AdminServer::bind(metrics, "admin.metrics_address");
            let server = runtime.block_on(bind)?;
            tasks.push(runtime.spawn(server.serve_metrics(handle.clone(), stopped(stopping))));
        }
        Ok(Self { address, token: paths.plain, stop, tasks })
    }

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
