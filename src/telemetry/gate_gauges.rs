//! What the calls of gates came to besides their verdicts.

use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};

use super::family::{counter, family, gauge, labelled};
use crate::core::model::GateName;

/// The gates.
#[derive(Clone, Debug, Default)]
pub struct GateGauges {
    /// Every gate that was asked.
    pub gates: Vec<GateGauge>,
    /// How many components were compiled since the process started.
    pub compilations: u64,
}

/// A gate.
#[derive(Clone, Debug)]
pub struct GateGauge {
    /// Which.
    pub gate: GateName,
    /// Errors by kind.
    pub errors: Vec<(&'static str, u64)>,
    /// How many calls took at most so many microseconds, and longer than the bound before; bounds
    /// grow.
    pub times: Vec<(u64, u64)>,
    /// How many calls were made.
    pub calls: u64,
    /// How long they took together, in microseconds.
    pub total_us: u64,
    /// Whether it is not asked now, because it failed again and again.
    pub is_open: bool,
}

impl GateGauges {
    /// The families, some of them perhaps without samples.
    pub(super) fn families(&self) -> [MetricFamily; 4] {
        let each = |sample: fn(&GateGauge) -> Vec<Metric>| self.gates.iter().flat_map(sample);
        [
            family(
                "tidegate_gate_errors_total",
                "Calls of gates that came to no verdict, by what went wrong.",
                MetricType::COUNTER,
                each(GateGauge::errors).collect(),
            ),
            family(
                "tidegate_gate_call_duration_seconds",
                "Time that a gate took to answer, without waiting for its turn.",
                MetricType::HISTOGRAM,
                each(GateGauge::durations).collect(),
            ),
            family(
                "tidegate_gate_circuit_open",
                "Whether a gate is not asked for a while, because it kept failing.",
                MetricType::GAUGE,
                each(GateGauge::circuit).collect(),
            ),
            family(
                "tidegate_gate_compilations_total",
                "Components of gates that were compiled, as opposed to found in the cache.",
                MetricType::COUNTER,
                vec![counter(&[], self.compilations)],
            ),
        ]
    }
}

impl GateGauge {
    fn errors(&self) -> Vec<Metric> {
        let sample = |(kind, errors): &(&str, u64)| {
            counter(&[("gate", self.gate.as_str()), ("kind", kind)], *errors)
        };
        self.errors.iter().map(sample).collect()
    }

    fn durations(&self) -> Vec<Metric> {
        let mut below = 0;
        let bucket = |(bound_us, calls): &(u64, u64)| {
            below += calls;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound_us as f64 / 1e6);
            bucket.set_cumulative_count(below);
            bucket
        };
        let buckets = self.times.iter().map(bucket).collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(self.calls);
        histogram.set_sample_sum(self.total_us as f64 / 1e6);
        let mut sample = labelled(&[("gate", self.gate.as_str())]);
        sample.set_histogram(histogram);
        vec![sample]
    }

    fn circuit(&self) -> Vec<Metric> {
        vec![gauge(&[("gate", self.gate.as_str())], f64::from(u8::from(self.is_open)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Gauges, Recorder, render};

    #[test]
    fn a_gate_is_exposed_with_its_errors_and_times() {
        let gate = GateGauge {
            gate: "budget".parse().expect("valid"),
            errors: vec![("trap", 2)],
            times: vec![(50, 1), (100, 3)],
            calls: 5,
            total_us: 2_000_000,
            is_open: true,
        };
        let gates = GateGauges { gates: vec![gate], compilations: 1 };
        let text = render(&Recorder::default(), &Gauges { gates, ..Gauges::default() });
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        let name = "tidegate_gate_call_duration_seconds";
        check(r#"tidegate_gate_errors_total{gate="budget",kind="trap"} 2"#);
        check(&format!(r#"{name}_bucket{{gate="budget",le="0.00005"}} 1"#));
        check(&format!(r#"{name}_bucket{{gate="budget",le="0.0001"}} 4"#));
        check(&format!(r#"{name}_bucket{{gate="budget",le="+Inf"}} 5"#));
        check(&format!(r#"{name}_sum{{gate="budget"}} 2"#));
        check(r#"tidegate_gate_circuit_open{gate="budget"} 1"#);
        check("tidegate_gate_compilations_total 1");
    }
}
