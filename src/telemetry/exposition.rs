//! The Prometheus text exposition.
//!
//! Every series of requests carries side and target group: a side is a role, and which group has it
//! changes with every rollout that succeeds.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};

use crate::core::analysis::{Counts, upper_bound_us};

use super::copies;
use super::family::{counter, family, gauge, labelled};
use super::late_failures;
use super::{EdgeEvent, Gauges, MeterKey, Recorder};

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Renders every metric as Prometheus text.
#[must_use]
pub fn render(recorder: &Recorder, gauges: &Gauges) -> String {
    let meters: Vec<(MeterKey, Counts)> = recorder.meters();
    let each = |samples: fn(&MeterKey, &Counts) -> Vec<Metric>| {
        meters.iter().flat_map(|(key, counts)| samples(key, counts)).collect::<Vec<_>>()
    };
    let mut families = vec![
        family(
            "tidegate_requests_total",
            "Requests by how their target answered; `error` without a whole answer.",
            MetricType::COUNTER,
            each(requests),
        ),
        family(
            "tidegate_request_duration_seconds",
            "Time to the response header, of answered and timed out requests.",
            MetricType::HISTOGRAM,
            each(durations),
        ),
        family(
            "tidegate_upstream_errors_total",
            "Requests that their target did not answer, by what went wrong.",
            MetricType::COUNTER,
            each(upstream_errors),
        ),
        family(
            "tidegate_overflow_requests_total",
            "Requests that are counted nowhere else, because there are too many services.",
            MetricType::COUNTER,
            vec![counter(&[], recorder.overflow().requests())],
        ),
        family(
            "tidegate_edge_events_total",
            "What happened to connections and long-lived streams of clients.",
            MetricType::COUNTER,
            EdgeEvent::ALL
                .map(|e| counter(&[("event", e.as_str())], recorder.edge_count(e)))
                .into(),
        ),
        family(
            "tidegate_access_log_dropped_total",
            "Lines that the access log dropped: the queue was full, or the file was not writable.",
            MetricType::COUNTER,
            vec![counter(&[], recorder.unlogged())],
        ),
    ];
    families.extend(of_process(recorder));
    families.extend(copies::families(recorder));
    families.extend(late_failures::families(recorder));
    families.extend(recorder.reloads().families());
    families.extend(gauges.families());
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new()
        .encode_to_string(&families)
        .expect("every family has a name and samples, and a string takes every write")
}

/// What is about the process itself.
fn of_process(recorder: &Recorder) -> Vec<MetricFamily> {
    let pressure = recorder.pressure();
    vec![
        family(
            "tidegate_log_lines_dropped_total",
            "Lines of the process' own log that were dropped: nobody read them in time.",
            MetricType::COUNTER,
            vec![counter(&[], recorder.log_lines_dropped())],
        ),
        family(
            "tidegate_memory_bytes",
            "Resident memory of the process.",
            MetricType::GAUGE,
            vec![gauge(&[], pressure.used() as f64)],
        ),
        family(
            "tidegate_shed_total",
            "Requests answered with 503, and connections closed, because memory was at its limit.",
            MetricType::COUNTER,
            pressure.shed().map(|(what, count)| counter(&[("what", what)], count)).into(),
        ),
    ]
}

fn requests(key: &MeterKey, counts: &Counts) -> Vec<Metric> {
    let [informational, success, redirection, client_error, server_error] = counts.by_class;
    [
        ("1xx", informational),
        ("2xx", success),
        ("3xx", redirection),
        ("4xx", client_error),
        ("5xx", server_error),
        ("error", counts.connect_errors + counts.timeouts + counts.broken),
        ("client_gone", counts.client_gone),
    ]
    .map(|(class, count)| counter(&with(key, "class", class), count))
    .into()
}

fn upstream_errors(key: &MeterKey, counts: &Counts) -> Vec<Metric> {
    [("connect", counts.connect_errors), ("timeout", counts.timeouts), ("broken", counts.broken)]
        .map(|(kind, count)| counter(&with(key, "kind", kind), count))
        .into()
}

fn durations(key: &MeterKey, counts: &Counts) -> Vec<Metric> {
    let mut histogram = Histogram::default();
    histogram.set_bucket(BOUNDS_US.iter().map(|us| bucket(counts, *us)).collect());
    histogram.set_sample_count(counts.latency.iter().sum());
    histogram.set_sample_sum(seconds(counts.latency_sum_us));
    let mut sample = labelled(&labels(key));
    sample.set_histogram(histogram);
    vec![sample]
}

/// A fine bucket that a bound cuts counts as above the bound: a share of fast requests that is read
/// off here is never too good.
fn bucket(counts: &Counts, bound_us: u64) -> Bucket {
    let within = |(i, _): &(usize, &u64)| upper_bound_us(*i) <= bound_us;
    let mut bucket = Bucket::default();
    bucket.set_upper_bound(seconds(bound_us));
    bucket.set_cumulative_count(
        counts.latency.iter().enumerate().take_while(within).map(|(_, count)| count).sum(),
    );
    bucket
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn labels(key: &MeterKey) -> [(&str, &str); 3] {
    [
        ("service", key.service.as_str()),
        ("side", key.side.as_str()),
        ("target_group", key.target_group.as_str()),
    ]
}

fn with<'a>(key: &'a MeterKey, name: &'a str, value: &'a str) -> [(&'a str, &'a str); 4] {
    let [service, side, target_group] = labels(key);
    [service, side, target_group, (name, value)]
}

const BOUNDS_US: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::{AlarmState, ServiceName, Side, Span, TargetHealth, Weight};
    use crate::telemetry::{
        AlarmGauge, BurnRateGauge, EjectionsGauge, GateCallsGauge, GateGauges, GreenTotals,
        LatenessGauge, Outcome, OutcomeKind, RevisionGauge, ServiceGauges, TargetGauge,
    };

    fn service() -> ServiceName {
        "shop".parse().expect("valid")
    }

    fn recorder() -> Recorder {
        let recorder = Recorder::default();
        let id = recorder.register(&MeterKey::of("shop", Side::Green, "shop-b"));
        for (kind, latency_us) in [
            (OutcomeKind::Status(200), 900),
            (OutcomeKind::Status(200), 40_000),
            (OutcomeKind::Status(503), 3_000_000),
            (OutcomeKind::Timeout, 60_000_000),
            (OutcomeKind::ConnectError, 10),
            (OutcomeKind::ClientGone, 10),
        ] {
            recorder.record(id, Outcome { kind, latency_us, rescued: false });
        }
        recorder
    }

    fn gauges() -> Gauges {
        let revision = RevisionGauge {
            side: Side::Green,
            target_group: "shop-b".parse().expect("valid"),
            revision: "v2 \"rc\" \\ main".parse().expect("valid"),
        };
        let services = vec![ServiceGauges {
            service: service(),
            configured: Weight::from_bp(1_025).expect("in range"),
            in_force: Weight::ZERO,
            observed: None,
            rollout_state: Some("shifting"),
            rollouts: vec![("succeeded", 3)],
            leaked: 7,
            revisions: vec![revision],
            green: GreenTotals { requests: 90, failed: 9, rescued: 2, sent_after_verdict: 1 },
        }];
        let target = |port: u16, health| TargetGauge {
            service: service(),
            target_group: "shop-b".parse().expect("valid"),
            target: format!("127.0.0.1:{port}"),
            health,
            ejected: port == 2,
        };
        let alarm = |name: &str, state| AlarmGauge {
            alarm: name.parse().expect("valid"),
            service: Some("shop".parse().expect("valid")),
            state,
        };
        Gauges {
            generation: 42,
            services,
            targets: vec![target(1, TargetHealth::Healthy), target(2, TargetHealth::Unknown)],
            alarms: vec![
                alarm("fine", AlarmState::Ok),
                alarm("loud", AlarmState::Alarm),
                alarm("mute", AlarmState::InsufficientData),
            ],
            gate_calls: vec![GateCallsGauge {
                gate: "budget".parse().expect("valid"),
                verdict: "pass",
                calls: 5,
            }],
            writer_silent: Span::from_ms(1_250),
            ejections: vec![EjectionsGauge {
                service: service(),
                target_group: "shop-b".parse().expect("valid"),
                reason: "consecutive_failures",
                ejections: 3,
            }],
            burn_rates: vec![BurnRateGauge {
                service: service(),
                side: Side::Green,
                window: "1h",
                rate: 14.5,
            }],
            gates: GateGauges::default(),
            tick_lateness: LatenessGauge::default(),
        }
    }

    #[test]
    fn every_metric_has_its_name_and_labels() {
        let text = render(&recorder(), &gauges());
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        let green = r#"service="shop",side="green",target_group="shop-b""#;
        check("# TYPE tidegate_requests_total counter");
        for (class, count) in [("2xx", 2), ("4xx", 0), ("5xx", 1), ("error", 2), ("client_gone", 1)]
        {
            check(&format!("tidegate_requests_total{{{green},class=\"{class}\"}} {count}"));
        }
        for (kind, count) in [("connect", 1), ("timeout", 1), ("broken", 0)] {
            check(&format!("tidegate_upstream_errors_total{{{green},kind=\"{kind}\"}} {count}"));
        }
        check("tidegate_overflow_requests_total 0");
        check("tidegate_access_log_dropped_total 0");
        check("tidegate_log_lines_dropped_total 0");
        check("tidegate_memory_bytes 0");
        check(r#"tidegate_shed_total{what="request"} 0"#);
        check(r#"tidegate_shed_total{what="connection"} 0"#);
        check(r#"tidegate_weight_ratio{service="shop",what="configured"} 0.1025"#);
        check(r#"tidegate_weight_ratio{service="shop",what="in_force"} 0"#);
        assert!(!text.contains("observed\""), "nothing was observed");
        check(r#"tidegate_rollout_state{service="shop",state="shifting"} 1"#);
        check(r#"tidegate_rollout_state{service="shop",state="baking"} 0"#);
        check(r#"tidegate_rollouts_total{service="shop",outcome="succeeded"} 3"#);
        check(r#"tidegate_rollout_leaked_requests_total{service="shop"} 7"#);
        check(r#"tidegate_rollout_green_requests_total{service="shop",what="failed"} 9"#);
        let of_target = r#"service="shop",target_group="shop-b",target="127.0.0.1:"#;
        check(&format!("tidegate_target_healthy{{{of_target}1\"}} 1"));
        check(&format!("tidegate_target_healthy{{{of_target}2\"}} 0"));
        check(&format!("tidegate_target_ejected{{{of_target}1\"}} 0"));
        check(&format!("tidegate_target_ejected{{{of_target}2\"}} 1"));
        check(r#"tidegate_slo_burn_rate{service="shop",side="green",window="1h"} 14.5"#);
        check(
            r#"tidegate_ejections_total{service="shop",target_group="shop-b",reason="consecutive_failures"} 3"#,
        );
        check(r#"tidegate_alarm_state{alarm="fine",service="shop"} 0"#);
        check(r#"tidegate_alarm_state{alarm="loud",service="shop"} 1"#);
        check(r#"tidegate_alarm_state{alarm="mute",service="shop"} -1"#);
        check(r#"tidegate_gate_calls_total{gate="budget",verdict="pass"} 5"#);
        check("tidegate_generation 42");
        check("tidegate_writer_silent_seconds 1.25");
    }

    #[test]
    fn durations_are_a_cumulative_histogram_in_seconds() {
        let text = render(&recorder(), &Gauges::default());
        let labels = r#"service="shop",side="green",target_group="shop-b""#;
        let name = "tidegate_request_duration_seconds";
        let check =
            |line: String| assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        check(format!("# TYPE {name} histogram"));
        for (bound, count) in [
            ("0.001", 1),
            ("0.0025", 1),
            ("0.025", 1),
            ("0.05", 2),
            ("2.5", 2),
            ("5", 3),
            ("30", 3),
            ("+Inf", 4),
        ] {
            check(format!("{name}_bucket{{{labels},le=\"{bound}\"}} {count}"));
        }
        check(format!("{name}_sum{{{labels}}} 63.0409"));
        check(format!("{name}_count{{{labels}}} 4"));
    }

    #[test]
    fn labels_are_escaped() {
        let text = render(&Recorder::default(), &gauges());
        let line = r#"tidegate_service_revision_info{service="shop",side="green",target_group="shop-b",revision="v2 \"rc\" \\ main"} 1"#;
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }

    #[test]
    fn every_line_of_the_text_is_a_comment_or_a_sample() {
        for text in
            [render(&recorder(), &gauges()), render(&Recorder::default(), &Gauges::default())]
        {
            assert!(text.ends_with('\n'));
            for line in text.lines().filter(|line| !line.starts_with("# ")) {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                assert!(name.starts_with("tidegate_"), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
