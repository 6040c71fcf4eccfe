//! What a gate has to say in a case, and what that may take.

use std::collections::BTreeMap;

use super::situation::texts;
use crate::config::bytes::bytes_between;
use crate::config::node::Node;
use crate::core::model::Span;
use crate::core::rollout::GateErrorKind;

/// What a gate has to say, and what that may take; `None` is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What it has to answer.
    pub answer: ExpectedAnswer,
    /// What its reason, or the text of its error, has to contain.
    pub reason: Option<String>,
    /// When a hold has to be asked again.
    pub retry_after: Option<Span>,
    /// All that it has to keep afterwards.
    pub state: Option<BTreeMap<String, String>>,
    /// Texts of which each has to stand in some line of its log.
    pub log: Vec<String>,
    /// Texts of which each has to stand in some request that it sends: method, URL and body.
    pub requests: Vec<String>,
    /// The longest time it may take.
    pub time: Option<Span>,
    /// The most linear memory it may take, in bytes.
    pub memory: Option<u64>,
    /// The most units of fuel it may take.
    pub fuel: Option<u64>,
    /// The most calls into the host it may make.
    pub host_calls: Option<u32>,
}

/// An answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedAnswer {
    /// It passes.
    Pass,
    /// It holds.
    Hold,
    /// It fails.
    Fail,
    /// It does not come to a verdict.
    Error(GateErrorKind),
}

/// Reads what is expected.
pub(super) fn expected(node: &Node<'_>) -> Option<Expected> {
    let mut fields = node.fields();
    let answer = fields.sole(&["verdict", "error"]).and_then(|(key, node)| match key {
        "verdict" => node.word(&VERDICTS),
        _ => node.word(&ERRORS).map(ExpectedAnswer::Error),
    });
    let reason = fields.take("reason").and_then(|node| node.text().map(str::to_owned));
    let retry_after = fields.take("retry_after");
    if let (Some(node), Some(answer)) = (&retry_after, answer)
        && answer != ExpectedAnswer::Hold
    {
        node.mistake("only a hold says when to ask again");
    }
    let retry_after = retry_after.and_then(|node| node.quantity());
    let state = fields.take("state").as_ref().map(texts);
    let log = fields.take("log").as_ref().map(lines).unwrap_or_default();
    let requests = fields.take("requests").as_ref().map(lines).unwrap_or_default();
    let (mut time, mut memory, mut fuel, mut host_calls) = (None, None, None, None);
    if let Some(node) = fields.take("at_most") {
        let mut most = node.fields();
        time = most.take("time").and_then(|node| node.span_from(Span::from_ms(1)));
        memory = most.take("memory").and_then(|node| bytes_between(&node, "1KiB", "64MiB"));
        fuel = most.take("fuel").and_then(|node| node.count(1..=u32::MAX)).map(u64::from);
        host_calls = most.take("host_calls").and_then(|node| node.count(0..=u32::MAX));
        most.finish();
    }
    fields.finish();
    Some(Expected {
        answer: answer?,
        reason,
        retry_after,
        state,
        log,
        requests,
        time,
        memory,
        fuel,
        host_calls,
    })
}

fn lines(node: &Node<'_>) -> Vec<String> {
    let items = node.items(MAX_LINES);
    items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
}

const VERDICTS: [(&str, ExpectedAnswer); 3] = [
    ("pass", ExpectedAnswer::Pass),
    ("hold", ExpectedAnswer::Hold),
    ("fail", ExpectedAnswer::Fail),
];
/// Those that a gate can bring about.
const ERRORS: [(&str, GateErrorKind); 6] = [
    ("trap", GateErrorKind::Trap),
    ("deadline", GateErrorKind::Deadline),
    ("memory", GateErrorKind::Memory),
    ("limit", GateErrorKind::Limit),
    ("guest", GateErrorKind::Guest),
    // Parameters that its schema does not permit.
    ("unavailable", GateErrorKind::Unavailable),
];
const MAX_LINES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    fn read(text: &str) -> (Option<Expected>, String) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let read = expected(&Node::root(&yaml, &mistakes));
        (read, mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default())
    }

    #[test]
    fn every_part_of_an_answer_can_be_expected() {
        let (found, mistakes) = read(
            "{ verdict: hold, reason: 12 more, retry_after: 10s, state: { k: v }, log: [asked],\n\
             \x20 requests: [GET https://a.example/],\n\
             \x20 at_most: { time: 20ms, memory: 2MiB, fuel: 100000, host_calls: 3 } }",
        );
        assert_eq!(mistakes, "");
        let expected = Expected {
            answer: ExpectedAnswer::Hold,
            reason: Some("12 more".to_owned()),
            retry_after: Some(Span::from_secs(10)),
            state: Some([("k".to_owned(), "v".to_owned())].into()),
            log: vec!["asked".to_owned()],
            requests: vec!["GET https://a.example/".to_owned()],
            time: Some(Span::from_ms(20)),
            memory: Some(2 << 20),
            fuel: Some(100_000),
            host_calls: Some(3),
        };
        assert_eq!(found, Some(expected));
        let (found, _) = read("error: deadline");
        let answer = found.map(|expected| expected.answer);
        assert_eq!(answer, Some(ExpectedAnswer::Error(GateErrorKind::Deadline)));
    }

    #[test]
    fn what_cannot_be_expected_is_refused() {
        let check = |text: &str, expected: &str| {
            let (_, mistakes) = read(text);
            assert!(mistakes.contains(expected), "{mistakes}\ndoes not contain\n{expected}");
        };
        check(
            "{ verdict: pass, error: trap }",
            "error: only one of `verdict`, `error` can be here",
        );
        check("{ error: oops }", "error: found \"oops\"");
        check("{ verdict: pass, retry_after: 5s }", "retry_after: only a hold says when");
        check("{ verdict: pass, at_most: { time: 5 } }", "at_most.time: \"5\" has no unit");
        check("{ verdict: pass, at_most: { cpu: 5 } }", "at_most.cpu: unknown key");
    }
}
