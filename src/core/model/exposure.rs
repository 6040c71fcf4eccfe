//! How much of a service's traffic sees green: the one type in which routing and rollouts meet.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Split;

/// Which of the two roles a request was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What served before the rollout.
    Blue,
    /// What is being rolled out.
    Green,
}

impl Side {
    /// The word in labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The key of a rollout's cohort hash; each rollout draws a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Salt {
    /// First half of the SipHash key.
    pub k0: u64,
    /// Second half of the SipHash key.
    pub k1: u64,
}

/// What the routing table must say about a service's green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The weights.
    pub split: Split,
    /// The salt of the present or last rollout.
    pub salt: Salt,
    /// Whether test listeners answer from green.
    pub green_exists: bool,
}

impl Exposure {
    /// What a process that starts may serve, from what the store says and what the table file
    /// says was served last: the lower weight of the two. A file of the same salt is also believed
    /// when it says that green is gone.
    #[must_use]
    pub fn lower_of(stored: Self, served: Self) -> Self {
        let green = stored.split.green().min(served.split.green());
        let same = stored.salt == served.salt;
        Self {
            split: Split::with_green(green),
            salt: stored.salt,
            green_exists: stored.green_exists && (served.green_exists || !same),
        }
    }
}
