//! Which `Host` a request may name.
//!
//! A page of a foreign site can have its own name resolve to a loopback address and then talk to
//! the API as if it were its own origin (DNS rebinding). Its requests name that site.

use std::net::{IpAddr, SocketAddr};

/// The hosts that are ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts {
    address: IpAddr,
}

impl Hosts {
    /// The hosts of an API that listens on an address.
    pub(super) fn of(address: SocketAddr) -> Self {
        Self { address: address.ip() }
    }

    /// Whether a `Host`, with or without its port, is ours: a name or address of loopback, or the
    /// address that the API listens on. Where that is every address, any address will do: foreign
    /// pages come by a name.
    pub(super) fn contain(self, host: &str) -> bool {
        let Ok(authority) = host.parse::<http::uri::Authority>() else {
            return false;
        };
        let name = authority.host();
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match literal.unwrap_or(name).parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || ip == self.address || self.address.is_unspecified(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_the_configured_address_are_ours() {
        let check = |address: &str, host: &str, expected: bool| {
            let hosts = Hosts::of(address.parse().expect("an address"));
            assert_eq!(hosts.contain(host), expected, "{host} at {address}");
        };
        for ours in ["localhost", "LOCALHOST:7070", "127.0.0.1:7070", "[::1]:7070", "127.8.8.8"] {
            check("127.0.0.1:7070", ours, true);
            check("10.0.0.5:7070", ours, true);
        }
        check("10.0.0.5:7070", "10.0.0.5:7070", true);
        check("10.0.0.5:7070", "10.0.0.6:7070", false);
        check("0.0.0.0:7070", "10.0.0.6:7070", true);
        for foreign in ["evil.example", "localhost.evil.example:7070", "127.0.0.1.evil", "", "a b"]
        {
            check("127.0.0.1:7070", foreign, false);
            check("0.0.0.0:7070", foreign, false);
        }
    }
}
