//! Who serves with a store, and on which addresses, for whoever finds these in use.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use crate::config::StoreSpec;

use super::ask::ask;
use super::door_path;
use super::take::is_absence;

/// A process that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::app) struct Holder {
    /// Its id; `None` if it does not answer this user.
    pub(in crate::app) pid: Option<u32>,
    /// Where it listens; `None` if it does not say so.
    addresses: Option<Vec<SocketAddr>>,
}

impl Holder {
    /// Whether it may be what is in the way of listening on an address.
    pub(in crate::app) fn holds(&self, address: SocketAddr) -> bool {
        let in_the_way = |held: &SocketAddr| {
            let any = held.ip().is_unspecified() || address.ip().is_unspecified();
            held.port() == address.port() && (any || held.ip() == address.ip())
        };
        self.addresses.as_ref().is_none_or(|held| held.iter().any(in_the_way))
    }
}

/// The process that serves with a store; `None` if there is none, or the store is in memory. Blocks.
pub(in crate::app) fn holder(store: &StoreSpec) -> Option<Holder> {
    let path = door_path(store)?;
    if UnixStream::connect(&path).is_err_and(|error| is_absence(&error)) {
        return None;
    }
    Some(match ask(&path) {
        Ok((serving, _)) => Holder { pid: Some(serving.pid), addresses: serving.holds },
        // Somebody is there, and lets nobody in but their own user.
        Err(_) => Holder { pid: None, addresses: None },
    })
}

#[cfg(test)]
mod tests {
    use super::super::Door;
    use super::*;

    #[test]
    fn whoever_serves_with_a_store_says_where_it_listens() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreSpec::Path(folder.path().join("t.db"));
        assert_eq!(holder(&store), None);
        assert_eq!(holder(&StoreSpec::Memory), None);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let path = door_path(&store).expect("a path");
        let address = |text: &str| -> SocketAddr { text.parse().expect("valid") };
        let held = vec![address("0.0.0.0:80"), address("127.0.0.1:7070")];
        let mut door = Door::make(&path, &runtime, held).expect("made");
        door.show().expect("shown");
        let holder_now = holder(&store).expect("it answers");
        assert_eq!(holder_now.pid, Some(std::process::id()));
        for (at, expected) in
            [("127.0.0.1:80", true), ("127.0.0.1:7070", true), ("127.0.0.2:7070", false)]
        {
            assert_eq!(holder_now.holds(address(at)), expected, "{at}");
        }
        door.remove();
        assert_eq!(holder(&store), None);
        std::fs::write(&path, "left by a crash").expect("written");
        assert_eq!(holder(&store), None);
    }
}
