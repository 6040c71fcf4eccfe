//! Where targets come from that are not written as addresses: names that DNS is asked about again
//! and again, and files that list targets.
//!
//! One task per name asks when the last answer has run out, one per file looks whether it is another
//! one now. What they find waits on a board until the writer takes it at its next look; nothing here
//! decides anything. What fails changes nothing: a name keeps its last addresses and a file its last
//! good list, so that targets outlive the DNS server that told of them.

mod board;
mod client;
mod file;
mod heard;
mod job;
mod lookup;
mod resolver;

#[cfg(test)]
mod fake;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::core::model::{ResolverSpec, Span, TargetAddress, TargetGroupName, TargetName};

pub use heard::{HeardList, ListCount, ListNumber};
pub use resolver::{Resolver, check_names};

#[cfg(test)]
pub(crate) use fake::{Dns, Record};

/// What is to be kept up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How DNS is asked.
    pub spec: ResolverSpec,
    /// The names.
    pub names: BTreeSet<TargetName>,
    /// The files that list a group's targets.
    pub files: BTreeMap<TargetGroupName, PathBuf>,
}

/// What is another since it was last asked for.
#[derive(Debug, Default)]
pub struct News {
    /// The addresses of names, never none.
    pub answers: BTreeMap<TargetName, Vec<TargetAddress>>,
    /// The lists of files.
    pub lists: BTreeMap<TargetGroupName, HeardList>,
}

/// Why a name has no addresses now, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// DNS does not know the name.
    #[error("there is no such name")]
    NoSuchName,
    /// DNS knows the name, and no address of it.
    #[error("it has no address")]
    NoAddress,
    /// No answer in time.
    #[error("no answer within {after}")]
    Timeout {
        /// The time that it had.
        after: Span,
    },
    /// Anything else.
    #[error("{text}")]
    Failed {
        /// What was wrong, shortened.
        text: String,
    },
}

impl LookupError {
    fn failed(error: &impl std::fmt::Display) -> Self {
        Self::Failed { text: error.to_string().chars().take(TEXT_LIMIT).collect() }
    }
}

const TEXT_LIMIT: usize = 120;
