//! Seats: how many uploads may have a connection to themselves (`lifeline`).
//!
//! Such a connection takes two descriptors, and a client of HTTP/2 may have a hundred uploads that
//! stall. Without a bound they would take the descriptors that targets, the store and the operator
//! need, and no limit of clients' connections would notice. Who finds no seat shares a connection.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::descriptors::Descriptors;

/// All seats, taken and free.
#[derive(Debug)]
pub(super) struct Seats(Arc<Semaphore>);

/// A taken one; it is free again once nobody holds it.
#[derive(Debug)]
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    /// As many as this process has descriptors for.
    pub(super) fn of_process() -> Self {
        Self::new(Descriptors::of_process().seats())
    }

    /// So many.
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes one; `None` if none is free.
    pub(super) fn take(&self) -> Option<Arc<Seat>> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Arc::new(Seat { _permit: permit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_once_nobody_holds_it() {
        let seats = Seats::new(1);
        let seat = seats.take().expect("a free one");
        let held = Arc::clone(&seat);
        drop(seat);
        assert!(seats.take().is_none());
        drop(held);
        assert!(seats.take().is_some());
        assert!(Seats::new(usize::MAX).take().is_some());
    }
}
