//! The world outside of the host, as gates see it that were granted some of it.
//!
//! It is a trait so that a gate can be tried with a clock, chance and answers that are written
//! down. What a gate may do is decided before it: whoever implements this is asked only for what
//! was granted.

use std::fmt;
use std::pin::Pin;

use crate::core::model::{HttpGrant, Span, WallTime};

/// A request that a grant permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// The method.
    pub method: String,
    /// Whether it goes over TLS.
    pub is_https: bool,
    /// The host's name without a dot at its end, or its address; one of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Host and port as a `Host` header has them.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case and values; none of those that are the host's to set.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The grant: it says which addresses may be connected to.
    pub grant: HttpGrant,
    /// How long the whole exchange may take.
    pub timeout: Span,
    /// The longest body of a response in bytes.
    pub longest_body: usize,
}

impl OutgoingRequest {
    /// Method and URL.
    #[must_use]
    pub fn line(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{} {scheme}://{}{}", self.method, self.authority, self.path)
    }
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingResponse {
    /// The status.
    pub status: u16,
    /// Names in lower case and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Why there is no response; the words of the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The configuration does not permit it.
    #[error("{0}")]
    Denied(String),
    /// No such request can be sent.
    #[error("{0}")]
    Invalid(String),
    /// No address, no connection, no TLS.
    #[error("{0}")]
    Unreachable(String),
    /// The answer was not there in time.
    #[error("no answer within {0}")]
    Timeout(Span),
    /// The answer is too long.
    #[error("the body of the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// What came back is no HTTP.
    #[error("{0}")]
    Broken(String),
}

impl FetchError {
    /// The word in the contract.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::TooLarge(_) => "too-large",
            Self::Broken(_) => "broken",
        }
    }
}

/// A response on its way.
pub type Fetching<'a> =
    Pin<Box<dyn Future<Output = Result<IncomingResponse, FetchError>> + Send + 'a>>;

/// What one evaluation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCost {
    /// Time in microseconds: of the check of its parameters, a fresh store and instance, the
    /// evaluation, and the end of them.
    pub micros: u64,
    /// The most linear memory in bytes, all memories together.
    pub memory_bytes: u64,
    /// Units of fuel.
    pub fuel: u64,
    /// Calls into the host.
    pub host_calls: u32,
}

/// The world outside.
pub trait Outside: Send + Sync + fmt::Debug {
    /// The time of day.
    fn wall(&self) -> WallTime;

    /// Fills in chance.
    fn fill(&self, bytes: &mut [u8]);

    /// Sends a request and waits for the whole answer, no longer than the request says. It must
    /// not block, and ends when it is dropped.
    fn fetch<'a>(&'a self, request: &'a OutgoingRequest) -> Fetching<'a>;

    /// Hears a line that a gate logs; for whoever tries a gate. It must not block.
    fn logged(&self, level: &'static str, text: &str) {
        let _ = (level, text);
    }

    /// Hears what an evaluation took, before its answer is given; for whoever tries a gate. It
    /// must not block.
    fn took(&self, cost: CallCost) {
        let _ = cost;
    }
}
