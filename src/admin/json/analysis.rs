//! The comparison of green with blue in a rollout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::{AnalysisView, BurnView, MetricView};
use crate::core::model::Side;

/// The comparison of green with blue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Analysis {
    /// `pass`, `fail`, `insufficient`, `unavailable`, or `none` where there is nothing to compare.
    #[schema(example = "insufficient")]
    pub comparison: String,
    /// The same in words, with the reason.
    #[schema(example = "not enough is known: about 312 more green requests")]
    pub text: String,
    /// At most so likely was as much evidence against a green that is within tolerance.
    #[schema(example = 0.04)]
    pub p_value: f64,
    /// The largest evidence against green so far; 1 is none.
    pub evidence: f64,
    /// The evidence that takes the traffic back.
    pub evidence_needed: f64,
    /// Which rollout of the same revision it is, from 1: each needs more evidence.
    pub attempt: u32,
    /// Green fails at least so many times as often as blue; absent if that is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// How many green requests a certificate misses; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Metric by metric.
    pub metrics: Vec<MetricEvidence>,
    /// The arrival cohort at which the evidence sufficed; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<u64>,
    /// The epoch of that cohort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The service level objective; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "99.9%")]
    pub slo: Option<String>,
    /// Whether green was found to break it.
    pub green_breaks_slo: bool,
    /// Whether blue was.
    pub blue_breaks_slo: bool,
    /// Green requests that failed after their answer's headers; they are not compared.
    pub green_late_failures: u64,
    /// Blue requests that did.
    pub blue_late_failures: u64,
    /// Why the weight is held by what was seen; empty if it is not.
    pub freezes: Vec<String>,
    /// Whether the evidence rests on one target of green alone, and is not acted on for that.
    pub one_target: bool,
    /// Targets of green that were taken out because all the evidence rested on each, and for how
    /// long.
    pub ejected: Vec<String>,
    /// What is not compared just now, and why; empty if everything is.
    pub resting: Vec<String>,
    /// How fast green and blue use up what the objective permits; empty without one.
    pub burn_rates: Vec<BurnRates>,
}

/// How many times as fast as the objective permits a side has failed; a window without requests is
/// absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BurnRates {
    /// `green` or `blue`.
    #[schema(example = "green")]
    pub side: String,
    /// `within`, `insufficient`, `ticket` or `page`.
    #[schema(example = "within")]
    pub says: String,
    /// Over five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_5m: Option<f64>,
    /// Over half an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_30m: Option<f64>,
    /// Over an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_1h: Option<f64>,
    /// Over six hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_6h: Option<f64>,
    /// Over three days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_3d: Option<f64>,
}

/// One metric of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricEvidence {
    /// `errors`, `client4xx`, `lat_p50`, `lat_p90` or `lat_p99`.
    #[schema(example = "errors")]
    pub metric: String,
    /// Its part of the evidence, 0 to 1.
    pub share: f64,
    /// Green requests whose outcome is known, of the present step or of that of the verdict.
    pub green: u64,
    /// The bad ones of them.
    pub green_bad: u64,
    /// Blue requests likewise.
    pub blue: u64,
    /// The bad ones of them.
    pub blue_bad: u64,
    /// More than this is slow on green, in microseconds; absent for counts and without a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green_slow_us: Option<u64>,
    /// More than this is slow on blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_slow_us: Option<u64>,
}

impl From<&AnalysisView> for Analysis {
    fn from(view: &AnalysisView) -> Self {
        Self {
            comparison: view.verdict.as_str().to_owned(),
            text: view.text.clone(),
            p_value: view.p_value,
            evidence: view.evidence,
            evidence_needed: view.needed,
            attempt: view.attempt,
            at_least: view.at_least,
            missing: view.missing,
            metrics: view.metrics.iter().map(MetricEvidence::from).collect(),
            cohort: view.cohort,
            epoch: view.epoch,
            slo: view.slo.map(|slo| slo.to_string()),
            green_breaks_slo: view.breaks_objective(Side::Green),
            blue_breaks_slo: view.breaks_objective(Side::Blue),
            green_late_failures: view.green_late_failures,
            blue_late_failures: view.blue_late_failures,
            freezes: view.freezes.clone(),
            one_target: view.one_target,
            ejected: view.ejected.clone(),
            resting: view.resting.clone(),
            burn_rates: view.burns.iter().map(BurnRates::from).collect(),
        }
    }
}

impl From<&BurnView> for BurnRates {
    fn from(view: &BurnView) -> Self {
        Self {
            side: view.side.as_str().to_owned(),
            says: view.says.clone(),
            over_5m: view.over_5m,
            over_30m: view.over_30m,
            over_1h: view.over_1h,
            over_6h: view.over_6h,
            over_3d: view.over_3d,
        }
    }
}

impl From<&MetricView> for MetricEvidence {
    fn from(view: &MetricView) -> Self {
        Self {
            metric: view.metric.clone(),
            share: view.share,
            green: view.green,
            green_bad: view.green_bad,
            blue: view.blue,
            blue_bad: view.blue_bad,
            green_slow_us: view.green_slow_us,
            blue_slow_us: view.blue_slow_us,
        }
    }
}
