//! `rescue`, `fail_open` and `retries`: which failures of a target are tried again, and how often.

use super::fields::Fields;
use super::node::Node;
use crate::core::model::{RetryMethod, RetryPolicy, RetryStatus};

/// Takes the keys about second attempts out of a service's.
pub(super) fn retries(fields: &mut Fields<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let rescue = fields.take("rescue").and_then(|node| node.flag());
    let fail_open = fields.take("fail_open").and_then(|node| node.flag());
    let rest = fields.take("retries").as_ref().map_or_else(RetryPolicy::default, section);
    RetryPolicy {
        rescue: rescue.unwrap_or(default.rescue),
        fail_open: fail_open.unwrap_or(default.fail_open),
        ..rest
    }
}

fn section(node: &Node<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let mut fields = node.fields();
    let methods = fields
        .take("methods")
        .map(|node| distinct(&node, METHODS.len(), |item| item.word(&METHODS)));
    let on_status = fields.take("on_status").map(|node| distinct(&node, MAX_STATUSES, status));
    let budget = fields.take("budget").and_then(|node| node.quantity());
    let min_per_second =
        fields.take("min_per_second").and_then(|node| node.count(0..=MAX_PER_SECOND));
    fields.finish();
    RetryPolicy {
        rescue: default.rescue,
        methods: methods.unwrap_or_default(),
        on_status: on_status.unwrap_or_default(),
        budget: budget.unwrap_or(default.budget),
        min_per_second: min_per_second.unwrap_or(default.min_per_second),
        fail_open: default.fail_open,
    }
}

/// A list in which nothing is twice.
fn distinct<T: PartialEq>(
    node: &Node<'_>,
    most: usize,
    read: impl Fn(&Node<'_>) -> Option<T>,
) -> Vec<T> {
    let mut all = Vec::new();
    for item in node.items(most) {
        match read(&item) {
            Some(value) if all.contains(&value) => item.mistake("is listed twice"),
            Some(value) => all.push(value),
            None => {}
        }
    }
    all
}

fn status(node: &Node<'_>) -> Option<RetryStatus> {
    let code = node.count(u32::from(RetryStatus::LOWEST)..=u32::from(RetryStatus::HIGHEST))?;
    u16::try_from(code).ok().and_then(RetryStatus::of)
}

const METHODS: [(&str, RetryMethod); 2] =
    [("PUT", RetryMethod::Put), ("DELETE", RetryMethod::Delete)];
/// The most statuses in `on_status`: there are no more.
const MAX_STATUSES: usize = 3;
/// The most second attempts a second that a service may have without traffic to justify them.
const MAX_PER_SECOND: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with_service};
    use crate::core::model::Weight;

    fn read(keys: &str) -> RetryPolicy {
        let config = parse(&with_service(keys)).unwrap();
        config.services.into_values().next().unwrap().retries
    }

    #[test]
    fn second_attempts_are_read_and_default_to_the_safe_ones() {
        assert_eq!(read("tell_side: false"), RetryPolicy::default());
        assert_eq!(read("retries: {}"), RetryPolicy::default());
        assert!(!read("rescue: false").rescue);
        assert!(!read("fail_open: false").fail_open);
        let keys = "retries: { methods: [PUT, DELETE], on_status: [503, 502], budget: 5%, \
                    min_per_second: 0 }";
        let expected = RetryPolicy {
            rescue: true,
            methods: vec![RetryMethod::Put, RetryMethod::Delete],
            on_status: vec![RetryStatus::ServiceUnavailable, RetryStatus::BadGateway],
            budget: Weight::from_bp(500).unwrap(),
            min_per_second: 0,
            fail_open: true,
        };
        assert_eq!(read(keys), expected);
    }

    #[test]
    fn what_cannot_be_tried_again_is_refused() {
        let check = |keys: &str, expected: &str| {
            refuses(&with_service(keys), &format!("services.shop.{expected}"));
        };
        check("rescue: 1", "rescue: wanted true or false, found the number 1");
        check("fail_open: 1", "fail_open: wanted true or false, found the number 1");
        check(
            "retries: { methods: [POST] }",
            "retries.methods[0]: found \"POST\", wanted one of PUT, DELETE",
        );
        check("retries: { methods: [PUT, PUT] }", "retries.methods[1]: is listed twice");
        check(
            "retries: { on_status: [500] }",
            "retries.on_status[0]: wanted a whole number from 502 to 504, found the number 500",
        );
        check("retries: { budget: 20 }", "retries.budget: \"20\" has no unit");
        check("retries: { budget: 101% }", "retries.budget: weight 10100 is above 10000");
        check(
            "retries: { min_per_second: 10001 }",
            "retries.min_per_second: wanted a whole number from 0 to 10000",
        );
        check("retries: { attempts: 3 }", "retries.attempts: unknown key; known here: methods,");
        check("timeouts: { per_try: 0s }", "timeouts.per_try: 0s is too short: at least 1ms");
    }
}
