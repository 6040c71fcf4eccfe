//! Ports that a process can be given before it starts, and have again after a restart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The addresses of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// Its listener.
    pub(crate) public: SocketAddr,
    /// Its admin API.
    pub(crate) admin: SocketAddr,
}

impl Ports {
    /// Ports on which nothing listens now.
    ///
    /// They lie below the range from which the system takes the ports of outgoing connections: one
    /// of those could sit on a port just while its process is being restarted.
    pub(crate) fn free() -> Self {
        Self { public: free(), admin: free() }
    }
}

fn free() -> SocketAddr {
    (0..TRIES)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(15_000..32_000))))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("one of many ports is free")
}

const TRIES: usize = 1_000;
