//! Failures after the headers of an answer: it broke off, or its trailers told of a failure.
//!
//! They are outside of the comparison of green with blue, which is settled at the headers; so they
//! are counted and shown apart.

use prometheus::proto::{MetricFamily, MetricType};

use super::Recorder;
use super::family::{counter, family};

/// The late failures of every service as a family of the exposition.
pub(super) fn families(recorder: &Recorder) -> [MetricFamily; 1] {
    let mut samples = Vec::new();
    for ((service, side), count) in &recorder.late_failures() {
        samples.push(counter(&[("service", service.as_str()), ("side", side.as_str())], *count));
    }
    [family(
        "tidegate_late_failures_total",
        "Requests whose answer failed after its headers; not part of the comparison.",
        MetricType::COUNTER,
        samples,
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Side;
    use crate::telemetry::{Gauges, MeterKey, render};

    #[test]
    fn both_sides_of_a_service_have_a_series_over_all_groups() {
        let recorder = Recorder::default();
        let meter = |side, group: &str| recorder.register(&MeterKey::of("shop", side, group));
        let green = [meter(Side::Green, "a"), meter(Side::Green, "b")];
        meter(Side::Blue, "a");
        recorder.late_failure(green[0]);
        recorder.late_failure(green[1]);
        let text = render(&recorder, &Gauges::default());
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        check(r#"tidegate_late_failures_total{service="shop",side="green"} 2"#);
        check(r#"tidegate_late_failures_total{service="shop",side="blue"} 0"#);
    }
}
