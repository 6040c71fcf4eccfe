//! `shutdown`: how the process ends.

use super::ShutdownSpec;
use super::node::Node;
use crate::core::model::Span;

/// Reads the section; without one, requests in flight get half a minute.
pub(super) fn shutdown(node: Option<&Node<'_>>) -> ShutdownSpec {
    let default = ShutdownSpec { drain: DEFAULT_DRAIN };
    let Some(node) = node else { return default };
    let mut fields = node.fields();
    let drain = fields.take("drain").and_then(|node| {
        let span = node.span_from(SHORTEST_DRAIN)?;
        if span > LONGEST_DRAIN {
            node.mistake(format!("{span} is too long: at most {LONGEST_DRAIN}"));
            return None;
        }
        Some(span)
    });
    fields.finish();
    drain.map_or(default, |drain| ShutdownSpec { drain })
}

const DEFAULT_DRAIN: Span = Span::from_secs(30);
const SHORTEST_DRAIN: Span = Span::from_ms(1);
const LONGEST_DRAIN: Span = Span::from_hours(24);

#[cfg(test)]
mod tests {
    use crate::config::tests::{BASE, parse, refuses, with};
    use crate::core::model::Span;

    #[test]
    fn a_drain_is_bounded_and_half_a_minute_by_default() {
        let drain = |text: &str| parse(text).expect("no mistake").shutdown.drain;
        assert_eq!(drain(BASE), Span::from_secs(30));
        assert_eq!(drain(&with("shutdown: {}")), Span::from_secs(30));
        assert_eq!(drain(&with("shutdown: { drain: 2m }")), Span::from_mins(2));
        refuses(&with("shutdown: { drain: 0s }"), "shutdown.drain: 0s is too short");
        refuses(&with("shutdown: { drain: 25h }"), "shutdown.drain: 1d1h is too long: at most 1d");
        refuses(&with("shutdown: { drain: 30 }"), "shutdown.drain: \"30\" has no unit");
        refuses(&with("shutdown: { grace: 1s }"), "shutdown.grace: unknown key");
    }
}
