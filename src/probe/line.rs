//! Lines: how checks reach the targets of a group, by the same transport as requests.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::core::model::{TargetProtocol, TargetTls};
use crate::core::routing::Link;
use crate::tls::{ClientTls, Offers};

use super::ProbeFailure;

/// What a check speaks on.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How the targets of a link are reached; the checks of all of them share it.
#[derive(Debug)]
pub(super) struct Line {
    link: Arc<Link>,
    /// Made with the first check, because the system's authorities may have to be read for it.
    tls: OnceCell<ClientTls>,
}

impl Line {
    /// A line by the transport of a link.
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, tls: OnceCell::new() }
    }

    /// What is spoken with the targets.
    pub(super) fn protocol(&self) -> TargetProtocol {
        self.link.transport().protocol
    }

    /// The scheme of a URI of theirs.
    pub(super) fn scheme(&self) -> &'static str {
        if self.link.transport().tls.is_some() { "https" } else { "http" }
    }

    /// Opens a connection of its own to a target, and shakes hands where the group has TLS.
    pub(super) async fn open(
        &self,
        address: SocketAddr,
        offers: Offers,
    ) -> Result<Box<dyn Io>, ProbeFailure> {
        let Some(spec) = &self.link.transport().tls else {
            return Ok(Box::new(connect(address).await?));
        };
        let tls = self.tls.get_or_try_init(|| make(spec)).await?;
        let stream = connect(address).await?;
        let shaken = tls.connector(offers).connect(tls.name_for(address.ip()), stream).await;
        let stream = shaken.map_err(|error| ProbeFailure::tls(&error))?;
        if !offers.is_agreed(stream.get_ref().1.alpn_protocol()) {
            return Err(ProbeFailure::tls(&"the target does not agree to the protocol (ALPN)"));
        }
        Ok(Box::new(stream))
    }
}

async fn make(spec: &TargetTls) -> Result<ClientTls, ProbeFailure> {
    let spec = spec.clone();
    let made = spawn_blocking(move || ClientTls::of(&spec)).await;
    made.map_err(|error| ProbeFailure::tls(&error))?.map_err(|error| ProbeFailure::tls(&error))
}

/// Connects, and no more.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeFailure> {
    TcpStream::connect(address).await.map_err(|error| {
        if error.kind() == ErrorKind::ConnectionRefused {
            ProbeFailure::Refused
        } else {
            ProbeFailure::Unreachable { kind: error.kind() }
        }
    })
}
