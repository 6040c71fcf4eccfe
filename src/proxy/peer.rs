//! Peers: what Pingora needs to know to connect to a target.

use std::time::Duration;

use pingora_core::upstreams::peer::HttpPeer;

use crate::core::model::{TargetProtocol, Verify};
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
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = MAX_H2_STREAMS;
            // A target that is gone without a word would be given calls until TCP gives up.
            peer.options.h2_ping_interval = Some(H2_PING);
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

/// How often a connection of HTTP/2 to a target is tried.
const H2_PING: Duration = Duration::from_secs(10);
/// How many requests share a connection of HTTP/2 to a target; the target may permit fewer.
const MAX_H2_STREAMS: usize = 100;
