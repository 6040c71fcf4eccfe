//! What happens at the edge, before there is a request or after its answer has begun: counted for
//! the process as a whole, because nothing there belongs to a service yet, or any more.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that happened to a client's connection or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeEvent {
    /// A connection was accepted.
    Accepted,
    /// A connection was closed at once: the listener has as many as it may have.
    ListenerFull,
    /// A connection was closed at once: its client has as many as it may have.
    ClientFull,
    /// A connection without the PROXY header that it must have.
    NoProxyHeader,
    /// A TLS handshake failed.
    NoHandshake,
    /// The header of a request, or what comes before it, was not whole in time.
    HeaderTimeout,
    /// A long-lived stream of a group that lost its weight was ended in its protocol's own way.
    StreamClosed,
    /// A long-lived stream of a group that lost its weight was cut.
    StreamCut,
    /// What a client sent was refused: no request could be read from it.
    Unreadable,
    /// A connection of HTTP/2 was ended: its client flooded it with frames that carry nothing.
    FrameFlood,
}

impl EdgeEvent {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::ListenerFull,
        Self::ClientFull,
        Self::NoProxyHeader,
        Self::NoHandshake,
        Self::HeaderTimeout,
        Self::StreamClosed,
        Self::StreamCut,
        Self::Unreadable,
        Self::FrameFlood,
    ];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::ListenerFull => "listener_full",
            Self::ClientFull => "client_full",
            Self::NoProxyHeader => "no_proxy_header",
            Self::NoHandshake => "no_handshake",
            Self::HeaderTimeout => "header_timeout",
            Self::StreamClosed => "stream_closed",
            Self::StreamCut => "stream_cut",
            Self::Unreadable => "unreadable",
            Self::FrameFlood => "frame_flood",
        }
    }
}

/// Counts events without locks.
#[derive(Debug, Default)]
pub(super) struct EdgeCounts([AtomicU64; EdgeEvent::ALL.len()]);

impl EdgeCounts {
    pub(super) fn count(&self, event: EdgeEvent) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, event: EdgeEvent) -> u64 {
        self.0[event as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_counter_of_its_own() {
        let counts = EdgeCounts::default();
        for event in EdgeEvent::ALL {
            counts.count(event);
        }
        assert!(EdgeEvent::ALL.iter().all(|event| counts.of(*event) == 1));
    }
}
