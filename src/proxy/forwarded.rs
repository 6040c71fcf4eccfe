//! Where a request comes from, and who says so.
//!
//! What a client says of its own origin is worth nothing. What a proxy says that the listener trusts
//! is believed as far as the first hop that nobody trusts: everything before that hop is its word
//! alone, and is not passed on.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::connection::Connection;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The client; `None` where the transport has no addresses.
    pub(super) client: Option<IpAddr>,
    /// The value of `X-Forwarded-For` for the target; `None` without a client.
    pub(super) forwarded_for: Option<HeaderValue>,
    /// Whether the client speaks TLS.
    pub(super) secure: bool,
    /// What the client called the host, where a trusted proxy says that it was another one.
    pub(super) host: Option<HeaderValue>,
    /// The subject of the client's certificate; `None` if it showed none.
    pub(super) subject: Option<HeaderValue>,
}

impl Origin {
    /// The origin of a request on a connection.
    pub(super) fn of(
        connection: Option<&Connection>,
        headers: &HeaderMap,
        trusted: &[IpNet],
    ) -> Self {
        let peer = connection.map(Connection::client).as_ref().map(SocketAddr::ip);
        let peer = peer.map(|ip| ip.to_canonical());
        let secure = connection.is_some_and(Connection::is_secure);
        let subject = connection.and_then(Connection::subject).cloned();
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
        let Some(peer) = peer.filter(is_trusted) else {
            let forwarded_for = peer.and_then(|ip| HeaderValue::try_from(ip.to_string()).ok());
            return Self { client: peer, forwarded_for, secure, host: None, subject };
        };
        let mut hops = vec![peer];
        for hop in said(headers).into_iter().rev() {
            let trusted = hops.last().is_some_and(is_trusted);
            match hop {
                Some(hop) if trusted => hops.push(hop),
                Some(_) | None => break,
            }
        }
        let shown: Vec<String> = hops.iter().rev().map(IpAddr::to_string).collect();
        let said = |name: &str| headers.get(name);
        Self {
            client: hops.last().copied(),
            forwarded_for: HeaderValue::try_from(shown.join(", ")).ok(),
            secure: match said("x-forwarded-proto").map(HeaderValue::as_bytes) {
                Some(b"https") => true,
                Some(b"http") => false,
                Some(_) | None => secure,
            },
            host: said("x-forwarded-host").cloned(),
            subject,
        }
    }
}

/// The addresses in `X-Forwarded-For`, the nearest hop last; `None` for what is no address.
fn said(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").into_iter();
    let hops: Vec<_> = lines
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(|hop| address(std::str::from_utf8(hop).ok()?.trim()))
        .collect();
    let first = hops.len().saturating_sub(MOST_HOPS);
    hops[first..].to_vec()
}

/// An address with or without a port.
fn address(hop: &str) -> Option<IpAddr> {
    let plain = hop.parse::<IpAddr>().ok();
    let plain = plain.or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()));
    plain.map(|ip| ip.to_canonical())
}

/// The most hops that are looked at.
const MOST_HOPS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, said: &[&'static str], client: &str, forwarded_for: &str) {
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append(
                "x-forwarded-for",
                HeaderValue::from_bytes(line.as_bytes()).expect("valid"),
            );
        }
        let trusted = ["10.0.0.0/8".parse().expect("valid"), "::1/128".parse().expect("valid")];
        let connection = Connection::new(peer.parse().expect("valid"), false, None);
        let origin = Origin::of(Some(&connection), &headers, &trusted);
        assert_eq!(origin.client, Some(client.parse().expect("valid")), "{peer} {said:?}");
        assert_eq!(origin.forwarded_for.expect("a client"), forwarded_for, "{peer} {said:?}");
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_nobody_trusts() {
        check("6.6.6.6:1", &["1.1.1.1"], "6.6.6.6", "6.6.6.6");
        check("10.0.0.1:1", &[], "10.0.0.1", "10.0.0.1");
        check("10.0.0.1:1", &["1.1.1.1"], "1.1.1.1", "1.1.1.1, 10.0.0.1");
        check("10.0.0.1:1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1", "1.1.1.1, 10.0.0.1");
        check(
            "10.0.0.1:1",
            &["9.9.9.9", "1.1.1.1, 10.0.0.2"],
            "1.1.1.1",
            "1.1.1.1, 10.0.0.2, 10.0.0.1",
        );
        check("10.0.0.1:1", &["1.1.1.1, nonsense"], "10.0.0.1", "10.0.0.1");
        check("10.0.0.1:1", &["\u{e9}, 6.6.6.6"], "6.6.6.6", "6.6.6.6, 10.0.0.1");
        check("[::1]:1", &["[2001:db8::1]:443"], "2001:db8::1", "2001:db8::1, ::1");
        check("[::ffff:10.0.0.1]:1", &["1.1.1.1"], "1.1.1.1", "1.1.1.1, 10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_says_how_its_client_spoke() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert("x-forwarded-host", HeaderValue::from_static("shop.test"));
        let trusted = ["10.0.0.0/8".parse().expect("valid")];
        let of = |peer: &str| {
            let connection = Connection::new(peer.parse().expect("valid"), false, None);
            Origin::of(Some(&connection), &headers, &trusted)
        };
        let (trusted, other) = (of("10.0.0.1:1"), of("6.6.6.6:1"));
        assert!(trusted.secure && trusted.host.is_some());
        assert!(!other.secure && other.host.is_none());
    }
}
