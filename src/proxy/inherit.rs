//! Binding where another process listens already, on the sockets that it has handed over.

use std::net::{SocketAddr, TcpListener};

use crate::core::model::{ListenerName, ListenerSpec};

use super::listener::{BoundListener, ProxyError, bind_one};

/// Binds all listeners, or none: each on an inherited socket with its address, or anew. What no
/// listener wants is closed.
///
/// A listener is found again by its address; only for port 0, where the system has chosen one, by
/// its name.
///
/// # Errors
/// The first listener whose address cannot be had.
pub fn bind_or_inherit(
    listeners: &[ListenerSpec],
    inherited: Vec<(ListenerName, TcpListener)>,
) -> Result<Vec<BoundListener>, ProxyError> {
    let mut inherited = inherited;
    let mut bind = |spec: &ListenerSpec| match take(spec, &mut inherited) {
        Some(socket) => BoundListener::on(spec, socket),
        None => bind_one(spec),
    };
    listeners.iter().map(&mut bind).collect()
}

/// Takes the socket that a listener can use out of the inherited ones.
fn take(
    spec: &ListenerSpec,
    inherited: &mut Vec<(ListenerName, TcpListener)>,
) -> Option<TcpListener> {
    let fits = |(name, socket): &(ListenerName, TcpListener)| {
        let address = socket.local_addr().ok();
        address.is_some_and(|address| serves(spec.address, address, *name == spec.name))
    };
    let place = inherited.iter().position(fits)?;
    Some(inherited.swap_remove(place).1)
}

/// Whether a socket at an address is what was configured.
fn serves(wanted: SocketAddr, found: SocketAddr, same_name: bool) -> bool {
    match wanted.port() {
        0 => same_name && wanted.ip() == found.ip(),
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, address: SocketAddr) -> ListenerSpec {
        let name = name.parse().expect("valid");
        ListenerSpec::plain(name, address)
    }

    fn socket(name: &str) -> (ListenerName, TcpListener) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        (name.parse().expect("valid"), socket)
    }

    #[test]
    fn a_listener_takes_the_socket_with_its_address_under_whatever_name() {
        let (name, inherited) = socket("old");
        let address = inherited.local_addr().expect("bound");
        let bound = bind_or_inherit(&[spec("new", address)], vec![(name, inherited)]);
        let bound = bound.expect("inherited: to bind anew would be refused");
        assert_eq!((bound[0].name().as_str(), bound[0].address()), ("new", address));
    }

    #[test]
    fn port_zero_takes_the_socket_of_its_name_and_others_are_closed() {
        let (kept, gone) = (socket("public"), socket("gone"));
        let address = kept.1.local_addr().expect("bound");
        let closed = gone.1.local_addr().expect("bound");
        let any = "127.0.0.1:0".parse().expect("valid");
        let specs = [spec("public", any), spec("another", any)];
        let bound = bind_or_inherit(&specs, vec![gone, kept]).expect("bound");
        assert_eq!(bound[0].address(), address);
        assert_ne!(bound[1].address(), closed);
        assert!(TcpListener::bind(closed).is_ok(), "closed, so that it can be had again");
    }
}
