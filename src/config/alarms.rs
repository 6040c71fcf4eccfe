//! `alarms`: named conditions, measured by the proxy itself, asked of a Prometheus server, or told
//! from outside.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::declared::Declared;
use super::fields::Fields;
use super::node::{Node, shorten};
use super::{alertmanager, query};
use crate::core::model::{
    AlarmBound, AlarmName, AlarmSource, AlarmSpec, MissingData, OnInsufficient, OwnMetric, Side,
    Span, Weight,
};

/// Reads the section.
pub(super) fn alarms(node: &Node<'_>, declared: &Declared<'_>) -> BTreeMap<AlarmName, AlarmSpec> {
    node.named(MAX_ALARMS, |name, node| alarm(name, node, declared))
}

fn alarm(name: Option<AlarmName>, node: &Node<'_>, declared: &Declared<'_>) -> Option<AlarmSpec> {
    let mut fields = node.fields();
    let on_insufficient = fields.take("on_insufficient").and_then(|node| node.word(&INSUFFICIENT));
    let on_insufficient = on_insufficient.unwrap_or_default();
    let source = match fields.sole(&["own", "prometheus", "pushed", "alertmanager"]) {
        Some(("own", own)) => {
            let source = own_source(&own, &mut fields);
            fields.finish();
            source
        }
        Some(("prometheus", asked)) => {
            let source = query::source(&asked, &mut fields, declared, on_insufficient);
            fields.finish();
            source
        }
        Some(("alertmanager", told)) => {
            let source = alertmanager::source(&told, &mut fields, name.as_ref());
            fields.finish();
            source
        }
        Some((_, pushed)) => {
            let expires = fields.take("expires_after");
            let expires_after = expires.and_then(|node| node.span_from(Span::from_secs(1)));
            fields.finish();
            pushed.only_true().map(|()| AlarmSource::Pushed { expires_after })
        }
        // Which of the other keys belong here is not known without the source.
        None => None,
    };
    Some(AlarmSpec { name: name?, source: source?, on_insufficient })
}

fn own_source(node: &Node<'_>, fields: &mut Fields<'_>) -> Option<AlarmSource> {
    let mut own = node.fields();
    let metric = own.require("metric").and_then(|node| node.word(&OwnMetric::ALL));
    let side = own.take("side").and_then(|node| node.word(&SIDES)).unwrap_or(Side::Green);
    own.finish();
    let bound = fields.sole(&["above", "below"]);
    let Watching { bad, of, period, missing } = watching(fields);
    let metric = metric?;
    let bound = match bound? {
        ("above", node) => AlarmBound::Above(threshold(&node, metric)?),
        (_, node) => AlarmBound::Below(threshold(&node, metric)?),
    };
    Some(AlarmSource::Own { metric, side, bound, bad, of, period, missing })
}

/// How an alarm on numbers is watched.
pub(super) struct Watching {
    pub(super) bad: u32,
    pub(super) of: u32,
    pub(super) period: Span,
    pub(super) missing: MissingData,
}

/// Takes what alarms on numbers have in common.
pub(super) fn watching(fields: &mut Fields<'_>) -> Watching {
    let datapoints = fields.take("datapoints").and_then(|node| node.parsed::<Datapoints>());
    let Datapoints { bad, of } = datapoints.unwrap_or(DEFAULT_DATAPOINTS);
    let period = fields.take("period").and_then(|node| node.span_from(SHORTEST_PERIOD));
    let period = period.unwrap_or(DEFAULT_PERIOD);
    let missing = fields.take("missing").and_then(|node| node.word(&MISSING)).unwrap_or_default();
    Watching { bad, of, period, missing }
}

/// Reads a threshold in the metric's own unit.
fn threshold(node: &Node<'_>, metric: OwnMetric) -> Option<f64> {
    match metric {
        OwnMetric::ErrorRate | OwnMetric::ClientErrorRate => {
            node.quantity::<Weight>().map(|share| f64::from(share.bp()) / 100.0)
        }
        OwnMetric::LatencyP50 | OwnMetric::LatencyP90 | OwnMetric::LatencyP99 => {
            let latency = node.quantity::<Span>()?;
            let ms = u32::try_from(latency.ms()).map(f64::from).ok();
            ms.or_else(|| node.wanted("a latency of at most a few days"))
        }
        OwnMetric::RequestsPerSecond => node.number(),
    }
}

/// How many of how many datapoints must be bad, written `3 of 5`.
struct Datapoints {
    bad: u32,
    of: u32,
}

impl FromStr for Datapoints {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(' ');
        let numbers = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(bad), Some("of"), Some(of), None) => bad.parse().ok().zip(of.parse().ok()),
            _ => None,
        };
        match numbers {
            Some((bad, of)) if (1..=of).contains(&bad) && of <= MAX_DATAPOINTS => {
                Ok(Self { bad, of })
            }
            _ => Err(format!(
                "{:?} is not a number of datapoints: N of M with 1 <= N <= M <= {MAX_DATAPOINTS}, \
                 for example \"3 of 5\"",
                shorten(text)
            )),
        }
    }
}

const SIDES: [(&str, Side); 2] = [("green", Side::Green), ("blue", Side::Blue)];
const MISSING: [(&str, MissingData); 3] = [
    ("insufficient", MissingData::Insufficient),
    ("bad", MissingData::Bad),
    ("ignore", MissingData::Ignore),
];
const INSUFFICIENT: [(&str, OnInsufficient); 2] =
    [("hold", OnInsufficient::Hold), ("ignore", OnInsufficient::Ignore)];

const DEFAULT_DATAPOINTS: Datapoints = Datapoints { bad: 3, of: 5 };
const DEFAULT_PERIOD: Span = Span::from_secs(10);
const SHORTEST_PERIOD: Span = Span::from_secs(1);
/// The most datapoints that an alarm looks at.
const MAX_DATAPOINTS: u32 = 100;
/// The most alarms of a configuration.
const MAX_ALARMS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with};

    fn read(text: &str) -> AlarmSpec {
        let config = parse(&with(&format!("alarms: {{ x: {text} }}"))).unwrap();
        config.alarms.into_values().next().unwrap()
    }

    #[test]
    fn a_threshold_is_written_in_the_unit_of_its_metric() {
        let check = |metric: &str, bound: &str, expected: AlarmBound| {
            let AlarmSource::Own { bound: found, side, bad, of, period, missing, .. } =
                read(&format!("{{ own: {{ metric: {metric} }}, {bound} }}")).source
            else {
                panic!("{metric} is no own metric");
            };
            assert_eq!(found, expected);
            let rest = (side, bad, of, period, missing);
            assert_eq!(rest, (Side::Green, 3, 5, Span::from_secs(10), MissingData::Insufficient));
        };
        check("error_rate", "above: 2%", AlarmBound::Above(2.0));
        check("client_error_rate", "above: 0.25%", AlarmBound::Above(0.25));
        check("latency_p50", "above: 250ms", AlarmBound::Above(250.0));
        check("latency_p90", "above: 1s", AlarmBound::Above(1_000.0));
        check("latency_p99", "above: 1s500ms", AlarmBound::Above(1_500.0));
        check("requests_per_second", "below: 10", AlarmBound::Below(10.0));
        check("requests_per_second", "below: 0.5", AlarmBound::Below(0.5));
    }

    #[test]
    fn everything_of_an_alarm_is_read() {
        let found = read(
            "{ own: { metric: error_rate, side: blue }, above: 1%, datapoints: 1 of 100, period: 1m, missing: bad, on_insufficient: ignore }",
        );
        assert_eq!(found.on_insufficient, OnInsufficient::Ignore);
        let (metric, side, missing) = (OwnMetric::ErrorRate, Side::Blue, MissingData::Bad);
        let (bound, period) = (AlarmBound::Above(1.0), Span::from_mins(1));
        let own = AlarmSource::Own { metric, side, bound, bad: 1, of: 100, period, missing };
        assert_eq!(found.source, own);
        assert_eq!(read("{ pushed: true }").source, AlarmSource::Pushed { expires_after: None });
        let expires_after = Some(Span::from_mins(5));
        let found = read("{ pushed: true, expires_after: 5m }").source;
        assert_eq!(found, AlarmSource::Pushed { expires_after });
    }

    #[test]
    fn what_is_no_alarm_is_refused() {
        let check = |text: &str, expected: &str| {
            let text = with(&format!("alarms: {{ x: {text} }}"));
            refuses(&text, &format!("line 4: alarms.x{expected}"));
        };
        let own = |keys: &str| format!("{{ own: {{ metric: error_rate }}, {keys} }}");
        let sources = "`own`, `prometheus`, `pushed`, `alertmanager`";
        check("{}", &format!(": one of {sources} is missing"));
        check(
            "{ pushed: true, own: { metric: error_rate } }",
            &format!(".pushed: only one of {sources}"),
        );
        check("{ pushed: false }", ".pushed: false says nothing here");
        check("{ pushed: true, above: 2% }", ".above: unknown key");
        check("{ pushed: true, expires_after: 0s }", ".expires_after: 0s is too short");
        check("{ own: {}, above: 2% }", ".own: `metric` is missing");
        check(
            "{ own: { metric: errors }, above: 2% }",
            ".own.metric: found \"errors\", wanted one of error_rate, client_error_rate, latency_p50, latency_p90, latency_p99, requests_per_second",
        );
        check("{ own: { metric: error_rate, side: red }, above: 2% }", ".own.side: found \"red\"");
        check("{ own: { metric: error_rate } }", ": one of `above`, `below` is missing");
        check(&own("above: 2%, below: 1%"), ".below: only one of `above`, `below`");
        check(&own("above: 2"), ".above: \"2\" has no unit: a weight is written in percent");
        check(
            "{ own: { metric: latency_p99 }, above: 250 }",
            ".above: \"250\" has no unit: a duration",
        );
        check(
            "{ own: { metric: latency_p99 }, above: 1000d }",
            ".above: wanted a latency of at most",
        );
        check(
            "{ own: { metric: requests_per_second }, below: 1% }",
            ".below: wanted a number without a unit",
        );
        for datapoints in ["5 of 3", "0 of 3", "1 of 101", "3 of", "3/5", "-1 of 3", "1 of 3 of 5"]
        {
            check(
                &own(&format!("above: 2%, datapoints: {datapoints}")),
                &format!(".datapoints: {datapoints:?} is not a number of datapoints"),
            );
        }
        check(&own("above: 2%, datapoints: 3"), ".datapoints: wanted a text, found the number 3");
        check(&own("above: 2%, period: 500ms"), ".period: 500ms is too short: at least 1s");
        check(&own("above: 2%, missing: zero"), ".missing: found \"zero\"");
        check(&own("above: 2%, on_insufficient: rollback"), ".on_insufficient: found \"rollback\"");
    }
}
