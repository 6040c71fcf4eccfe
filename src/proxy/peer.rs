//! Peers: what Pingora needs to know to connect to a target.

use std::time::Duration;

use pingora_core::protocols::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;

use crate::core::model::{Span, TargetProtocol, Verify};
use crate::core::routing::{Link, LiveTarget};

use super::trust::Trust;

/// The peer of a target, without the times that its service allows.
pub(super) fn peer_of(link: &Link, target: &LiveTarget) -> HttpPeer {
    let address = target.address().socket_addr();
    let transport = link.transport();
    let name = transport.tls.as_ref().map(|tls| {
        // Never empty: with an empty name Pingora verifies nothing.
        tls.server_name.clone().unwrap_or_else(|| address.ip().to_string())
    });
    let mut peer = HttpPeer::new(address, name.is_some(), name.unwrap_or_default());
    // The target's own number keeps connections of an earlier life apart, the link's those of
    // another trust; the table's generation would throw them all away with every change of weight.
    peer.group_key = (target.incarnation() << 20) ^ link.number();
    match transport.protocol {
        TargetProtocol::Http1 => {}
        TargetProtocol::H2c | TargetProtocol::H2 => {
            // Is what TLS offers.
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = MAX_H2_STREAMS;
        }
    }
    if let Some(tls) = &transport.tls {
        let verify = tls.verify == Verify::Full;
        (peer.options.verify_cert, peer.options.verify_hostname) = (verify, verify);
        if let Some(trust) = link.derived(Trust::of) {
            peer.options.ca = trust.authorities.clone();
            peer.client_cert_key = trust.identity.clone();
        }
    }
    peer
}

/// Has a peer connected to anew, by a connection that is not kept: of those that wait, a target that
/// has closed one may have closed all.
pub(super) fn connect_anew(peer: &mut HttpPeer) {
    peer.group_key ^= ANEW;
    peer.options.idle_timeout = Some(Duration::ZERO);
}

/// Keeps what is connected anew out of the pool.
const ANEW: u64 = 1 << 62;

/// Gives a peer the connections that carry much, whose times are others ([`keepalive`]). Over HTTP/2, too,
/// each carries one request at a time: where a target reads one body slowly, it would take the window
/// that all share.
pub(super) fn carry_much(peer: &mut HttpPeer) {
    peer.group_key ^= MUCH;
    if peer.options.max_h2_streams > 1 {
        peer.options.max_h2_streams = 1;
        // There may be many of them after a while with many uploads.
        let idle = peer.options.idle_timeout.unwrap_or(UPLOAD_IDLE);
        peer.options.idle_timeout = Some(idle.min(UPLOAD_IDLE));
    }
}

/// How long a target of HTTP/2 may be silent on a connection that requests share; `None` leaves it to the
/// system, as with what it acknowledges.
pub(super) fn silence(unacknowledged: Span) -> Option<Duration> {
    (unacknowledged > Span::ZERO).then(|| Duration::from(unacknowledged).max(SHORTEST))
}

/// Keeps connections that carry much out of the pool of all others.
const MUCH: u64 = 1 << 61;

/// How the system finds out that a target is gone without a word: it counts as gone when it has
/// acknowledged nothing for so long, be it data or a try of an idle connection. `None` leaves it to
/// the system, which takes hours.
///
/// One that reads nothing counts as gone, too, once its window is closed for so long, although it
/// acknowledges every try. So where a body is sent, it has at least the time `unread` in which it
/// may read nothing; zero where none is sent.
pub(super) fn keepalive(unacknowledged: Span, unread: Span) -> Option<TcpKeepalive> {
    (unacknowledged > Span::ZERO).then(|| {
        let limit = Duration::from(unacknowledged).clamp(SHORTEST, LONGEST);
        TcpKeepalive {
            idle: (limit / 2).clamp(SHORTEST, LONGEST_IDLE),
            interval: SHORTEST,
            count: TRIES,
            user_timeout: limit.max(Duration::from(unread).min(LONGEST)),
        }
    })
}

/// How long a connection of HTTP/2 is kept after an upload that it carried alone.
const UPLOAD_IDLE: Duration = Duration::from_secs(5);
/// How many requests share a connection of HTTP/2 to a target; the target may permit fewer.
const MAX_H2_STREAMS: usize = 100;
/// The system counts whole seconds here, and no more of them than this.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST_IDLE: Duration = Duration::from_secs(3_600);
const LONGEST: Duration = Duration::from_secs(86_400);
/// Has no say where a time is set, and must not be zero.
const TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::sync::{Arc, Mutex};

    use pingora_core::connectors::TransportConnector;
    use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_user_timeout};
    use tokio::net::{TcpListener, TcpSocket};

    use super::super::testkit::service;
    use super::*;

    #[test]
    fn the_time_that_a_target_may_be_gone_is_bounded_and_can_be_left_to_the_system() {
        let check = |span: Span, unread: Span, expected: Option<(u64, u64)>| {
            let found = keepalive(span, unread);
            let seconds = found.map(|keep| (keep.idle.as_secs(), keep.user_timeout.as_secs()));
            assert_eq!(seconds, expected, "{span} {unread}");
        };
        let (none, minute, weeks) = (Span::ZERO, Span::from_secs(60), Span::from_secs(1_000_000));
        check(none, none, None);
        check(none, minute, None);
        check(Span::from_ms(1), none, Some((1, 1)));
        check(Span::from_secs(8), none, Some((4, 8)));
        check(Span::from_secs(8), minute, Some((4, 60)));
        check(minute, Span::from_secs(8), Some((30, 60)));
        check(weeks, none, Some((3_600, 86_400)));
        check(minute, weeks, Some((30, 86_400)));
    }

    #[tokio::test]
    async fn the_system_knows_how_long_a_target_may_be_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let route = service(0, &[listener.local_addr().expect("bound")], &[]);
        let mut peer = peer_of(&route.blue.link, &route.blue.targets[0]);
        peer.options.tcp_keepalive = keepalive(Span::from_secs(8), Span::ZERO);
        let kept: Arc<Mutex<Option<OwnedFd>>> = Arc::default();
        let keeper = Arc::clone(&kept);
        peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |socket: &TcpSocket| {
            let handle = socket.as_fd().try_clone_to_owned().expect("a second handle");
            *keeper.lock().expect("nothing panics in there") = Some(handle);
            Ok(())
        }));
        let stream = TransportConnector::new(None).new_stream(&peer).await.expect("connected");
        let handle = kept.lock().expect("nothing panics in there").take().expect("it was asked");
        assert!(socket_keepalive(&handle).expect("known"));
        assert_eq!(tcp_keepidle(&handle).expect("known"), Duration::from_secs(4));
        assert_eq!(tcp_user_timeout(&handle).expect("known"), 8_000);
        drop(stream);
    }
}
