//! What green and blue are compared in: five ways in which a request can be bad.

use serde::{Deserialize, Serialize};

/// How many metrics there are.
pub const METRICS: usize = 5;

/// One thing per metric, in the order of [`Metric::ALL`].
pub type PerMetric<T> = [T; METRICS];

/// A way in which a request can be bad (section 2 of the analysis).
///
/// A request is scored once per metric, by the outcome of its first attempt and for the side that
/// it was assigned to. A client that left before the answer's headers is bad in `errors` and slow
/// in every latency metric, on both sides (B6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// 5xx, no connection, reset or timeout before the headers, no target, client gone before them.
    Errors,
    /// 4xx other than 401, 407 and 429.
    Client4xx,
    /// Slower than blue's median; an error counts as slow.
    LatencyP50,
    /// Slower than blue's 90th percentile; an error counts as slow.
    LatencyP90,
    /// Slower than blue's 99th percentile; an error counts as slow.
    LatencyP99,
}

impl Metric {
    /// Every metric.
    pub const ALL: PerMetric<Self> =
        [Self::Errors, Self::Client4xx, Self::LatencyP50, Self::LatencyP90, Self::LatencyP99];
    /// The metrics that ask how long an answer took.
    pub const LATENCIES: [Self; 3] = [Self::LatencyP50, Self::LatencyP90, Self::LatencyP99];

    /// Its place in a [`PerMetric`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word in files, API and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Client4xx => "client4xx",
            Self::LatencyP50 => "lat_p50",
            Self::LatencyP90 => "lat_p90",
            Self::LatencyP99 => "lat_p99",
        }
    }
}

/// Some of the metrics.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct MetricSet(u8);

impl MetricSet {
    /// No metric.
    pub const NONE: Self = Self(0);
    /// Every metric.
    pub const ALL: Self = Self((1 << METRICS) - 1);
    /// The three latency metrics: what is dormant while a green target warms up (B5).
    pub const LATENCIES: Self =
        Self::NONE.with(Metric::LatencyP50).with(Metric::LatencyP90).with(Metric::LatencyP99);

    /// These and one more.
    #[must_use]
    pub const fn with(self, metric: Metric) -> Self {
        Self(self.0 | (1 << metric.index()))
    }

    /// The metrics that are in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These metrics but for those of another set.
    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Its metrics as bits, for a word that is shared.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits.
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether the metric is among them.
    #[must_use]
    pub const fn contains(self, metric: Metric) -> bool {
        self.0 & (1 << metric.index()) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let set = MetricSet::NONE.with(Metric::Errors).with(Metric::LatencyP99);
        let held = Metric::ALL.map(|metric| set.contains(metric));
        assert_eq!(held, [true, false, false, false, true]);
        assert_eq!(
            set.union(MetricSet::LATENCIES).union(set).with(Metric::Client4xx),
            MetricSet::ALL
        );
        for (place, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(metric.index(), place);
        }
    }
}
