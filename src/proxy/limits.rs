//! The bounds on what a client may send, hold and wait for.

use std::time::Duration;

/// Bounds on client connections; the bounds on targets belong to each service.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a request's header may take from the first byte that is waited for.
    pub header: Duration,
    /// The most bytes of a request's header, request line included.
    pub header_bytes: usize,
    /// The most fields in a request's header.
    pub header_count: usize,
    /// How long an idle connection is kept, in whole seconds.
    pub keepalive: Duration,
    /// How long a client may pause inside a request's body.
    pub body_read: Duration,
    /// How long a client may take to accept one part of a response, at most 64 KiB.
    pub response_write: Duration,
    /// How long the rest of a request's body is read and dropped after an answer of our own, so
    /// that closing the connection does not destroy the answer on its way.
    pub body_drain: Duration,
    /// The most idle connections to targets that each worker thread adds to a listener's pool.
    pub idle_per_worker: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            header_bytes: 32 * 1_024,
            header_count: 100,
            keepalive: Duration::from_secs(60),
            body_read: Duration::from_secs(60),
            response_write: Duration::from_secs(60),
            body_drain: Duration::from_secs(2),
            idle_per_worker: 128,
        }
    }
}
