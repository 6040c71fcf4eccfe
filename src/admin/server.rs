//! The listening side: connections, their limits, and the end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::auth::Peer;
use super::{AdminState, routes};
use crate::control::Handle;

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something listens there already.
    #[error(
        "{address} is in use: stop what listens there (another tidegate?), or set `{key}` to \
         another address"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The key of the configuration that sets it.
        key: &'static str,
    },
    /// Anything else.
    #[error("cannot listen on {address} (`{key}`): {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// The key of the configuration that sets it.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A listener that serves the API, or the metrics alone.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminServer {
    /// Opens the socket of an address, which `key` of the configuration sets.
    ///
    /// # Errors
    /// The address is in use, or cannot be had.
    pub fn open(
        address: SocketAddr,
        key: &'static str,
    ) -> Result<std::net::TcpListener, BindError> {
        std::net::TcpListener::bind(address).map_err(|source| {
            if source.kind() == io::ErrorKind::AddrInUse {
                BindError::InUse { address, key }
            } else {
                BindError::Io { address, key, source }
            }
        })
    }

    /// Listens on a socket that was opened for an address. Inside of a tokio runtime.
    ///
    /// # Errors
    /// The system cannot watch the socket.
    pub fn on(
        socket: std::net::TcpListener,
        address: SocketAddr,
        key: &'static str,
    ) -> Result<Self, BindError> {
        let refused = |source| BindError::Io { address, key, source };
        socket.set_nonblocking(true).map_err(refused)?;
        let listener = TcpListener::from_std(socket).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Listens on an address, which `key` of the configuration sets.
    ///
    /// # Errors
    /// The address is in use, or cannot be had.
    pub async fn bind(address: SocketAddr, key: &'static str) -> Result<Self, BindError> {
        Self::on(Self::open(address, key)?, address, key)
    }

    /// Where it listens; the port that the system chose if the configured one was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the API until `shutdown` ends, then finishes the requests under way.
    pub async fn serve(self, state: Arc<AdminState>, shutdown: impl Future<Output = ()> + Send) {
        serve(self.listener, &routes::api(&state), shutdown).await;
    }

    /// Serves the metrics, without a token, until `shutdown` ends.
    pub async fn serve_metrics(self, handle: Handle, shutdown: impl Future<Output = ()> + Send) {
        serve(self.listener, &routes::metrics_only(handle), shutdown).await;
    }
}

async fn serve(listener: TcpListener, router: &Router, shutdown: impl Future<Output = ()> + Send) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (slot, stream, peer) = accept(&listener, &slots) => {
                let router = router.clone();
                connections.spawn(connection(stream, peer, router, stopping.clone(), slot));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a request to the admin API panicked");
                }
            }
        }
    }
    drop(listener);
    drop(stop);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, finished).await.is_err() {
        tracing::warn!("requests to the admin API were cut off by the shutdown");
    }
    connections.shutdown().await;
}

/// The next connection, as soon as there is room for one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, TcpStream, IpAddr) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (slot, stream, peer.ip()),
            Err(error) => {
                // Out of descriptors, or a connection that is gone again: neither is the end.
                tracing::warn!(%error, "the admin API cannot accept a connection");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    mut stopping: watch::Receiver<()>,
    _slot: OwnedSemaphorePermit,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    // The sender is dropped when the server stops: that, too, ends `changed`.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.changed() => {}
        () = sleep(CONNECTION_AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A peer that broke off, or reads nothing, is nobody's error but its own.
    let _ = timeout(GRACE, connection).await;
}

const MOST_CONNECTIONS: usize = 256;
const HEADER_TIME: Duration = Duration::from_secs(10);
const HEADER_BYTES: usize = 64 * 1024;
const CONNECTION_AGE: Duration = Duration::from_mins(10);
const GRACE: Duration = Duration::from_secs(10);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_named_with_what_to_do() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let first = AdminServer::bind(any, "admin.address").await.expect("free");
        let second = AdminServer::bind(first.address(), "admin.address").await;
        let text = second.expect_err("in use").to_string();
        assert!(text.starts_with(&format!("{} is in use: ", first.address())), "{text}");
        assert!(text.contains("set `admin.address` to another address"), "{text}");
    }
}
