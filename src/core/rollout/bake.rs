//! Time spent at a weight while watching.

use serde::{Deserialize, Serialize};

use crate::core::model::Span;

use super::Round;

/// A bake under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bake {
    /// How long it is meant to be.
    pub length: Span,
    /// The time watched so far.
    pub watched: Span,
    /// Green requests scored in it.
    pub scored: u64,
    /// The gates that are asked again and again.
    pub during: Round,
}

impl Bake {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.watched >= self.length
    }
}
