//! `mirror`: which requests green sees before it has any weight.

use super::node::Node;
use crate::core::model::{MirrorPolicy, Span};

/// Reads the section.
pub(super) fn mirror(node: &Node<'_>) -> Option<MirrorPolicy> {
    let mut fields = node.fields();
    let share = fields.require("share").and_then(|node| node.quantity());
    let timeout = fields.take("timeout").and_then(|node| node.span_from(Span::from_ms(1)));
    let concurrency = fields.take("concurrency").and_then(|node| node.count(1..=MAX_CONCURRENCY));
    fields.finish();
    Some(MirrorPolicy {
        share: share?,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY),
    })
}

const DEFAULT_TIMEOUT: Span = Span::from_secs(5);
const DEFAULT_CONCURRENCY: u32 = 32;
/// The most mirrored requests of a service under way.
const MAX_CONCURRENCY: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};
    use crate::core::model::Weight;

    fn read(keys: &str) -> Option<MirrorPolicy> {
        let config = parse(&with_service(keys)).unwrap();
        config.services.into_values().next().unwrap().mirror
    }

    #[test]
    fn nothing_is_mirrored_unless_a_share_is_named() {
        assert_eq!(read("tell_side: false"), None);
        let policy = |bp, secs, concurrency| {
            let (share, timeout) = (Weight::from_bp(bp).unwrap(), Span::from_secs(secs));
            Some(MirrorPolicy { share, timeout, concurrency })
        };
        assert_eq!(read("mirror: { share: 5% }"), policy(500, 5, 32));
        assert_eq!(
            read("mirror: { share: 100%, timeout: 1s, concurrency: 4 }"),
            policy(10_000, 1, 4)
        );
    }

    #[test]
    fn what_is_no_mirror_is_refused() {
        let check = |text: &str, expected: &str| {
            refuses(
                &with_service(&format!("mirror: {text}")),
                &format!("services.shop.mirror{expected}"),
            );
        };
        check("{}", ": `share` is missing");
        check("{ share: 5 }", ".share: \"5\" has no unit");
        check("{ share: 5%, timeout: 0s }", ".timeout: 0s is too short: at least 1ms");
        check(
            "{ share: 5%, concurrency: 0 }",
            ".concurrency: wanted a whole number from 1 to 1000",
        );
        check("{ share: 5%, timeouts: 1s }", ".timeouts: unknown key; did you mean `timeout`?");
    }
}
