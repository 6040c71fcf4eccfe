//! `alertmanager` of an alarm: which alerts are about it, and how long what they said counts.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::fields::Fields;
use super::node::Node;
use crate::core::model::{AlarmName, AlarmSource, Labels, Span};

/// Reads the source and the keys beside it. Without `matchers` an alert is about the alarm whose
/// name its label `tidegate_alarm` has.
pub(super) fn source(
    node: &Node<'_>,
    fields: &mut Fields<'_>,
    name: Option<&AlarmName>,
) -> Option<AlarmSource> {
    let mut told = node.fields();
    let matchers = told.take("matchers").map(|node| labels(&node));
    let heartbeat = told.take("heartbeat").map(|node| labels(&node)).unwrap_or_default();
    told.finish();
    let stale_after = fields.take("stale_after");
    let stale_after = stale_after.and_then(|node| node.span_from(Span::from_secs(1)));
    let by_name = || Some(Labels::from([(LABEL.to_owned(), name?.to_string())]));
    let matchers: Option<Labels> = match matchers {
        Some(matchers) => Some(matchers).filter(|labels| !labels.is_empty()),
        None => by_name(),
    };
    Some(AlarmSource::Alertmanager {
        matchers: matchers?,
        heartbeat,
        stale_after: stale_after.unwrap_or(DEFAULT_STALE),
    })
}

/// Reads labels, at least one.
fn labels(node: &Node<'_>) -> Labels {
    let labels: BTreeMap<LabelName, String> =
        node.named(MAX_LABELS, |_: Option<LabelName>, node| {
            let value = node.text()?;
            if value.len() > LONGEST_VALUE {
                return node.wanted(&format!("a value of at most {LONGEST_VALUE} bytes"));
            }
            Some(value.to_owned())
        });
    if labels.is_empty() && node.yaml().data.is_empty_collection() {
        node.mistake("wanted at least one label");
    }
    labels.into_iter().map(|(name, value)| (name.0, value)).collect()
}

/// The name of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LabelName(String);

impl FromStr for LabelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
        let goes_on = |c: char| begins(c) || c.is_ascii_digit();
        if text.starts_with(begins) && text.chars().all(goes_on) && text.len() <= LONGEST_NAME {
            return Ok(Self(text.to_owned()));
        }
        Err("the name of a label is made of letters, digits and `_`, and begins with no digit"
            .to_owned())
    }
}

/// The label that names an alarm.
const LABEL: &str = "tidegate_alarm";
/// Longer than Alertmanager waits by default until it repeats what still fires.
const DEFAULT_STALE: Span = Span::from_hours(5);
const MAX_LABELS: usize = 20;
const LONGEST_NAME: usize = 200;
const LONGEST_VALUE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with};

    fn read(alarm: &str) -> AlarmSource {
        let config = parse(&with(&format!("alarms: {{ x: {{ {alarm} }} }}"))).unwrap();
        config.alarms.into_values().next().unwrap().source
    }

    fn labels_of(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_alert_names_its_alarm_or_is_told_by_its_labels() {
        let by_name = AlarmSource::Alertmanager {
            matchers: labels_of(&[("tidegate_alarm", "x")]),
            heartbeat: Labels::new(),
            stale_after: Span::from_hours(5),
        };
        assert_eq!(read("alertmanager: {}"), by_name);
        let found = read(
            "alertmanager: { matchers: { alertname: Down, service: shop }, heartbeat: { alertname: Watchdog } }, stale_after: 5m",
        );
        let by_labels = AlarmSource::Alertmanager {
            matchers: labels_of(&[("alertname", "Down"), ("service", "shop")]),
            heartbeat: labels_of(&[("alertname", "Watchdog")]),
            stale_after: Span::from_mins(5),
        };
        assert_eq!(found, by_labels);
    }

    #[test]
    fn what_matches_nothing_or_everything_is_refused() {
        let check = |alarm: &str, expected: &str| {
            let text = with(&format!("alarms: {{ x: {{ {alarm} }} }}"));
            refuses(&text, &format!("line 4: alarms.x{expected}"));
        };
        check("alertmanager: true", ".alertmanager: wanted a mapping, found true");
        check("alertmanager: { matchers: {} }", ".alertmanager.matchers: wanted at least one");
        check("alertmanager: { matchers: { a: 1 } }", ".alertmanager.matchers.a: wanted a text");
        check(
            "alertmanager: { matchers: { a-b: x } }",
            ".alertmanager.matchers.a-b: the name of a label",
        );
        check("alertmanager: { labels: {} }", ".alertmanager.labels: unknown key");
        check("alertmanager: {}, stale_after: 0s", ".stale_after: 0s is too short");
        check("alertmanager: {}, expires_after: 1m", ".expires_after: unknown key");
    }
}
