//! Questions to Prometheus servers: instant queries, asked again and again away from whoever needs
//! the answers.
//!
//! One task per question asks once per period. The last answer waits on a board until the writer
//! looks at it; nothing here decides anything. Every question is bounded in time, in bytes, in how
//! often it is repeated and in how many run at once. A redirect is not followed: what answers
//! elsewhere is not the server that was configured. What proves who asks is read from its file for
//! each question, and stands in no log and no reason.

mod answer;
mod asker;
mod board;
mod client;
mod job;
mod secret;

#[cfg(test)]
mod fake;

use crate::core::model::{PrometheusName, Span};

pub use asker::Asker;
pub use secret::{SecretError, read_secret};

#[cfg(test)]
pub(crate) use fake::{Fake, Script, vector};

/// Something to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Which server.
    pub server: PrometheusName,
    /// The query, without placeholders.
    pub query: String,
    /// From one asking to the next.
    pub period: Span,
    /// How long an answer may take.
    pub timeout: Span,
}

/// Why there is no answer that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
struct Failure {
    /// In words.
    why: String,
    /// Whether asking again in a moment may help.
    is_passing: bool,
}

impl Failure {
    /// One that may be over in a moment.
    fn passing(why: impl Into<String>) -> Self {
        Self { why: shortened(&why.into()), is_passing: true }
    }

    /// One that somebody has to put right.
    fn lasting(why: impl Into<String>) -> Self {
        Self { why: shortened(&why.into()), is_passing: false }
    }
}

/// Words of others: bounded, and without characters that could drive a terminal.
fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_LIMIT).collect()
}

const TEXT_LIMIT: usize = 240;
