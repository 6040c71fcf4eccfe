//! What the comparison of green with blue goes by, as it is configured.
//!
//! Integers alone, so that a rollout's snapshot of it is read back as it was written: ratios in
//! thousandths, shares in basis points.

use serde::{Deserialize, Serialize};

use super::{Objective, Span, Weight};

/// Margins with a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginPreset {
    /// Green may be no worse at all.
    Strict,
    /// A little worse.
    #[default]
    Default,
    /// Half worse.
    Lenient,
}

/// What to do when green and blue both break the objective and green is not the worse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedDegradation {
    /// Hold the weights and tell somebody.
    #[default]
    Hold,
    /// Roll back.
    Rollback,
}

/// How much worse green may be in one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarginSpec {
    /// So many times as often as blue, in thousandths; `None` takes the usual value.
    pub ratio_milli: Option<u32>,
    /// And so many percentage points more; `None` takes the usual value.
    pub delta: Option<Weight>,
}

/// How a service's rollouts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalysisSpec {
    /// The margins of metrics without own ones.
    pub preset: MarginPreset,
    /// Own margins of errors, client errors, and the latencies' median, 90th and 99th percentile.
    pub margins: [MarginSpec; 5],
    /// What green must be better than for a certificate, in errors and client errors.
    pub certificate: [MarginSpec; 2],
    /// At most this share of the rollouts of a healthy revision is rolled back by the comparison.
    pub alpha: Weight,
    /// At most this share of the certificates is wrong.
    pub beta: Weight,
    /// For how long failures of one green target that has just answered well count as one; zero
    /// counts them all.
    pub cluster_guard: Span,
    /// From how many green targets on a rollback must stand without any one of them; `None` never
    /// asks that.
    pub leave_one_out: Option<u32>,
    /// By which part of blue's latency green may be slower, in basis points.
    pub latency_relative_bp: u32,
    /// And by how much.
    pub latency_absolute: Span,
    /// What shared degradation does.
    pub on_shared_degradation: SharedDegradation,
}

impl Default for AnalysisSpec {
    fn default() -> Self {
        Self {
            preset: MarginPreset::default(),
            margins: [MarginSpec::default(); 5],
            certificate: [MarginSpec::default(); 2],
            alpha: Weight::from_bp(10).expect("0.1% is a weight"),
            beta: Weight::from_bp(500).expect("5% is a weight"),
            cluster_guard: Span::from_secs(1),
            leave_one_out: Some(3),
            latency_relative_bp: 1_000,
            latency_absolute: Span::from_ms(2),
            on_shared_degradation: SharedDegradation::default(),
        }
    }
}

/// What one rollout is compared by: fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalysisTerms {
    /// How; `None` compares nothing, as does a rollout of a release that could not.
    pub compared: Option<AnalysisSpec>,
    /// The service level objective; `None` without one.
    pub slo: Option<Objective>,
    /// Whether users and not requests are drawn.
    pub sticky: bool,
    /// Which rollout of the same revision of the service it is, from 1: each has a smaller part of
    /// alpha.
    pub attempt: u32,
}

impl Default for AnalysisTerms {
    fn default() -> Self {
        Self { compared: None, slo: None, sticky: false, attempt: 1 }
    }
}
