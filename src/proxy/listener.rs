//! Binding: every listening socket is opened before anything is served.
//!
//! Bound here instead of by Pingora, which retries a port in use for half a minute and then
//! panics in a task; here the mistake is an error that names the listener.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustix::net::listen;

use crate::core::model::{ListenerName, ListenerSpec};
use crate::tls::{ServerTls, TlsError};

use super::backlog::{self, BACKLOG};

/// The reason why a listener cannot accept traffic.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Another socket listens there.
    #[error(
        "listener {listener}: {address} is in use: stop what listens there, or give the listener another address"
    )]
    InUse {
        /// The listener.
        listener: ListenerName,
        /// The address it wanted.
        address: SocketAddr,
    },
    /// The process may not listen there.
    #[error(
        "listener {listener}: no permission to listen on {address}: use a port above 1023, or grant CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// The listener.
        listener: ListenerName,
        /// The address it wanted.
        address: SocketAddr,
    },
    /// The address belongs to another machine.
    #[error(
        "listener {listener}: {address} is not an address of this machine: use one of its own, or 0.0.0.0 or [::] for all of them"
    )]
    NotLocal {
        /// The listener.
        listener: ListenerName,
        /// The address it wanted.
        address: SocketAddr,
    },
    /// Its certificates cannot be used.
    #[error("listener {listener}: {source}")]
    Tls {
        /// The listener.
        listener: ListenerName,
        /// What is wrong with its files.
        source: TlsError,
    },
    /// Anything else the system refuses.
    #[error("listener {listener}: cannot listen on {address}")]
    Refused {
        /// The listener.
        listener: ListenerName,
        /// The address it wanted.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

impl ProxyError {
    /// The listener that it is about.
    #[must_use]
    pub fn listener(&self) -> &ListenerName {
        match self {
            Self::InUse { listener, .. }
            | Self::NotPermitted { listener, .. }
            | Self::NotLocal { listener, .. }
            | Self::Tls { listener, .. }
            | Self::Refused { listener, .. } => listener,
        }
    }
}

/// A listener whose socket is open; connections wait in the system's queue until it is started.
#[derive(Debug)]
pub struct BoundListener {
    pub(super) spec: ListenerSpec,
    pub(super) address: SocketAddr,
    pub(super) socket: TcpListener,
    /// `None` speaks in the clear.
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl BoundListener {
    /// A listener on a socket that is open already.
    ///
    /// # Errors
    /// The socket is of no use, or the certificates cannot be used.
    pub(super) fn on(spec: &ListenerSpec, socket: TcpListener) -> Result<Self, ProxyError> {
        let tls = spec.tls.as_ref().map(ServerTls::load).transpose();
        let tls = tls.map_err(|source| ProxyError::Tls { listener: spec.name.clone(), source })?;
        let address = socket
            .set_nonblocking(true)
            .and_then(|()| Ok(listen(&socket, BACKLOG)?))
            .and_then(|()| socket.local_addr())
            .map_err(|source| refused(spec, source))?;
        Ok(Self { spec: spec.clone(), address, socket, tls: tls.map(Arc::new) })
    }

    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> &ListenerName {
        &self.spec.name
    }

    /// Where it listens, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds all listeners, or none.
///
/// # Errors
/// The first listener whose address cannot be had.
pub fn bind(listeners: &[ListenerSpec]) -> Result<Vec<BoundListener>, ProxyError> {
    backlog::tell_if_short();
    listeners.iter().map(bind_one).collect()
}

/// Binds one.
///
/// # Errors
/// The address cannot be had, or its certificates cannot be used.
pub(super) fn bind_one(spec: &ListenerSpec) -> Result<BoundListener, ProxyError> {
    let socket = TcpListener::bind(spec.address).map_err(|source| refused(spec, source))?;
    BoundListener::on(spec, socket)
}

pub(super) fn refused(spec: &ListenerSpec, source: io::Error) -> ProxyError {
    let (listener, address) = (spec.name.clone(), spec.address);
    if source.kind() == ErrorKind::AddrInUse {
        ProxyError::InUse { listener, address }
    } else if source.kind() == ErrorKind::PermissionDenied {
        ProxyError::NotPermitted { listener, address }
    } else if source.kind() == ErrorKind::AddrNotAvailable {
        ProxyError::NotLocal { listener, address }
    } else {
        ProxyError::Refused { listener, address, source }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_of_connections_waits_in_the_queue() {
        let bound = bind(&[spec(SocketAddr::from(([127, 0, 0, 1], 0)))]).expect("bound");
        let connect =
            |_| TcpStream::connect_timeout(&bound[0].address(), Duration::from_millis(500));
        // Nobody accepts one.
        let waiting: Result<Vec<TcpStream>, _> = (0..300).map(connect).collect();
        assert_eq!(waiting.expect("none has to try again").len(), 300);
    }

    fn spec(address: SocketAddr) -> ListenerSpec {
        ListenerSpec::plain("public".parse().expect("valid"), address)
    }

    #[test]
    fn port_zero_gets_a_port_and_a_port_in_use_is_named() {
        let bound = bind(&[spec("127.0.0.1:0".parse().expect("valid"))]).expect("bound");
        let address = bound[0].address();
        assert_ne!(address.port(), 0);
        let error = bind(&[spec(address)]).expect_err("in use").to_string();
        assert!(error.contains("listener public"), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("another address"), "{error}");
    }
}
