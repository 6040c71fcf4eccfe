//! What was measured of a side, in the words of the contract's `telemetry`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::config::node::Node;
use crate::core::model::{Span, Weight};
use crate::core::rollout::GateStatuses;

/// What was measured of a side; what is not in here was not measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideNumbers {
    metrics: BTreeMap<&'static str, Windowed>,
    latency: BTreeMap<Quantile, Windowed>,
    statuses: Option<GateStatuses>,
}

/// A number, or one for each window.
#[derive(Clone, Debug, PartialEq)]
enum Windowed {
    /// The same over every window.
    Every(f64),
    /// Over some windows, and none over others.
    Each(BTreeMap<Span, f64>),
}

impl Windowed {
    fn over(&self, window: Span) -> Option<f64> {
        match self {
            Self::Every(number) => Some(*number),
            Self::Each(numbers) => numbers.get(&window).copied(),
        }
    }
}

impl SideNumbers {
    /// A number by its name in the contract.
    #[must_use]
    pub fn metric(&self, name: &str, window: Span) -> Option<f64> {
        // A window of 0 has nothing in it, as in the proxy.
        if window == Span::ZERO {
            return None;
        }
        match name.strip_prefix("latency_") {
            Some(quantile) => self.latency.get(&quantile.parse::<Quantile>().ok()?)?.over(window),
            None => self.metrics.get(name)?.over(window),
        }
    }

    /// The latency in milliseconds that the share `q` of the requests did not exceed.
    #[must_use]
    pub fn latency(&self, q: f64, window: Span) -> Option<f64> {
        if window == Span::ZERO {
            return None;
        }
        let wanted = q * 10_000.0;
        let same = |quantile: &Quantile| (f64::from(quantile.0.bp()) - wanted).abs() < 0.01;
        self.latency.iter().find(|(quantile, _)| same(quantile))?.1.over(window)
    }

    /// How the requests ended.
    #[must_use]
    pub fn statuses(&self, window: Span) -> Option<GateStatuses> {
        self.statuses.filter(|_| window != Span::ZERO)
    }
}

/// A share of requests, written `p99` or `p99.9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Quantile(Weight);

impl FromStr for Quantile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_prefix('p').map(|percent| format!("{percent}%"));
        let share = percent.and_then(|percent| percent.parse().ok());
        share.map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?} is not a quantile: for example \"p50\" or \"p99.9\"")
        })
    }
}

/// Reads what was measured of a side.
pub(super) fn numbers(node: &Node<'_>) -> SideNumbers {
    let mut fields = node.fields();
    let mut metrics = BTreeMap::new();
    for name in METRICS {
        if let Some(number) = fields.take(name).as_ref().and_then(windowed) {
            metrics.insert(name, number);
        }
    }
    let latency = fields
        .take("latency")
        .map(|node| node.named(MAX_QUANTILES, |_: Option<Quantile>, item| windowed(item)));
    let statuses = fields.take("statuses").as_ref().map(statuses);
    fields.finish();
    SideNumbers { metrics, latency: latency.unwrap_or_default(), statuses }
}

fn windowed(node: &Node<'_>) -> Option<Windowed> {
    if node.yaml().data.is_mapping() {
        let numbers = node.named(MAX_WINDOWS, |_: Option<Span>, item| item.number());
        return Some(Windowed::Each(numbers));
    }
    node.number().map(Windowed::Every)
}

fn statuses(node: &Node<'_>) -> GateStatuses {
    let mut fields = node.fields();
    let mut count = |key| {
        let count = fields.take(key).and_then(|node: Node<'_>| node.count(0..=u32::MAX));
        u64::from(count.unwrap_or_default())
    };
    let by_class = CLASSES.map(&mut count);
    let (no_answer, client_gone) = (count("no_answer"), count("client_gone"));
    fields.finish();
    GateStatuses { by_class, no_answer, client_gone }
}

/// The numbers of the contract; latencies are written as quantiles.
const METRICS: [&str; 5] =
    ["requests", "errors", "error_rate", "client_error_rate", "requests_per_second"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const MAX_QUANTILES: usize = 32;
const MAX_WINDOWS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    const MINUTE: Span = Span::from_mins(1);

    fn read(text: &str) -> (SideNumbers, String) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let read = numbers(&Node::root(&yaml, &mistakes));
        (read, mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_number_holds_for_every_window_or_for_those_that_are_named() {
        let (side, mistakes) = read("{ requests: 90, error_rate: { 1m: 0.5, 5m: 0.25 } }");
        assert_eq!(mistakes, "");
        assert_eq!(side.metric("requests", MINUTE), Some(90.0));
        assert_eq!(side.metric("requests", Span::ZERO), None);
        assert_eq!(side.metric("error_rate", MINUTE), Some(0.5));
        assert_eq!(side.metric("error_rate", Span::from_mins(5)), Some(0.25));
        assert_eq!(side.metric("error_rate", Span::from_mins(2)), None);
        assert_eq!(side.metric("errors", MINUTE), None);
    }

    #[test]
    fn a_latency_is_a_metric_and_a_quantile() {
        let (side, mistakes) = read("latency: { p50: 20, p99: 110, p99.9: 400 }");
        assert_eq!(mistakes, "");
        assert_eq!(side.metric("latency_p99", MINUTE), Some(110.0));
        assert_eq!(side.metric("latency_p90", MINUTE), None);
        assert_eq!(side.latency(0.5, MINUTE), Some(20.0));
        assert_eq!(side.latency(0.999, MINUTE), Some(400.0));
        assert_eq!(side.latency(0.9, MINUTE), None);
    }

    #[test]
    fn statuses_are_counted_by_class() {
        let (side, mistakes) = read("statuses: { 2xx: 7, 5xx: 1, no_answer: 2, client_gone: 3 }");
        assert_eq!(mistakes, "");
        let expected = GateStatuses { by_class: [0, 7, 0, 0, 1], no_answer: 2, client_gone: 3 };
        assert_eq!(side.statuses(MINUTE), Some(expected));
        assert_eq!(read("{}").0.statuses(MINUTE), None);
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        let check = |text: &str, expected: &str| {
            let (_, mistakes) = read(text);
            assert!(mistakes.contains(expected), "{mistakes}\ndoes not contain\n{expected}");
        };
        check("latency_p99: 1", "latency_p99: unknown key");
        check("latency: { 99: 1 }", "latency: wanted a text, found the number 99");
        check("latency: { q99: 1 }", "\"q99\" is not a quantile: for example \"p50\"");
        check("latency: { p101: 1 }", "\"p101\" is not a quantile");
        check("requests: { 1: 5 }", "requests: wanted a text, found the number 1");
        check("requests: { soon: 5 }", "requests.soon: ");
        check("statuses: { 6xx: 1 }", "statuses.6xx: unknown key");
    }
}
