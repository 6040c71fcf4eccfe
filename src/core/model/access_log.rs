//! The access log as it is configured.

use std::path::PathBuf;

use super::Weight;

/// Where requests are logged, which of them, and how many lines may wait to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSpec {
    /// The file; lines are appended.
    pub path: PathBuf,
    /// The most lines that wait to be written; further ones are dropped and counted.
    pub buffer: usize,
    /// The share of requests that are logged.
    pub sample: Weight,
    /// Whether paths are logged with their query.
    pub query: bool,
}
