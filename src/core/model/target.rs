//! Targets and target groups: where requests go.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TargetGroupName;

/// The reason why a text is not a target's address, or a list not a target group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not `host:port`.
    #[error("{text:?} is not a target: write `host:port`, for example \"127.0.0.1:9001\"")]
    NotAddress {
        /// What was written.
        text: String,
    },
    /// A host name, which this version does not resolve.
    #[error(
        "{text:?} is a host name: a target is an IP address and a port, for example \"127.0.0.1:9001\""
    )]
    HostName {
        /// What was written.
        text: String,
    },
    /// Port 0.
    #[error("{text:?} has port 0")]
    PortZero {
        /// What was written.
        text: String,
    },
    /// The same address twice.
    #[error("target {address} is listed twice")]
    Duplicate {
        /// The address.
        address: TargetAddress,
    },
    /// More targets than a group may have.
    #[error("a target group has at most {limit} targets, this one has {count}")]
    TooMany {
        /// The largest permitted number.
        limit: usize,
        /// The number found.
        count: usize,
    },
}

/// The address of one upstream endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetAddress(SocketAddr);

impl TargetAddress {
    /// The address to connect to.
    #[must_use]
    pub fn socket_addr(self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for TargetAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl FromStr for TargetAddress {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let shown = || text.chars().take(80).collect::<String>();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(TargetError::PortZero { text: shown() }),
                _ => Ok(Self(address)),
            };
        }
        match text.rsplit_once(':') {
            Some((host, port))
                if port.parse::<u16>().is_ok()
                    && !host.is_empty()
                    && host.parse::<IpAddr>().is_err()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)) =>
            {
                Err(TargetError::HostName { text: shown() })
            }
            _ => Err(TargetError::NotAddress { text: shown() }),
        }
    }
}

impl TryFrom<String> for TargetAddress {
    type Error = TargetError;
    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<TargetAddress> for String {
    fn from(address: TargetAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One upstream endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Target {
    /// Where it listens.
    pub address: TargetAddress,
}

/// A named set of targets, each address once, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetGroup {
    name: TargetGroupName,
    targets: Arc<[Target]>,
}

impl TargetGroup {
    /// The most targets a group may have.
    pub const LIMIT: usize = 1_000;

    /// Makes a group.
    ///
    /// # Errors
    /// An address listed twice, or more than [`Self::LIMIT`] targets.
    pub fn new(name: TargetGroupName, targets: Vec<Target>) -> Result<Self, TargetError> {
        if targets.len() > Self::LIMIT {
            return Err(TargetError::TooMany { limit: Self::LIMIT, count: targets.len() });
        }
        let mut seen = std::collections::BTreeSet::new();
        match targets.iter().find(|t| !seen.insert(t.address)) {
            Some(twice) => Err(TargetError::Duplicate { address: twice.address }),
            None => Ok(Self { name, targets: targets.into() }),
        }
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &TargetGroupName {
        &self.name
    }

    /// Its targets.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        assert!("127.0.0.1:9001".parse::<TargetAddress>().is_ok());
        assert!("[::1]:9001".parse::<TargetAddress>().is_ok());
        let kind = |text: &str| text.parse::<TargetAddress>().expect_err("refused");
        assert!(matches!(kind("shop:80"), TargetError::HostName { .. }));
        assert!(matches!(kind("127.0.0.1"), TargetError::NotAddress { .. }));
        assert!(matches!(kind("127.0.0.1:0"), TargetError::PortZero { .. }));
        assert!(matches!(kind("127.0.0.1:99999"), TargetError::NotAddress { .. }));
    }

    #[test]
    fn a_group_refuses_an_address_twice() {
        let name: TargetGroupName = "a".parse().expect("valid");
        let target = Target { address: "127.0.0.1:1".parse().expect("valid") };
        assert!(TargetGroup::new(name.clone(), vec![target, target]).is_err());
        assert!(TargetGroup::new(name, vec![]).is_ok());
    }
}
