//! Binding: every listening socket is opened before anything is served.
//!
//! Bound here instead of by Pingora, which retries a port in use for half a minute and then
//! panics in a task; here the mistake is an error that names the listener.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use crate::core::model::{ListenerName, ListenerSpec};

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

/// A listener whose socket is open; connections wait in the system's queue until it is started.
#[derive(Debug)]
pub struct BoundListener {
    pub(super) name: ListenerName,
    pub(super) address: SocketAddr,
    pub(super) socket: TcpListener,
}

impl BoundListener {
    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> &ListenerName {
        &self.name
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
    listeners.iter().map(|spec| bind_one(spec).map_err(|source| refused(spec, source))).collect()
}

pub(super) fn bind_one(spec: &ListenerSpec) -> io::Result<BoundListener> {
    let socket = TcpListener::bind(spec.address)?;
    socket.set_nonblocking(true)?;
    Ok(BoundListener { name: spec.name.clone(), address: socket.local_addr()?, socket })
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
    use super::*;

    fn spec(address: SocketAddr) -> ListenerSpec {
        let name = "public".parse().expect("valid");
        ListenerSpec { name, address, test: None, rules: Vec::new() }
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
