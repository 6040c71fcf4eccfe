//! What a log begins with, and begins with anew.

use serde::{Deserialize, Serialize};

use crate::core::analysis::comparison::{Rules, Saved};
use crate::core::model::{AnalysisTerms, RolloutId, ServiceName, Span};

/// Why records begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The rollout did.
    Start,
    /// The process did; what was in flight before is not seen again.
    Restart,
    /// Records before these were lost.
    Gap,
}

/// What the records that follow go by: the policy, and what the comparison goes on from.
///
/// How it is written down is for others to say; here it is bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Why they begin.
    pub cause: Cause,
    /// The release that writes them.
    pub release: String,
    /// The rollout.
    pub rollout: RolloutId,
    /// Its service.
    pub service: ServiceName,
    /// The policy.
    pub terms: AnalysisTerms,
    /// How long a request may take to be answered.
    pub longest: Span,
    /// What the comparison goes on from; `None` if it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Box<Saved>>,
}

impl Head {
    /// The rules of its policy; `None` if it is none that anything can be compared by.
    #[must_use]
    pub fn rules(&self) -> Option<Rules> {
        Rules::agreed(&self.terms, self.longest).ok().flatten()
    }
}

#[cfg(test)]
impl Head {
    /// That of a rollout which begins, with the usual policy and no objective.
    pub(crate) fn example() -> Self {
        let compared = Some(crate::core::model::AnalysisSpec::default());
        Self {
            cause: Cause::Start,
            release: "1.0.0".to_owned(),
            rollout: "d-ABCDEFGHI".parse().expect("an id"),
            service: "shop".parse().expect("a name"),
            terms: AnalysisTerms { compared, ..AnalysisTerms::default() },
            longest: Span::from_secs(1),
            saved: None,
        }
    }
}
