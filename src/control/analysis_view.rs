//! What others see of a rollout's comparison, and what is kept of it when the rollout is over.

use serde::{Deserialize, Serialize};

use crate::core::analysis::verdict::Word;
use crate::core::model::{Objective, Side};
use crate::core::rollout::{GateEvidence, GateMetric};

/// A comparison as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisView {
    /// The answer.
    pub verdict: Word,
    /// The answer in words.
    pub text: String,
    /// At most this likely was so much evidence, or more, against a green that is within tolerance.
    pub p_value: f64,
    /// The largest evidence against green so far; 1 is none.
    pub evidence: f64,
    /// The evidence that takes the traffic back.
    pub needed: f64,
    /// Which rollout of the same revision it is, from 1: each needs more evidence.
    pub attempt: u32,
    /// So many times as often as blue green fails, at least; `None` if that is not shown.
    pub at_least: Option<f64>,
    /// How many green requests a certificate misses; `None` where that is not known.
    pub missing: Option<u64>,
    /// Metric by metric.
    pub metrics: Vec<MetricView>,
    /// The cohort at which the evidence sufficed; `None` if it never did.
    pub cohort: Option<u64>,
    /// The epoch of that cohort.
    pub epoch: Option<u64>,
    /// The service level objective; `None` without one.
    pub slo: Option<Objective>,
    /// The evidence with which green's absolute process alarmed; `None` if it did not.
    pub green_alarm: Option<f64>,
    /// Likewise blue's.
    pub blue_alarm: Option<f64>,
    /// Green requests that failed after their answer's headers; they are not compared.
    pub green_late_failures: u64,
    /// Blue requests that did.
    pub blue_late_failures: u64,
    /// Why the weight is held by what was seen; empty if it is not.
    pub freezes: Vec<String>,
    /// Whether the evidence rests on one target of green alone, and is not acted on for that.
    pub one_target: bool,
    /// Targets of green that were taken out because all the evidence rested on each, the first one
    /// first.
    #[serde(default)]
    pub ejected: Vec<String>,
    /// What is not compared just now, and why; empty if everything is.
    #[serde(default)]
    pub resting: Vec<String>,
    /// How fast green and blue use up what the objective permits; empty without one.
    #[serde(default)]
    pub burns: Vec<BurnView>,
}

/// How many times as fast as its objective permits a side has failed, over several windows; `None`
/// where it had no requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnView {
    /// The side.
    pub side: Side,
    /// `within`, `insufficient`, `ticket` or `page`.
    pub says: String,
    /// Over five minutes.
    pub over_5m: Option<f64>,
    /// Over half an hour.
    pub over_30m: Option<f64>,
    /// Over an hour.
    pub over_1h: Option<f64>,
    /// Over six hours.
    pub over_6h: Option<f64>,
    /// Over three days.
    pub over_3d: Option<f64>,
}

impl AnalysisView {
    /// Whether a side was found to break the objective: by its absolute process, or by its burn
    /// rate now.
    #[must_use]
    pub fn breaks_objective(&self, side: Side) -> bool {
        let alarm = match side {
            Side::Green => self.green_alarm,
            Side::Blue => self.blue_alarm,
        };
        let pages = |burn: &BurnView| burn.side == side && burn.says == "page";
        alarm.is_some() || self.burns.iter().any(pages)
    }
}

impl From<AnalysisView> for GateEvidence {
    fn from(view: AnalysisView) -> Self {
        let metric = |metric: MetricView| GateMetric {
            name: metric.metric,
            blue: (metric.blue, metric.blue_bad),
            green: (metric.green, metric.green_bad),
            share: metric.share,
        };
        Self {
            verdict: view.verdict.as_str(),
            reason: view.text,
            evidence: view.evidence,
            needed: view.needed,
            p_value: view.p_value,
            lower_bound: view.at_least,
            missing: view.missing,
            metrics: view.metrics.into_iter().map(metric).collect(),
        }
    }
}

/// One metric of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricView {
    /// Its name: `errors`, `client4xx`, `lat_p50`, `lat_p90` or `lat_p99`.
    pub metric: String,
    /// Its part of the evidence, 0..=1.
    pub share: f64,
    /// Settled green requests, of the present step or of that of the verdict.
    pub green: u64,
    /// The bad ones of them.
    pub green_bad: u64,
    /// Blue's.
    pub blue: u64,
    /// The bad ones of them.
    pub blue_bad: u64,
    /// More than this is slow on green, in microseconds; `None` for counts, and without a
    /// threshold.
    pub green_slow_us: Option<u64>,
    /// More than this is slow on blue.
    pub blue_slow_us: Option<u64>,
}
