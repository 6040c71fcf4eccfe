//! The connection that an upload to a target of HTTP/2 has to itself while it lasts, and what can be
//! known and ended through it from outside of Pingora.
//!
//! Pingora waits for an answer of HTTP/2 from the request's header on, lets nobody prolong or end
//! that wait, and drops what it could not write; the only way out would be to drop its future, and
//! the client's session with it, so that nobody could answer or tell. A connection can be ended from
//! outside: Pingora then sees its target break off, and goes through its hooks as ever. No other
//! request may be on that connection, so uploads share theirs one after the other, as in HTTP/1.1.
//!
//! There are as many of these connections as there are seats (`seats`).
//!
//! Calls of gRPC are told in the same way when their group departs: they share connections with those
//! alone that will have to leave with them, so that ending these lets every call come to its end in
//! Pingora's hooks, where its client is told.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream as Handle};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{Digest, GetProxyDigest as _};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::net::TcpStream;

use crate::clock::Clock;

use super::course::Course;
use super::seats::Seat;

/// Gives a peer connections that carry one request at a time and can be ended. A new one keeps the
/// seat, which must be held until it stands.
pub(super) fn set_apart(peer: &mut HttpPeer, seat: &Arc<Seat>) {
    peer.group_key ^= APART;
    peer.options.max_h2_streams = 1;
    peer.options.custom_l4 = Some(Arc::new(Apart(Arc::downgrade(seat))));
}

/// Gives a peer connections that calls of gRPC share, and that can be ended: only calls whose stay
/// at their group began at the same number of departures are on one, so that all have to leave at
/// once.
pub(super) fn set_together(peer: &mut HttpPeer, departures: u64) {
    peer.group_key ^= TOGETHER ^ ((departures & STAYS) << STAYS_AT);
    peer.options.custom_l4 = Some(Arc::new(Together));
}

/// What ends one connection.
#[derive(Debug)]
pub(super) struct Lifeline {
    handle: Handle,
    /// `None` for a connection that requests share.
    seat: Option<Arc<Seat>>,
}

impl Lifeline {
    /// That of a connection; `None` if it was not set apart.
    pub(super) fn of(digest: Option<&Digest>) -> Option<Arc<Self>> {
        let data = digest?.proxy_digest.as_ref()?.user_data.as_ref()?;
        data.downcast_ref::<Arc<Self>>().map(Arc::clone)
    }

    /// Carries it to the requests of its connection.
    fn digest(self) -> ProxyDigest {
        // The type is made for what a proxy answered to CONNECT; here nobody reads the response.
        let response = ResponseHeader::build_no_case(200, None).expect("200 is a status");
        ProxyDigest::new(Box::new(response), Some(Box::new(Arc::new(self))))
    }

    /// Whether requests share the connection.
    pub(super) fn is_shared(&self) -> bool {
        self.seat.is_none()
    }

    /// Ends the connection.
    pub(super) fn cut(&self) {
        // One that is closed already has ended, too.
        let _ = self.handle.shutdown(Shutdown::Both);
    }
}

/// An attempt that has a connection to itself.
#[derive(Debug)]
pub(super) struct Solo {
    lifeline: Arc<Lifeline>,
    /// How many parts of the body the target has yet to take.
    in_hand: AtomicUsize,
}

impl Solo {
    /// An attempt on a connection.
    pub(super) fn on(lifeline: Arc<Lifeline>) -> Self {
        Self { lifeline, in_hand: AtomicUsize::new(0) }
    }

    /// Whether the target has yet to take a part of the body.
    pub(super) fn has_in_hand(&self) -> bool {
        self.in_hand.load(Ordering::Acquire) > 0
    }

    /// Ends the connection.
    pub(super) fn cut(&self) {
        self.lifeline.cut();
    }

    /// A part of the body that tells the course when the target has taken it.
    pub(super) fn hold(
        self: &Arc<Self>,
        bytes: Bytes,
        course: &Arc<Course>,
        clock: Clock,
    ) -> Bytes {
        self.in_hand.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(Part { bytes, solo: Arc::clone(self), course: Arc::clone(course), clock })
    }
}

/// A part of a body; it is dropped once all of it was written to the target's connection.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    solo: Arc<Solo>,
    course: Arc<Course>,
    clock: Clock,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.solo.in_hand.fetch_sub(1, Ordering::AcqRel);
        self.course.moved(self.clock.mono());
    }
}

/// Connects so that the connection can be ended later.
#[derive(Debug)]
struct Apart(Weak<Seat>);

#[async_trait]
impl Connect for Apart {
    async fn connect(&self, address: &SocketAddr) -> Result<Socket> {
        // Whoever has it connected holds it.
        let seat = self.0.upgrade().ok_or_else(|| {
            Error::explain(ErrorType::ConnectError, "a connection that nobody waits for")
        })?;
        connected(address, Some(seat)).await
    }
}

/// Connects so that the connection can be ended later, with all that share it.
#[derive(Debug)]
struct Together;

#[async_trait]
impl Connect for Together {
    async fn connect(&self, address: &SocketAddr) -> Result<Socket> {
        connected(address, None).await
    }
}

async fn connected(address: &SocketAddr, seat: Option<Arc<Seat>>) -> Result<Socket> {
    let inet = *address.as_inet().ok_or_else(|| {
        Error::explain(ErrorType::SocketError, "a target without an internet address")
    })?;
    let stream = TcpStream::connect(inet).await.map_err(|error| failed(&error))?;
    let handle = stream.as_fd().try_clone_to_owned().map_err(|error| {
        Error::explain(ErrorType::SocketError, format!("no second handle: {error}"))
    })?;
    let mut socket = Socket::from(stream);
    let lifeline = Lifeline { handle: Handle::from(handle), seat };
    socket.set_proxy_digest(lifeline.digest());
    Ok(socket)
}

/// Why there is no connection, in Pingora's words.
fn failed(error: &io::Error) -> Box<Error> {
    let unreachable = [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable];
    let kind = error.kind();
    let kind = if kind == ErrorKind::ConnectionRefused {
        ErrorType::ConnectRefused
    } else if kind == ErrorKind::TimedOut {
        ErrorType::ConnectTimedout
    } else if unreachable.contains(&kind) {
        ErrorType::ConnectNoRoute
    } else {
        ErrorType::ConnectError
    };
    Error::explain(kind, format!("no connection: {error}"))
}

/// Keeps connections that are set apart out of the pool of those that are shared.
const APART: u64 = 1 << 63;
/// Keeps connections of calls out of the pools of all others.
const TOGETHER: u64 = 1 << 60;
/// Where in the key of a pool, and within how many of its bits, the number of departures is.
const STAYS_AT: u32 = 44;
const STAYS: u64 = 0xffff;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pingora_core::connectors::TransportConnector;
    use rustix::net::sockopt::{socket_keepalive, tcp_user_timeout};
    use tokio::net::TcpListener;

    use super::super::peer::{carry_bodies, keepalive, peer_of};
    use super::super::seats::Seats;
    use super::super::testkit::service;
    use super::*;
    use crate::core::model::Span;

    #[tokio::test]
    async fn a_connection_that_is_set_apart_keeps_its_seat_and_what_the_system_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let route = service(0, &[listener.local_addr().expect("bound")], &[]);
        let mut peer = peer_of(&route.blue.link, &route.blue.targets[0]);
        peer.options.tcp_keepalive = keepalive(Span::from_secs(8), Span::from_secs(60));
        let seats = Seats::new(1);
        let seat = seats.take().expect("a free one");
        set_apart(&mut peer, &seat);
        let stream = TransportConnector::new(None).new_stream(&peer).await.expect("connected");
        drop((seat, peer));
        assert!(seats.take().is_none(), "the connection has it");
        let digest = Digest { proxy_digest: stream.get_proxy_digest(), ..Digest::default() };
        let lifeline = Lifeline::of(Some(&digest)).expect("it can be ended");
        assert!(socket_keepalive(&lifeline.handle).expect("known"));
        let limit = tcp_user_timeout(&lifeline.handle).expect("known");
        assert_eq!(Duration::from_millis(limit.into()), Duration::from_secs(60));
        drop((lifeline, digest, stream));
        assert!(seats.take().is_some());
    }

    #[test]
    fn calls_share_connections_with_those_of_the_same_stay_alone() {
        let route = service(0, &[([127, 0, 0, 1], 9).into()], &[]);
        let key = |departures: Option<u64>| {
            let mut peer = peer_of(&route.blue.link, &route.blue.targets[0]);
            carry_bodies(&mut peer);
            if let Some(departures) = departures {
                set_together(&mut peer, departures);
            }
            peer.group_key
        };
        assert_eq!(key(Some(0)), key(Some(0)));
        let keys = [None, Some(0), Some(1), Some(2)].map(key);
        let all: std::collections::BTreeSet<u64> = keys.into_iter().collect();
        assert_eq!(all.len(), keys.len(), "{keys:?}");
    }
}
