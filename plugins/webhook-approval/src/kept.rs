//! What the gate remembers from call to call.

use gate_kit::state;
use serde::{Deserialize, Serialize};

/// The question that was asked last. One key is enough: a service has one rollout at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is about; see [`crate::subject`].
    pub about: String,
    /// The endpoint's id of it.
    pub id: Option<String>,
    /// Whether it was approved.
    #[serde(default)]
    pub approved: bool,
}

impl Kept {
    /// What is remembered about a subject. What is about another or cannot be read is nothing.
    #[must_use]
    pub fn load(about: &str) -> Option<Self> {
        let kept: Self = serde_json::from_str(&state::get(KEY)?).ok()?;
        (kept.about == about).then_some(kept)
    }

    /// Remembers it.
    ///
    /// # Errors
    /// The host refuses it, because the id is too long.
    pub fn save(&self) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        state::set(KEY, &text)
    }

    /// Forgets what is remembered.
    ///
    /// # Errors
    /// None that the host knows.
    pub fn forget() -> Result<(), String> {
        state::set(KEY, "")
    }
}

const KEY: &str = "request";
