//! Targets and target groups: where requests go.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DnsNameError, TargetGroupName, TargetName};

/// The reason why a text is not a target's address, or a list not a target group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not `host:port`.
    #[error(
        "{text:?} is not a target: write `host:port`, for example \"127.0.0.1:9001\" or \"shop.internal:8080\", or `srv:` and a name of SRV records"
    )]
    NotAddress {
        /// What was written.
        text: String,
    },
    /// Neither an IP address nor a host name.
    #[error("{text:?} is not a target: {error}")]
    NotName {
        /// What was written.
        text: String,
        /// What is wrong with the name.
        error: DnsNameError,
    },
    /// Port 0.
    #[error("{text:?} has port 0")]
    PortZero {
        /// What was written.
        text: String,
    },
    /// The same target twice.
    #[error("target {address} is listed twice")]
    Duplicate {
        /// The target.
        address: TargetName,
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

/// The address of one upstream endpoint: what can be connected to.
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
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => Err(TargetError::PortZero { text: shown() }),
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(TargetError::NotAddress { text: shown() }),
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

/// One target as it is declared or registered. A name of DNS may stand for several endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Target {
    /// Where it is, as written.
    pub address: TargetName,
}

/// A named set of targets, each once, in the order given.
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
    /// A target listed twice, or more than [`Self::LIMIT`] targets.
    pub fn new(name: TargetGroupName, targets: Vec<Target>) -> Result<Self, TargetError> {
        if targets.len() > Self::LIMIT {
            return Err(TargetError::TooMany { limit: Self::LIMIT, count: targets.len() });
        }
        let mut seen = std::collections::BTreeSet::new();
        let twice = targets.iter().find(|target| !seen.insert(&target.address)).cloned();
        match twice {
            Some(Target { address }) => Err(TargetError::Duplicate { address }),
            None => Ok(Self { name, targets: targets.into() }),
        }
    }

    /// The same group with other targets.
    ///
    /// # Errors
    /// A target listed twice, or more than [`Self::LIMIT`] targets.
    pub fn with_targets(&self, targets: Vec<Target>) -> Result<Self, TargetError> {
        let Self { targets, .. } = Self::new(self.name.clone(), targets)?;
        Ok(Self { targets, ..self.clone() })
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
        assert!(matches!(kind("shop:80"), TargetError::NotAddress { .. }));
        assert!(matches!(kind("127.0.0.1"), TargetError::NotAddress { .. }));
        assert!(matches!(kind("127.0.0.1:0"), TargetError::PortZero { .. }));
        assert!(matches!(kind("127.0.0.1:99999"), TargetError::NotAddress { .. }));
    }

    #[test]
    fn a_group_refuses_an_address_twice() {
        let name: TargetGroupName = "a".parse().expect("valid");
        let target = Target { address: "127.0.0.1:1".parse().expect("valid") };
        assert!(TargetGroup::new(name.clone(), vec![target.clone(), target.clone()]).is_err());
        let empty = TargetGroup::new(name, vec![]).expect("valid");
        assert_eq!(empty.with_targets(vec![target.clone()]).expect("valid").targets(), [target]);
    }
}
