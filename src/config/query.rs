//! `prometheus` of an alarm: a query, and what its answers and their absence mean.

use super::alarms::{Watching, watching};
use super::declared::Declared;
use super::fields::Fields;
use super::node::Node;
use crate::core::model::{
    AlarmBound, AlarmSource, OnInsufficient, OnUnavailable, PrometheusName, QueryTemplate, Span,
};

/// Reads the source and the keys beside it.
pub(super) fn source(
    node: &Node<'_>,
    fields: &mut Fields<'_>,
    declared: &Declared<'_>,
    on_insufficient: OnInsufficient,
) -> Option<AlarmSource> {
    let mut asked = node.fields();
    let query = asked.require("query").and_then(|node| node.parsed::<QueryTemplate>());
    let server = match asked.take("server") {
        Some(server) => server.reference(&declared.prometheus),
        None => only_server(node, declared),
    };
    let timeout = asked.take("timeout").and_then(|node| timeout(&node)).unwrap_or(DEFAULT_TIMEOUT);
    asked.finish();
    let bound = fields.sole(&["above", "below"]).and_then(|(which, node)| {
        let bound = node.signed_number()?;
        Some(if which == "above" { AlarmBound::Above(bound) } else { AlarmBound::Below(bound) })
    });
    let Watching { bad, of, period, missing } = watching(fields);
    let unavailable_after = fields.take("unavailable_after");
    let unavailable_after = unavailable_after.and_then(|node| node.count(1..=MOST_FAILURES));
    let on_unavailable = on_unavailable(fields, on_insufficient);
    Some(AlarmSource::Prometheus {
        server: server?,
        query: query?,
        timeout,
        bound: bound?,
        bad,
        of,
        period,
        missing,
        unavailable_after: unavailable_after.unwrap_or(DEFAULT_FAILURES),
        on_unavailable,
    })
}

/// The server of an alarm that names none.
fn only_server(node: &Node<'_>, declared: &Declared<'_>) -> Option<PrometheusName> {
    match declared.prometheus.only() {
        Some(name) => name.parse().ok(),
        None => {
            node.mistake_with_fix(
                "which server is not said",
                "name one of the section `prometheus` with `server`",
            );
            None
        }
    }
}

fn timeout(node: &Node<'_>) -> Option<Span> {
    let timeout = node.span_from(SHORTEST_TIMEOUT)?;
    if timeout > LONGEST_TIMEOUT {
        node.mistake(format!("{timeout} is too long: at most {LONGEST_TIMEOUT}"));
        return None;
    }
    Some(timeout)
}

/// What a server that does not answer means: by default what an answer without data does.
fn on_unavailable(fields: &mut Fields<'_>, on_insufficient: OnInsufficient) -> OnUnavailable {
    let node = fields.take("on_unavailable");
    let word = node.as_ref().and_then(|node| node.word(&UNAVAILABLE));
    match (word, on_insufficient, &node) {
        (Some(OnUnavailable::Hold), OnInsufficient::Ignore, Some(node)) => {
            node.mistake_with_fix(
                "`on_insufficient: ignore` is here, so that nothing is held",
                "leave one of them out",
            );
            OnUnavailable::Hold
        }
        (Some(word), _, _) => word,
        (None, OnInsufficient::Hold, _) => OnUnavailable::Hold,
        (None, OnInsufficient::Ignore, _) => OnUnavailable::Ignore,
    }
}

const UNAVAILABLE: [(&str, OnUnavailable); 3] = [
    ("hold", OnUnavailable::Hold),
    ("ignore", OnUnavailable::Ignore),
    ("rollback", OnUnavailable::Rollback),
];
const DEFAULT_TIMEOUT: Span = Span::from_secs(5);
const SHORTEST_TIMEOUT: Span = Span::from_ms(100);
const LONGEST_TIMEOUT: Span = Span::from_mins(1);
const DEFAULT_FAILURES: u32 = 4;
const MOST_FAILURES: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with};
    use crate::core::model::MissingData;

    const ONE: &str = "prometheus: { main: { url: 'http://127.0.0.1:9090' } }\n";
    const TWO: &str = "prometheus: { main: { url: 'http://127.0.0.1:9090' }, other: { url: 'http://127.0.0.1:9091' } }\n";

    fn text(servers: &str, alarm: &str) -> String {
        with(&format!("{servers}alarms: {{ x: {{ {alarm} }} }}"))
    }

    fn read(servers: &str, alarm: &str) -> AlarmSource {
        let config = parse(&text(servers, alarm)).unwrap();
        config.alarms.into_values().next().unwrap().source
    }

    fn up() -> AlarmSource {
        AlarmSource::Prometheus {
            server: "main".parse().unwrap(),
            query: "up".parse().unwrap(),
            timeout: Span::from_secs(5),
            bound: AlarmBound::Below(1.0),
            bad: 3,
            of: 5,
            period: Span::from_secs(10),
            missing: MissingData::Insufficient,
            unavailable_after: 4,
            on_unavailable: OnUnavailable::Hold,
        }
    }

    #[test]
    fn a_query_has_safe_defaults_and_the_only_server() {
        assert_eq!(read(ONE, "prometheus: { query: up }, below: 1"), up());
        assert_eq!(read(TWO, "prometheus: { query: up, server: main }, below: 1"), up());
    }

    #[test]
    fn everything_of_a_query_is_read() {
        let found = read(
            TWO,
            "prometheus: { query: 'max(x{g=\"{{ green }}\"})', server: other, timeout: 250ms }, above: -0.5, datapoints: 1 of 2, period: 1s, missing: bad, unavailable_after: 10, on_unavailable: rollback",
        );
        let expected = AlarmSource::Prometheus {
            server: "other".parse().unwrap(),
            query: "max(x{g=\"{{ green }}\"})".parse().unwrap(),
            timeout: Span::from_ms(250),
            bound: AlarmBound::Above(-0.5),
            bad: 1,
            of: 2,
            period: Span::from_secs(1),
            missing: MissingData::Bad,
            unavailable_after: 10,
            on_unavailable: OnUnavailable::Rollback,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn an_alarm_that_ignores_missing_data_ignores_a_missing_server_too() {
        let found = read(ONE, "prometheus: { query: up }, below: 1, on_insufficient: ignore");
        let AlarmSource::Prometheus { on_unavailable, .. } = found else { panic!("{found:?}") };
        assert_eq!(on_unavailable, OnUnavailable::Ignore);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        let check = |servers: &str, alarm: &str, expected: &str| {
            refuses(&text(servers, alarm), &format!("alarms.x{expected}"));
        };
        let up = "prometheus: { query: up }";
        check(ONE, "prometheus: {}, above: 1", ".prometheus: `query` is missing");
        check(ONE, "prometheus: { query: '' }, above: 1", ".prometheus.query: a query must not be");
        check(
            ONE,
            "prometheus: { query: '{{ gren }}' }, above: 1",
            ".prometheus.query: \"gren\" is no placeholder",
        );
        check(ONE, up, ": one of `above`, `below` is missing");
        check(ONE, &format!("{up}, above: 2%"), ".above: wanted a number without a unit");
        check("", &format!("{up}, above: 1"), ".prometheus: which server is not said; name one");
        check(TWO, &format!("{up}, above: 1"), ".prometheus: which server is not said; name one");
        check(
            TWO,
            "prometheus: { query: up, server: mian }, above: 1",
            ".prometheus.server: unknown Prometheus server \"mian\"; declared: main, other",
        );
        check(
            ONE,
            "prometheus: { query: up, timeout: 2m }, above: 1",
            ".prometheus.timeout: 2m is too long: at most 1m",
        );
        check(
            ONE,
            &format!("{up}, above: 1, on_insufficient: ignore, on_unavailable: hold"),
            ".on_unavailable: `on_insufficient: ignore` is here",
        );
        check(ONE, &format!("{up}, above: 1, on_unavailable: stop"), ".on_unavailable: found");
        check(ONE, &format!("{up}, above: 1, unavailable_after: 0"), ".unavailable_after: wanted");
        check(ONE, &format!("{up}, above: 1, stale_after: 1h"), ".stale_after: unknown key");
    }
}
