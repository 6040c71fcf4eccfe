//! The last minutes of the services that gates ask about.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::core::analysis::{Counts, CountsHistory};
use crate::core::model::{MonoTime, ServiceName, Side, Span};
use crate::core::rollout::{GateStatuses, TelemetryView};

use super::Recorder;

/// Remembers both sides of the services that are sampled, and answers the gates' questions.
#[derive(Debug, Default)]
pub struct Windows {
    histories: Mutex<BTreeMap<ServiceName, [CountsHistory; 2]>>,
}

impl Windows {
    /// Takes a sample of these services, and forgets the others.
    pub fn sample<'a>(
        &self,
        now: MonoTime,
        recorder: &Recorder,
        services: impl Iterator<Item = &'a ServiceName>,
    ) {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = BTreeMap::new();
        for service in services {
            let mut pair = histories.remove(service).unwrap_or_default();
            for side in [Side::Blue, Side::Green] {
                pair[place(side)].push(now, recorder.present(service, side));
            }
            kept.insert(service.clone(), pair);
        }
        *histories = kept;
    }

    /// Forgets a service: what comes next is counted by another meter.
    pub fn forget(&self, service: &ServiceName) {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
    }

    fn over(&self, service: &ServiceName, side: Side, window: Span) -> Option<Counts> {
        let histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.get(service).and_then(|pair| pair[place(side)].over(window))
    }
}

impl TelemetryView for Windows {
    fn metric(&self, service: &ServiceName, side: Side, name: &str, window: Span) -> Option<f64> {
        let window = window.min(CountsHistory::LONGEST);
        let counts = self.over(service, side, window)?;
        match name {
            "requests" => Some(as_number(counts.scored())),
            "errors" => Some(as_number(counts.failed())),
            "error_rate" => counts.error_rate_percent(),
            "client_error_rate" => counts.client_error_rate_percent(),
            "latency_p50" => counts.latency_ms(0.50),
            "latency_p90" => counts.latency_ms(0.90),
            "latency_p99" => counts.latency_ms(0.99),
            "requests_per_second" => {
                let seconds = as_number(window.ms()) / 1_000.0;
                (seconds > 0.0).then(|| as_number(counts.scored()) / seconds)
            }
            _ => None,
        }
    }

    fn statuses(&self, service: &ServiceName, side: Side, window: Span) -> Option<GateStatuses> {
        let counts = self.over(service, side, window.min(CountsHistory::LONGEST))?;
        Some(GateStatuses {
            by_class: counts.by_class,
            no_answer: counts.connect_errors + counts.timeouts + counts.broken,
            client_gone: counts.client_gone,
        })
    }

    fn latency(&self, service: &ServiceName, side: Side, q: f64, window: Span) -> Option<f64> {
        let counts = self.over(service, side, window.min(CountsHistory::LONGEST))?;
        (0.0..=1.0).contains(&q).then(|| counts.latency_ms(q)).flatten()
    }
}

fn place(side: Side) -> usize {
    match side {
        Side::Blue => 0,
        Side::Green => 1,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn as_number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{MeterKey, Outcome, OutcomeKind};

    #[test]
    fn a_gate_reads_the_window_it_asks_for() {
        let (recorder, windows) = (Recorder::default(), Windows::default());
        let service: ServiceName = "shop".parse().expect("valid");
        let meter = recorder.register(&MeterKey::of("shop", Side::Green, "b"));
        let sample = |second: u64| {
            windows.sample(MonoTime::from_ms(second * 1_000), &recorder, [&service].into_iter());
        };
        sample(0);
        for status in [200, 200, 200, 500] {
            let kind = OutcomeKind::Status(status);
            recorder.record(meter, Outcome { kind, latency_us: 900, rescued: false });
        }
        sample(1);
        let metric = |side, name| windows.metric(&service, side, name, Span::from_secs(1));
        assert_eq!(metric(Side::Green, "requests"), Some(4.0));
        assert_eq!(metric(Side::Green, "errors"), Some(1.0));
        assert_eq!(metric(Side::Green, "error_rate"), Some(25.0));
        assert_eq!(metric(Side::Green, "requests_per_second"), Some(4.0));
        assert_eq!(metric(Side::Blue, "error_rate"), None, "no requests is no rate");
        assert_eq!(metric(Side::Green, "shoe_size"), None);
        let second = Span::from_secs(1);
        let statuses = windows.statuses(&service, Side::Green, second).expect("green had requests");
        assert_eq!((statuses.by_class, statuses.no_answer), ([0, 3, 0, 0, 1], 0));
        let latency = |q| windows.latency(&service, Side::Green, q, second);
        let median = latency(0.5).expect("green had requests");
        assert!((0.9..=0.9 * 1.125).contains(&median), "{median}");
        assert_eq!((latency(1.5), latency(f64::NAN)), (None, None));
        windows.sample(MonoTime::from_ms(2_000), &recorder, std::iter::empty());
        assert_eq!(metric(Side::Green, "requests"), None, "forgotten");
        sample(3);
        sample(4);
        assert_eq!(metric(Side::Green, "requests"), Some(0.0));
        windows.forget(&service);
        assert_eq!(metric(Side::Green, "requests"), None, "another turn began");
    }
}
