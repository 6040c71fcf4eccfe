//! The planned steps of a rollout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::model::{self, OnApprovalTimeout, Span, Weight};
use crate::core::rollout::Spec;

/// One step: a weight and its bake, or a wait for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Step {
    /// Move and bake.
    Shift {
        /// Green's weight.
        #[schema(value_type = String, example = "10%")]
        weight: Weight,
        /// The same in basis points.
        green_bp: u16,
        /// Watched time at that weight.
        #[schema(value_type = String, example = "5m")]
        bake: Span,
        /// The same in milliseconds.
        bake_ms: u64,
        /// How many green requests it asks for; absent if it asks for none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        samples: Option<u64>,
        /// Whether it asks for the comparison's certificate.
        evidence: bool,
        /// Whether it is over as soon as the certificate is there.
        #[serde(default)]
        promote_early: bool,
    },
    /// Wait for a person before the next one.
    Approval {
        /// For how long, and what then.
        approval: ApprovalStep,
    },
}

/// A person's yes that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalStep {
    /// How long.
    #[schema(value_type = String, example = "1h")]
    pub timeout: Span,
    /// The same in milliseconds.
    pub timeout_ms: u64,
    /// What happens then: `rollback`, `stop` or `continue`.
    #[schema(value_type = String, example = "rollback")]
    pub on_timeout: OnApprovalTimeout,
}

/// The bake after the last step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FinalBake {
    /// Its length.
    #[serde(rename = "for")]
    #[schema(value_type = String, example = "15m")]
    pub length: Span,
    /// The same in milliseconds.
    #[serde(rename = "for_ms")]
    pub length_ms: u64,
    /// Blue's share while it lasts; absent if green has everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "50%")]
    pub keep_blue: Option<Weight>,
}

impl Step {
    /// The steps of a rollout, with the weights that will be set.
    pub(in crate::admin) fn all(spec: &Spec) -> Vec<Self> {
        let as_set = |(index, step): (usize, &model::Step)| {
            spec.shift_at(index)
                .map_or_else(|| step.into(), |shift| (&model::Step::Shift(shift)).into())
        };
        spec.steps.iter().enumerate().map(as_set).collect()
    }
}

impl From<&model::Step> for Step {
    fn from(step: &model::Step) -> Self {
        match step {
            model::Step::Shift(shift) => Self::Shift {
                weight: shift.weight,
                green_bp: shift.weight.bp(),
                bake: shift.bake,
                bake_ms: shift.bake.ms(),
                samples: shift.samples,
                evidence: shift.evidence_pass,
                promote_early: shift.promote_early,
            },
            model::Step::Approval(approval) => Self::Approval {
                approval: ApprovalStep {
                    timeout: approval.timeout,
                    timeout_ms: approval.timeout.ms(),
                    on_timeout: approval.on_timeout,
                },
            },
        }
    }
}

impl From<model::FinalBake> for FinalBake {
    fn from(bake: model::FinalBake) -> Self {
        Self { length: bake.length, length_ms: bake.length.ms(), keep_blue: bake.keep_blue }
    }
}
