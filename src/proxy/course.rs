//! The course of a request, as far as somebody outside of its hooks has to follow it.
//!
//! Pingora runs a request as one future. What wraps that future (`deadline`) cannot see into it, and
//! the hooks inside cannot see out; both see the request's course, which is local to its task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::core::routing::LiveGroup;

use super::attempt::MAX_ATTEMPTS;

tokio::task_local! {
    static CURRENT: Arc<Course>;
}

/// What a request has come to so far.
#[derive(Debug, Default)]
pub(super) struct Course {
    has_header: AtomicBool,
    ends_itself: AtomicBool,
    stays: [OnceLock<Stay>; MAX_ATTEMPTS],
}

impl Course {
    /// Runs a request's future with this as its course.
    pub(super) fn of<F: Future>(self: &Arc<Self>, request: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Arc::clone(self), request)
    }

    /// Tells the course of the request that is under way in this task, if there is one.
    pub(super) fn tell(what: impl FnOnce(&Self)) {
        // Without one nobody waits to be told.
        let _ = CURRENT.try_with(|course| what(course));
    }

    /// The request's header was read.
    pub(super) fn header_is_read(&self) {
        self.has_header.store(true, Ordering::Release);
    }

    /// The request goes to a target of this group.
    pub(super) fn goes_to(&self, group: &Arc<LiveGroup>) {
        let mut free = self.stays.iter().filter(|stay| stay.get().is_none());
        if let Some(slot) = free.next() {
            slot.get_or_init(|| Stay::with(group));
        }
    }

    /// The request says goodbye by itself when its group departs.
    pub(super) fn ends_itself(&self) {
        self.ends_itself.store(true, Ordering::Release);
    }

    /// Whether the request's header was read.
    pub(super) fn has_header(&self) -> bool {
        self.has_header.load(Ordering::Acquire)
    }

    /// Where it stays; `None` if it ends by itself, or has no target.
    pub(super) fn stay(&self) -> Option<&Stay> {
        if self.ends_itself.load(Ordering::Acquire) {
            return None;
        }
        self.stays.iter().rev().find_map(OnceLock::get)
    }
}

/// The stay of a request or tunnel at a group.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    group: Arc<LiveGroup>,
    departures: u64,
}

impl Stay {
    /// A stay that begins now.
    pub(super) fn with(group: &Arc<LiveGroup>) -> Self {
        Self { group: Arc::clone(group), departures: group.departures() }
    }

    /// Whether the group departed since.
    pub(super) fn is_over(&self) -> bool {
        self.group.departures() != self.departures
    }
}
