//! Words of people: reasons and descriptions.
//!
//! They end up in the ledger and on terminals, so they are bounded and have no control characters
//! that could drive one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a text cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProseError {
    /// Too long.
    #[error("a text has at most {limit} characters, this one has {length}")]
    TooLong {
        /// The most characters.
        limit: usize,
        /// The characters found.
        length: usize,
    },
    /// Has a control character other than a line break or a tab.
    #[error("a text has no control characters, found {found:?}")]
    Control {
        /// The first one.
        found: char,
    },
}

/// A person's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, max_length = 2000)]
pub struct Prose(String);

impl Prose {
    /// The most characters.
    pub const LIMIT: usize = 2_000;
}

impl TryFrom<String> for Prose {
    type Error = ProseError;

    fn try_from(text: String) -> Result<Self, ProseError> {
        let length = text.chars().count();
        if length > Self::LIMIT {
            return Err(ProseError::TooLong { limit: Self::LIMIT, length });
        }
        match text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t') {
            Some(found) => Err(ProseError::Control { found }),
            None => Ok(Self(text)),
        }
    }
}

impl From<Prose> for String {
    fn from(prose: Prose) -> Self {
        prose.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bounded_and_cannot_drive_a_terminal() {
        assert!(Prose::try_from("looks fine,\n\tgo on — ü".to_owned()).is_ok());
        assert!(Prose::try_from("\u{1b}[2J".to_owned()).is_err());
        assert!(Prose::try_from("x".repeat(2_000)).is_ok());
        assert!(Prose::try_from("x".repeat(2_001)).is_err());
    }
}
