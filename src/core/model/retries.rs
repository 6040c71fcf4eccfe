//! Second attempts: which failures of a target are tried again, how often, and on which side.

use serde::{Deserialize, Serialize};

use super::Weight;

/// A method that changes something, and whose repetition changes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryMethod {
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

/// A status that says that the target could not do the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryStatus {
    /// 502.
    BadGateway,
    /// 503.
    ServiceUnavailable,
    /// 504.
    GatewayTimeout,
}

impl RetryStatus {
    /// The lowest of them.
    pub const LOWEST: u16 = 502;
    /// The highest of them.
    pub const HIGHEST: u16 = 504;

    /// The status of a code; `None` for a code that is none of them.
    #[must_use]
    pub fn of(code: u16) -> Option<Self> {
        match code {
            502 => Some(Self::BadGateway),
            503 => Some(Self::ServiceUnavailable),
            504 => Some(Self::GatewayTimeout),
            _ => None,
        }
    }
}

/// When a request gets a second attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Whether blue answers where green failed.
    pub rescue: bool,
    /// What is repeated besides GET, HEAD and OPTIONS.
    pub methods: Vec<RetryMethod>,
    /// The answers after which another target of the same side is asked.
    pub on_status: Vec<RetryStatus>,
    /// How many second attempts there may be, as a share of the requests.
    pub budget: Weight,
    /// How many second attempts a second there may be whatever the number of requests.
    pub min_per_second: u32,
    /// Whether green answers for blue while no target of blue may be tried.
    #[serde(default = "fails_open")]
    pub fail_open: bool,
}

fn fails_open() -> bool {
    RetryPolicy::default().fail_open
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            rescue: true,
            methods: Vec::new(),
            on_status: Vec::new(),
            budget: Weight::from_bp(2_000).expect("20 % is a share"),
            min_per_second: 10,
            fail_open: true,
        }
    }
}
