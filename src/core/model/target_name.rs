//! A target as it is written: an address, or a name that DNS knows the addresses of.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{DnsName, TargetAddress, TargetError};

/// A target as it is written. Only [`Self::Address`] can be connected to as it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TargetName {
    /// `127.0.0.1:9001`: an address.
    Address(TargetAddress),
    /// `shop.internal:8080`: a host whose addresses DNS knows, and a port.
    Host {
        /// The host.
        host: DnsName,
        /// The port at each of its addresses.
        port: NonZeroU16,
    },
    /// `srv:_http._tcp.shop.internal`: SRV records say hosts and ports.
    Service(DnsName),
}

impl TargetName {
    /// Whether DNS has to be asked where it is.
    #[must_use]
    pub fn is_of_dns(&self) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Host { .. } | Self::Service(_) => true,
        }
    }

    /// As written, with the address where that is another:
    /// `shop.internal:8080 (10.0.0.7:8080)`.
    #[must_use]
    pub fn shown_at(&self, address: TargetAddress) -> String {
        match self {
            Self::Address(written) => written.to_string(),
            Self::Host { .. } | Self::Service(_) => format!("{self} ({address})"),
        }
    }
}

impl From<TargetAddress> for TargetName {
    fn from(address: TargetAddress) -> Self {
        Self::Address(address)
    }
}

impl From<SocketAddr> for TargetName {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address.into())
    }
}

impl FromStr for TargetName {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.parse::<SocketAddr>().is_ok() {
            return text.parse().map(Self::Address);
        }
        let shown = || text.chars().take(80).collect::<String>();
        let named = |error| TargetError::NotName { text: shown(), error };
        if let Some((host, port)) = host_and_port(text) {
            let port = NonZeroU16::new(port).ok_or_else(|| TargetError::PortZero { text: shown() });
            return Ok(Self::Host { port: port?, host: host.parse().map_err(named)? });
        }
        match text.strip_prefix(SERVICE_PREFIX) {
            Some(name) => name.parse().map(Self::Service).map_err(named),
            None => Err(TargetError::NotAddress { text: shown() }),
        }
    }
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    Some((host, port.parse().ok().filter(|_| digits)?))
}

impl TryFrom<String> for TargetName {
    type Error = TargetError;
    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<TargetName> for String {
    fn from(name: TargetName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => fmt::Display::fmt(address, f),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "{SERVICE_PREFIX}{name}"),
        }
    }
}

const SERVICE_PREFIX: &str = "srv:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_a_host_with_a_port_or_a_name_of_srv_records() {
        let read = |text: &str| text.parse::<TargetName>();
        for good in [
            "127.0.0.1:9001",
            "[::1]:9001",
            "shop.internal:8080",
            "localhost:80",
            "srv:80",
            "srv:_http._tcp.shop.internal",
            "srv:shop.service.consul.",
        ] {
            assert_eq!(read(good).expect("valid").to_string(), good);
        }
        assert!(matches!(read("127.0.0.1:9001"), Ok(TargetName::Address(_))));
        assert!(matches!(read("srv:80"), Ok(TargetName::Host { .. })));
        assert!(matches!(read("srv:a.b"), Ok(TargetName::Service(_))));
        let refused = |text: &str| read(text).expect_err("refused");
        assert!(matches!(refused("127.0.0.1:0"), TargetError::PortZero { .. }));
        assert!(matches!(refused("shop:0"), TargetError::PortZero { .. }));
        for bad in ["", "shop", ":80", "shop:", "shop:+80", "shop:99999", "127.0.0.1"] {
            assert!(matches!(refused(bad), TargetError::NotAddress { .. }), "{bad}");
        }
        for bad in ["127.0.0.300:80", "a b:80", "srv:", "srv:a b", "::1:80", "srv:a.b:80"] {
            assert!(matches!(refused(bad), TargetError::NotName { .. }), "{bad}");
        }
    }

    #[test]
    fn the_address_is_shown_where_it_is_another() {
        let address: TargetAddress = "10.0.0.7:8080".parse().expect("valid");
        assert_eq!(TargetName::from(address).shown_at(address), "10.0.0.7:8080");
        let name: TargetName = "shop.internal:8080".parse().expect("valid");
        assert_eq!(name.shown_at(address), "shop.internal:8080 (10.0.0.7:8080)");
    }
}
