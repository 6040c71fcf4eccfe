//! Whether the process has so much memory that it refuses new work.
//!
//! Somebody looks at the memory and tells; the proxy asks for each request, and for each new
//! connection, which costs it one load. What is in flight goes on. A few requests and connections
//! are let in whatever the memory says: where there are no more than that, it is not they who take
//! it, and an allocator that does not give back what is free must not keep everybody out for ever.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::core::model::MemoryLimit;

/// The memory, its limit, and what was refused above it.
#[derive(Debug, Default)]
pub struct Pressure {
    limit: Mutex<MemoryLimit>,
    used: AtomicU64,
    is_high: AtomicBool,
    shed_requests: AtomicU64,
    shed_connections: AtomicU64,
}

impl Pressure {
    /// Has another limit from the next look on.
    pub fn choose(&self, limit: MemoryLimit) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// Takes note of the memory in use, and of what the system allows; `None` is everything.
    pub fn observe(&self, used: u64, of_system: Option<u64>) {
        self.used.store(used, Ordering::Relaxed);
        let limit = *self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let is_high = match limit.bytes(of_system) {
            Some(limit) if self.is_high() => used >= limit / 100 * RESUME_PERCENT,
            Some(limit) => used >= limit,
            None => false,
        };
        self.is_high.store(is_high, Ordering::Relaxed);
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.is_high.load(Ordering::Relaxed)
    }

    /// The memory in use at the last look.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a request is to be refused, which counts; it is one of so many, as far as these are
    /// in its way. Takes no lock.
    pub fn sheds_request(&self, in_flight: u64) -> bool {
        let sheds = self.is_high() && in_flight > FEW_REQUESTS;
        if sheds {
            self.shed_requests.fetch_add(1, Ordering::Relaxed);
        }
        sheds
    }

    /// Whether a connection is to be closed, which counts; it is one of so many. Takes no lock.
    pub fn sheds_connection(&self, open: u64) -> bool {
        let sheds = self.is_high() && open > FEW_CONNECTIONS;
        if sheds {
            self.shed_connections.fetch_add(1, Ordering::Relaxed);
        }
        sheds
    }

    /// What was refused so far, by what it was.
    pub(super) fn shed(&self) -> [(&'static str, u64); 2] {
        [("request", &self.shed_requests), ("connection", &self.shed_connections)]
            .map(|(what, count)| (what, count.load(Ordering::Relaxed)))
    }
}

/// How many requests may be in flight whatever the memory says.
const FEW_REQUESTS: u64 = 64;
/// How many connections may be open whatever the memory says.
const FEW_CONNECTIONS: u64 = 256;
/// Below which part of its limit the memory has to be before new work is taken again.
const RESUME_PERCENT: u64 = 95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_refused_from_the_limit_on_until_the_memory_is_well_below_it() {
        let pressure = Pressure::default();
        pressure.choose(MemoryLimit::Bytes(1_000));
        for (used, is_high) in
            [(0, false), (999, false), (1_000, true), (999, true), (950, true), (949, false)]
        {
            pressure.observe(used, None);
            assert_eq!((pressure.is_high(), pressure.used()), (is_high, used));
        }
    }

    #[test]
    fn another_limit_counts_from_the_next_look_on() {
        let pressure = Pressure::default();
        pressure.observe(1_000, Some(1_000));
        assert!(pressure.is_high(), "by default it is that of the system");
        for (limit, is_high) in [
            (MemoryLimit::Bytes(2_000), false),
            (MemoryLimit::Bytes(500), true),
            (MemoryLimit::Off, false),
        ] {
            pressure.choose(limit);
            pressure.observe(1_000, Some(1_000));
            assert_eq!(pressure.is_high(), is_high, "{limit:?}");
        }
    }

    #[test]
    fn a_few_are_let_in_always_and_who_is_not_is_counted() {
        let pressure = Pressure::default();
        assert!(!pressure.sheds_request(1_000_000) && !pressure.sheds_connection(1_000_000));
        pressure.choose(MemoryLimit::Bytes(1_000));
        pressure.observe(1_000, None);
        assert!(!pressure.sheds_request(FEW_REQUESTS));
        assert!(pressure.sheds_request(FEW_REQUESTS + 1));
        assert!(!pressure.sheds_connection(FEW_CONNECTIONS));
        assert!(pressure.sheds_connection(FEW_CONNECTIONS + 1));
        assert!(pressure.sheds_connection(FEW_CONNECTIONS + 2));
        assert_eq!(pressure.shed(), [("request", 1), ("connection", 2)]);
    }
}
