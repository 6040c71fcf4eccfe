//! How many connections a listener has, in all and from each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::model::ClientLimits;

/// Lets connections of one listener in up to its limits.
#[derive(Debug)]
pub(super) struct Turnstile {
    most: u32,
    most_per_client: u32,
    open: AtomicU32,
    by_client: Mutex<HashMap<IpAddr, u32>>,
}

/// The reason why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The listener has as many as it may have.
    Listener,
    /// The client has.
    Client,
}

impl Turnstile {
    pub(super) fn new(limits: &ClientLimits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.connections,
            most_per_client: limits.connections_per_client,
            open: AtomicU32::new(0),
            by_client: Mutex::default(),
        })
    }

    /// Counts a connection until the result is dropped.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entry, Full> {
        let entry = Entry(Arc::clone(self));
        // The entry counts down when dropped, also where it is refused here.
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if before < self.most { Ok(entry) } else { Err(Full::Listener) }
    }

    /// Counts a connection of a client until the result is dropped.
    ///
    /// # Errors
    /// The client has too many.
    pub(super) fn enter_from(self: &Arc<Self>, client: IpAddr) -> Result<ClientEntry, Full> {
        // An IPv4 client is the same client on a socket for both families.
        let client = client.to_canonical();
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_client.entry(client).or_default();
        if *open >= self.most_per_client {
            return Err(Full::Client);
        }
        *open += 1;
        Ok(ClientEntry { turnstile: Arc::clone(self), client })
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Entry(Arc<Turnstile>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection of a client that was let in.
#[derive(Debug)]
pub(super) struct ClientEntry {
    turnstile: Arc<Turnstile>,
    client: IpAddr,
}

impl Drop for ClientEntry {
    fn drop(&mut self) {
        let mut by_client = self.turnstile.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_client.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let limits =
            ClientLimits { connections: 3, connections_per_client: 2, ..ClientLimits::default() };
        let turnstile = Turnstile::new(&limits);
        let (a, b): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().expect("valid"), "10.0.0.2".parse().expect("valid"));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("valid");
        let first = turnstile.enter_from(a).expect("room");
        let second = turnstile.enter_from(mapped).expect("room");
        assert_eq!(turnstile.enter_from(a).err(), Some(Full::Client));
        assert!(turnstile.enter_from(b).is_ok());
        drop(first);
        assert!(turnstile.enter_from(a).is_ok());
        drop(second);
        assert!(turnstile.by_client.lock().expect("no panic").is_empty());
        let all: Vec<_> = (0..3).map(|_| turnstile.enter().expect("room")).collect();
        assert_eq!(turnstile.enter().err(), Some(Full::Listener));
        drop(all);
        assert!(turnstile.enter().is_ok());
    }
}
