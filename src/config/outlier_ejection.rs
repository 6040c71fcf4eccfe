//! `outlier_ejection`: when answers take a target out of its group.

use super::node::Node;
use crate::core::model::{OutlierSpec, Span};

/// Reads the section; `None` if it is the word `off`.
pub(super) fn outlier_ejection(node: &Node<'_>) -> Option<OutlierSpec> {
    if !node.yaml().data.is_mapping() {
        // Whatever else stands here is a mistake, and recorded as one.
        return node.word(&WORDS).flatten();
    }
    let default = OutlierSpec::default();
    let mut fields = node.fields();
    let consecutive_failures = fields.take("consecutive_failures").and_then(|n| n.count(1..=1_000));
    let mut span = |key, shortest: Span, default: Span| {
        let node = fields.take(key);
        let span = node.as_ref().and_then(|node| node.span_from(shortest)).unwrap_or(default);
        (span, node)
    };
    let (interval, _) = span("interval", SHORTEST_INTERVAL, default.interval);
    let (base, base_node) = span("base", SHORTEST_EJECTION, default.base);
    let (max, max_node) = span("max", SHORTEST_EJECTION, default.max);
    let max_ejected = fields.take("max_ejected").and_then(|n| n.quantity());
    let success_rate = fields.take("success_rate").and_then(|n| n.flag());
    fields.finish();
    if max < base
        && let Some(at) = max_node.or(base_node)
    {
        at.mistake(format!("the longest ejection ({max}) is shorter than the first ({base})"));
    }
    Some(OutlierSpec {
        consecutive_failures: consecutive_failures.unwrap_or(default.consecutive_failures),
        interval,
        base,
        max,
        max_ejected: max_ejected.unwrap_or(default.max_ejected),
        success_rate: success_rate.unwrap_or(default.success_rate),
    })
}

const WORDS: [(&str, Option<OutlierSpec>); 1] = [("off", None)];
/// The writer looks this often.
const SHORTEST_EJECTION: Span = Span::from_ms(100);
const SHORTEST_INTERVAL: Span = Span::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};

    fn read(keys: &str) -> Option<OutlierSpec> {
        let config = parse(&with_service(keys)).unwrap();
        config.services.into_values().next().unwrap().outlier_ejection
    }

    #[test]
    fn ejection_is_on_unless_it_is_switched_off() {
        assert_eq!(read("tell_side: true"), Some(OutlierSpec::default()));
        assert_eq!(read("outlier_ejection: {}"), Some(OutlierSpec::default()));
        assert_eq!(read("outlier_ejection: off"), None);
        let all = "outlier_ejection: { consecutive_failures: 3, interval: 5s, base: 1s, max: 1m, \
                   max_ejected: 25%, success_rate: true }";
        let expected = OutlierSpec {
            consecutive_failures: 3,
            interval: Span::from_secs(5),
            base: Span::from_secs(1),
            max: Span::from_mins(1),
            max_ejected: "25%".parse().unwrap(),
            success_rate: true,
        };
        assert_eq!(read(all), Some(expected));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let check = |text: &str, expected: &str| {
            refuses(
                &with_service(&format!("outlier_ejection: {text}")),
                &format!("services.shop.outlier_ejection{expected}"),
            );
        };
        check("on", ": found \"on\", wanted one of off");
        check("[]", ": wanted a text, found a list");
        check("{ consecutive_failures: 0 }", ".consecutive_failures: wanted a whole number from 1");
        check("{ interval: 1ms }", ".interval: 1ms is too short: at least 1s");
        check("{ base: 1ms }", ".base: 1ms is too short: at least 100ms");
        check("{ max: 10s }", ".max: the longest ejection (10s) is shorter than the first (30s)");
        check("{ base: 1h }", ".base: the longest ejection (5m) is shorter than the first (1h)");
        check("{ max_ejected: 50 }", ".max_ejected: \"50\" has no unit");
        check("{ sucess_rate: true }", ".sucess_rate: unknown key; did you mean `success_rate`?");
    }
}
