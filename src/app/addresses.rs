//! The addresses that a configuration wants to listen on: whether they can be had, and where in the
//! configuration one stands that cannot.
//!
//! Trying one opens a socket there and closes it, and never listens: whoever starts just then is
//! not in the way, and no client is let in by mistake.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, socket};

use crate::config::{Config, Mistake};
use crate::proxy::ProxyError;

use super::AppError;
use super::upgrade::{Holder, holder};

/// What came of trying every address of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriedAddresses {
    /// Those that cannot be had, without their lines.
    pub mistakes: Vec<Mistake>,
    /// Those that are in use by the process that serves with the configuration's store, which is no
    /// mistake: a sentence for each, with its key path.
    pub held: Vec<String>,
}

/// Tries every address of a configuration. Blocks.
#[must_use]
pub fn try_addresses(config: &Config) -> TriedAddresses {
    let mut tried = TriedAddresses::default();
    let refused = addresses(config).filter_map(|(at, address)| {
        let error = try_one(address).err()?;
        Some((at, address, error))
    });
    let refused: Vec<_> = refused.collect();
    // Nobody is asked where nothing is in the way.
    let in_use = refused.iter().any(|(_, _, error)| error.kind() == ErrorKind::AddrInUse);
    let holder = if in_use { holder(&config.store) } else { None };
    for (at, address, error) in refused {
        match holder.as_ref().filter(|holder| holder.holds(address)) {
            Some(holder) if error.kind() == ErrorKind::AddrInUse => {
                tried.held.push(format!("{at}: {address} is in use by {}", who(holder)));
            }
            Some(_) | None => tried.mistakes.push(mistake(at, address, &error)),
        }
    }
    tried
}

/// Every address with its key path.
fn addresses(config: &Config) -> impl Iterator<Item = (String, SocketAddr)> + '_ {
    let listeners = config.listeners.iter().enumerate();
    let listeners = listeners.map(|(at, spec)| (format!("listeners[{at}].address"), spec.address));
    let metrics = config.admin.metrics_address;
    listeners
        .chain([("admin.address".to_owned(), config.admin.address)])
        .chain(metrics.map(|address| ("admin.metrics_address".to_owned(), address)))
}

/// Opens a socket at an address as a server does, and closes it.
fn try_one(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(())
}

fn who(holder: &Holder) -> String {
    match holder.pid {
        Some(pid) => format!("the Tidegate that serves with this store (process {pid})"),
        None => {
            "the Tidegate that serves with this store, or so it seems: it answers its own user \
                 alone"
                .to_owned()
        }
    }
}

fn mistake(at: String, address: SocketAddr, error: &io::Error) -> Mistake {
    let kind = error.kind();
    let (message, fix) = if kind == ErrorKind::AddrInUse {
        (format!("{address} is in use"), Some("stop what listens there, or take another address"))
    } else if kind == ErrorKind::PermissionDenied {
        (
            format!("no permission to listen on {address}"),
            Some("use a port above 1023, or grant CAP_NET_BIND_SERVICE"),
        )
    } else if kind == ErrorKind::AddrNotAvailable {
        (
            format!("{address} is not an address of this machine"),
            Some("use one of its own, or 0.0.0.0 or [::] for all of them"),
        )
    } else {
        (format!("cannot listen on {address}: {error}"), None)
    };
    Mistake { at, line: None, message, fix: fix.map(str::to_owned) }
}

/// Why a listener does not start, with the key path of what keeps it from that.
pub(super) fn placed(config: &Config, error: ProxyError) -> AppError {
    let at = config.listeners.iter().position(|spec| spec.name == *error.listener());
    let listener = at.map_or("listeners".to_owned(), |at| format!("listeners[{at}]"));
    let key = match &error {
        ProxyError::InUse { .. }
        | ProxyError::NotPermitted { .. }
        | ProxyError::NotLocal { .. }
        | ProxyError::Refused { .. } => "address",
        ProxyError::Tls { .. } => "tls",
    };
    AppError::Proxy { at: format!("{listener}.{key}"), error }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;

    fn config(first: SocketAddr, second: &str, admin: SocketAddr) -> Config {
        let text = format!(
            "listeners:\n\
             - {{ name: one, address: '{first}', rules: [{{ service: shop }}] }}\n\
             - {{ name: two, address: '{second}', rules: [{{ service: shop }}] }}\n\
             target_groups: {{ a: {{ targets: ['127.0.0.1:9'] }}, b: {{}} }}\n\
             services: {{ shop: {{ target_groups: [a, b] }} }}\n\
             admin: {{ address: '{admin}' }}\n\
             store: {{ memory: true }}\n"
        );
        Config::parse(&text, Path::new("")).expect("no mistake in the file")
    }

    fn free() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("bound");
        (socket, address)
    }

    #[test]
    fn an_address_that_cannot_be_had_is_a_mistake_with_its_key_path() {
        let ((first, in_use), (second, admin)) = (free(), free());
        // TEST-NET-1 (RFC 5737) is nobody's.
        let tried = try_addresses(&config(in_use, "192.0.2.1:0", admin));
        let told: Vec<String> = tried.mistakes.iter().map(ToString::to_string).collect();
        let fix = "stop what listens there, or take another address";
        let expected = [
            format!("listeners[0].address: {in_use} is in use; {fix}"),
            "listeners[1].address: 192.0.2.1:0 is not an address of this machine; use one of its \
             own, or 0.0.0.0 or [::] for all of them"
                .to_owned(),
            format!("admin.address: {admin} is in use; {fix}"),
        ];
        assert_eq!(told, expected);
        assert!(tried.held.is_empty());
        drop((first, second));
        let tried = try_addresses(&config(in_use, "127.0.0.1:0", admin));
        assert!(tried.mistakes.is_empty(), "{tried:?}");
    }

    #[test]
    fn an_address_that_was_tried_can_be_had_at_once() {
        let (socket, address) = free();
        drop(socket);
        for _ in 0..3 {
            assert!(try_one(address).is_ok());
            drop(TcpListener::bind(address).expect("nobody holds it"));
        }
    }
}
