//! The admin API, and the metrics' own address, as parts of the running whole.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{AdminServer, AdminState, BindError, TokenFile, TokenPaths};
use crate::clock::Clock;
use crate::config::{Config, StoreSpec};
use crate::control::Handle;

use super::AppError;

/// The admin API's sockets, opened before anything is read or written: a start that cannot have
/// them changes nothing.
///
/// They stay open for as long as the process may serve: while the control side stands still,
/// connections wait in the system's queue.
#[derive(Debug)]
pub(super) struct AdminSockets {
    pub(super) api: AdminSocket,
    /// `None` where metrics have no address of their own.
    pub(super) metrics: Option<AdminSocket>,
}

/// A listening socket, and the key of the configuration that sets its address.
#[derive(Debug)]
pub(super) struct AdminSocket {
    pub(super) socket: TcpListener,
    address: SocketAddr,
    key: &'static str,
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

impl AdminSockets {
    /// Opens the addresses, or takes the sockets that another process has opened there.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub(super) fn bind(
        config: &Config,
        api: Option<TcpListener>,
        metrics: Option<TcpListener>,
    ) -> Result<Self, AppError> {
        let api = AdminSocket::bind(config.admin.address, "admin.address", api)?;
        let metrics = match config.admin.metrics_address {
            Some(address) => Some(AdminSocket::bind(address, "admin.metrics_address", metrics)?),
            None => None,
        };
        Ok(Self { api, metrics })
    }

    /// Serves.
    ///
    /// # Errors
    /// The tokens cannot be read or made, or the system has no room for another socket.
    pub(super) fn serve(
        &self,
        config: &Config,
        handle: &Handle,
        clock: Clock,
        runtime: &Runtime,
    ) -> Result<AdminPart, AppError> {
        let paths = token_paths(config);
        let tokens = TokenFile::open_or_create(&paths, clock.wall())?;
        let _inside = runtime.enter();
        let api = self.api.server()?;
        let metrics = self.metrics.as_ref().map(AdminSocket::server).transpose()?;
        let (stop, stopping) = watch::channel(false);
        let address = api.address();
        let state = Arc::new(AdminState::new(handle.clone(), tokens, clock, address));
        let mut tasks = vec![runtime.spawn(api.serve(state, stopped(stopping.clone())))];
        if let Some(server) = metrics {
            tasks.push(runtime.spawn(server.serve_metrics(handle.clone(), stopped(stopping))));
        }
        Ok(AdminPart { address, token: paths.plain, stop, tasks })
    }
}

impl AdminSocket {
    fn bind(
        address: SocketAddr,
        key: &'static str,
        inherited: Option<TcpListener>,
    ) -> Result<Self, BindError> {
        let fits = |socket: &TcpListener| {
            let any_port = |found: SocketAddr| address.port() == 0 && address.ip() == found.ip();
            socket.local_addr().is_ok_and(|found| found == address || any_port(found))
        };
        let socket = match inherited.filter(fits) {
            Some(socket) => socket,
            None => AdminServer::open(address, key)?,
        };
        Ok(Self { socket, address, key })
    }

    fn server(&self) -> Result<AdminServer, BindError> {
        let (address, key) = (self.address, self.key);
        let socket = self.socket.try_clone();
        let socket = socket.map_err(|source| BindError::Io { address, key, source })?;
        AdminServer::on(socket, address, key)
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
