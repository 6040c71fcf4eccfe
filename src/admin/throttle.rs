//! Failed attempts to authenticate, counted for every peer.
//!
//! It bounds what guessing costs us (log lines, work) and makes it visible. A right token always
//! passes: a wrong one in a script on the same machine must not keep a person from an abort.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::core::model::{MonoTime, Span};

/// Recent failures by peer.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: MonoTime,
    count: u32,
}

impl Throttle {
    /// Failures of one peer in a window that are answered as such.
    pub(super) const LIMIT: u32 = 10;
    /// The length of the window.
    pub(super) const WINDOW: Span = Span::from_mins(1);
    /// The most peers that are remembered.
    const PEERS: usize = 1_024;

    /// Counts a failure; whether it is still within the limit.
    pub(super) fn failed(&self, peer: IpAddr, now: MonoTime) -> bool {
        // Nothing panics while it holds the lock; if it did, the counts would still be good.
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= Self::PEERS && !failures.contains_key(&peer) {
            failures.retain(|_, failed| now.since(failed.since) < Self::WINDOW);
        }
        if failures.len() >= Self::PEERS && !failures.contains_key(&peer) {
            // A thousand peers failed in this minute: one more is not worth memory.
            return false;
        }
        let failed = failures.entry(peer).or_insert(Failures { since: now, count: 0 });
        if now.since(failed.since) >= Self::WINDOW {
            *failed = Failures { since: now, count: 0 };
        }
        failed.count = failed.count.saturating_add(1);
        failed.count <= Self::LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn ten_failures_a_minute_are_answered_for_each_peer() {
        let throttle = Throttle::default();
        let at = |secs: u64| MonoTime::from_ms(secs * 1_000);
        for second in 0..10 {
            assert!(throttle.failed(peer(1), at(second)));
        }
        assert!(!throttle.failed(peer(1), at(59)));
        assert!(throttle.failed(peer(2), at(59)));
        assert!(throttle.failed(peer(1), at(60)));
    }

    #[test]
    fn the_number_of_peers_is_bounded() {
        let throttle = Throttle::default();
        let now = MonoTime::from_ms(0);
        let taken = (0..5_000).filter(|n| throttle.failed(peer(*n), now)).count();
        assert_eq!(taken, Throttle::PEERS);
        assert!(throttle.failed(peer(9_999), now.plus(Throttle::WINDOW)));
        assert_eq!(throttle.failures.lock().expect("not poisoned").len(), 1);
    }
}
