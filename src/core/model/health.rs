//! Health checks and health floors as they are configured, and the health of targets and groups as
//! it is seen.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Span, Weight};

/// The reason why a pair of numbers is not a range of HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusRangeError {
    /// Not `200` or `200-399`.
    #[error("{text:?} is not a status or a range of statuses: for example \"200\" or \"200-399\"")]
    NotRange {
        /// What was written.
        text: String,
    },
}

/// A range of HTTP statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// 200 to 299.
    pub const SUCCESS: Self = Self { first: 200, last: 299 };

    /// Whether the range contains a status.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl std::str::FromStr for StatusRange {
    type Err = StatusRangeError;

    fn from_str(text: &str) -> Result<Self, StatusRangeError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last))
                if (100..=599).contains(&first) && (first..=599).contains(&last) =>
            {
                Ok(Self { first, last })
            }
            _ => Err(StatusRangeError::NotRange { text: text.chars().take(40).collect() }),
        }
    }
}

impl TryFrom<String> for StatusRange {
    type Error = StatusRangeError;
    fn try_from(text: String) -> Result<Self, StatusRangeError> {
        text.parse()
    }
}

impl From<StatusRange> for String {
    fn from(range: StatusRange) -> Self {
        if range.first == range.last {
            range.first.to_string()
        } else {
            format!("{}-{}", range.first, range.last)
        }
    }
}

/// What a health check asks a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A GET of this path must be answered with a status in the range.
    Http {
        /// Path and query.
        path: String,
        /// The `Host` header; `None` sends the target's address.
        host: Option<String>,
        /// The statuses that count as healthy.
        expected: StatusRange,
    },
    /// A TCP connection must be accepted.
    Tcp,
    /// The gRPC health protocol (`grpc.health.v1.Health/Check`) must say `SERVING`, over HTTP/2.
    Grpc {
        /// The service asked about; empty for the server as a whole.
        service: String,
    },
}

/// How a service's targets are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks of one target.
    pub interval: Span,
    /// Time a check may take, connecting included.
    pub timeout: Span,
    /// How many successes in a row make a target healthy (rise).
    pub healthy_after: u32,
    /// How many failures in a row make it unhealthy (fall).
    pub unhealthy_after: u32,
    /// When a target that keeps changing is held unhealthy.
    #[serde(default)]
    pub flaps: FlapDamping,
}

/// When a target whose health keeps changing is held unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlapDamping {
    /// How many changes within ten minutes are borne; 0 bears any number.
    pub limit: u32,
    /// How long its checks must then pass without a break before it counts as healthy.
    pub hold: Span,
}

impl Default for FlapDamping {
    fn default() -> Self {
        Self { limit: 5, hold: Span::from_secs(60) }
    }
}

/// The share of healthy targets below which a side cannot be trusted with traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthFloor {
    /// Green's floor: below it a rollout is a regression.
    pub green: Weight,
    /// Blue's floor: below it no automatic rollback goes there.
    pub blue: Weight,
}

impl Default for HealthFloor {
    fn default() -> Self {
        let half = Weight::from_bp(5_000).expect("5000 basis points are a weight");
        Self { green: half, blue: half }
    }
}

/// What is known of a target's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetHealth {
    /// Not checked yet: used only when no target is healthy, and not counted as healthy.
    Unknown,
    /// Passed its checks, or has none.
    Healthy,
    /// Failed its checks.
    Unhealthy,
}

impl TargetHealth {
    /// The word in logs and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for TargetHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many of a group's targets are healthy at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupHealth {
    /// Registered targets.
    pub targets: u32,
    /// Those that may be given requests; all of them where there is no health check.
    pub healthy: u32,
    /// Those whose checks have not decided yet, as after a start or a registration.
    pub unknown: u32,
}

impl GroupHealth {
    /// Whether at least this share of the targets is healthy; an empty group never is.
    #[must_use]
    pub fn reaches(self, floor: Weight) -> bool {
        floor.is_reached_by(self.healthy, self.targets)
    }

    /// Whether what is known puts the group below a floor: too few of the targets whose checks
    /// have decided are healthy, or there are no targets. A target that was just registered says
    /// nothing yet, for or against.
    #[must_use]
    pub fn falls_below(self, floor: Weight) -> bool {
        let decided = self.targets.saturating_sub(self.unknown);
        self.targets == 0 || (decided > 0 && !floor.is_reached_by(self.healthy, decided))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_statuses_and_ranges() {
        let range: StatusRange = "200-399".parse().expect("valid");
        assert!(range.contains(200) && range.contains(399) && !range.contains(400));
        assert_eq!(String::from(range), "200-399");
        assert_eq!("204".parse::<StatusRange>().map(String::from), Ok("204".to_owned()));
        for bad in ["", "99", "399-200", "600", "2xx"] {
            assert!(bad.parse::<StatusRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_group_reaches_no_floor() {
        let health = |healthy, targets| GroupHealth { targets, healthy, unknown: 0 };
        let floor = HealthFloor::default().green;
        assert_eq!(floor.bp(), 5_000);
        assert!(health(1, 2).reaches(floor));
        assert!(!health(1, 3).reaches(floor));
        assert!(!health(0, 0).reaches(Weight::ZERO));
        assert!(health(0, 0).falls_below(floor));
    }

    #[test]
    fn a_target_that_was_just_registered_says_nothing_yet() {
        let floor = HealthFloor::default().green;
        let check = |healthy, unknown, expected: bool| {
            let health = GroupHealth { targets: 4, healthy, unknown };
            assert_eq!(health.falls_below(floor), expected, "{health:?}");
        };
        check(1, 3, false);
        check(0, 4, false);
        check(0, 3, true);
        check(1, 1, true);
        assert!(!GroupHealth { targets: 4, healthy: 1, unknown: 3 }.reaches(floor));
    }
}
