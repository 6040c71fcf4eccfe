//! Whether a gate can be asked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a gate can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateReadiness {
    /// It is compiled, and asked.
    Ready,
    /// It is compiled, and left alone for a while: it failed again and again.
    CircuitOpen,
    /// It has a component, which the host refused or does not have yet.
    NotLoaded,
    /// It has no component: nothing was uploaded for it, or nothing that may be used.
    NoComponent,
}

impl GateReadiness {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::CircuitOpen => "circuit_open",
            Self::NotLoaded => "not_loaded",
            Self::NoComponent => "no_component",
        }
    }
}

impl fmt::Display for GateReadiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
