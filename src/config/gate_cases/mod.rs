//! Cases of a gate: written situations, and what the gate has to say to each.
//!
//! It is a file of its own, which belongs to the gate and not to a proxy, and is read like a
//! configuration: unknown keys are mistakes, and all mistakes are reported at once with their key
//! paths and lines. What a case does not say is what `defaults` say, and what those do not say is
//! the default of [`Situation`].

mod answers;
mod expected;
mod numbers;
mod situation;

use std::path::Path;

pub use self::answers::{HttpAnswer, HttpOutcome};
pub use self::expected::{Expected, ExpectedAnswer};
pub use self::numbers::SideNumbers;
pub use self::situation::Situation;

use super::gate_grants::{grants, limits};
use super::mistake::{ConfigErrors, Mistakes};
use super::node::Node;
use super::{document, read_bounded};
use crate::core::model::{GateGrants, GateLimits};

/// The cases of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct GateCases {
    /// What its calls may use.
    pub limits: GateLimits,
    /// What it may use of the world outside, which the cases pretend.
    pub grants: GateGrants,
    /// The cases in the order of the file; at least one.
    pub cases: Vec<GateCase>,
}

/// One case.
#[derive(Clone, Debug, PartialEq)]
pub struct GateCase {
    /// What it shows, in words.
    pub name: String,
    /// The line where it begins.
    pub line: usize,
    /// What the gate is asked, and all that it can find out.
    pub situation: Situation,
    /// What it has to say.
    pub expected: Expected,
}

impl GateCases {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// Everything that is wrong with it, with the file's name.
    pub fn load(file: &Path) -> Result<Self, ConfigErrors> {
        let cases = read_bounded(file).and_then(|text| Self::parse(&text));
        cases.map_err(|errors| errors.in_file(file))
    }

    /// Reads cases.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let mistakes = Mistakes::default();
        let document = document::read(text, &mistakes)?;
        let cases = read(&Node::root(&document, &mistakes));
        mistakes.into_errors().map_or(Ok(cases), Err)
    }
}

fn read(root: &Node<'_>) -> GateCases {
    let mut fields = root.fields();
    let grants = fields.take("grants").as_ref().map(grants).unwrap_or_default();
    let limits = limits(fields.take("limits").as_ref(), &grants);
    let defaults = fields.take("defaults").as_ref().map(situation::defaults).unwrap_or_default();
    let cases = fields.require("cases").map(|node| node.some_items(MAX_CASES, "case"));
    fields.finish();
    let cases = cases.unwrap_or_default();
    let cases = cases.iter().filter_map(|node| case(node, &defaults)).collect();
    GateCases { limits, grants, cases }
}

fn case(node: &Node<'_>, defaults: &Situation) -> Option<GateCase> {
    let mut fields = node.fields();
    let name = fields.require("name").and_then(|node| node.text().map(str::to_owned));
    let situation = situation::situation(&mut fields, defaults);
    let expected = fields.require("expect").and_then(|node| expected::expected(&node));
    fields.finish();
    Some(GateCase { name: name?, line: node.line(), situation, expected: expected? })
}

/// The most cases of a file.
const MAX_CASES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Span;

    #[test]
    fn a_case_is_a_situation_and_what_is_expected() {
        let cases = GateCases::parse(
            "limits: { deadline: 1s }\n\
             defaults: { service: cart, params: { slo: 99.9 } }\n\
             cases:\n\
             - { name: one, step: 2, expect: { verdict: pass } }\n\
             - name: two\n\
             \x20 service: shop\n\
             \x20 expect: { error: trap }\n",
        );
        let cases = cases.expect("no mistakes");
        assert_eq!(cases.limits.deadline, Span::from_secs(1));
        let [one, two] = cases.cases.as_slice() else { panic!("{cases:?}") };
        assert_eq!((one.name.as_str(), one.line, two.line), ("one", 4, 5));
        assert_eq!((one.situation.service.as_str(), one.situation.step), ("cart", 2));
        assert_eq!((two.situation.service.as_str(), two.situation.step), ("shop", 0));
        assert_eq!(two.situation.params.as_str(), r#"{"slo":99.9}"#);
        assert_eq!(one.expected.answer, ExpectedAnswer::Pass);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let errors = GateCases::parse(
            "limits: { memory: 16 }\n\
             cases:\n\
             - { name: one, stage: before-stop, expect: { verdict: pass } }\n\
             - { expect: { verdict: maybe }, weight: 10 }\n\
             - { name: three, telemetry: { green: { error-rate: 1 } }, expect: {} }\n",
        );
        let found = errors.expect_err("mistakes").to_string();
        for part in [
            "line 1: limits.memory: \"16\" is not an amount of bytes",
            "line 3: cases[0].stage: found \"before-stop\"",
            "line 4: cases[1]: `name` is missing",
            "line 4: cases[1].expect.verdict: found \"maybe\"",
            "line 4: cases[1].weight: \"10\" has no unit",
            "line 5: cases[2].telemetry.green.error-rate: unknown key; did you mean `error_rate`?",
            "line 5: cases[2].expect: one of `verdict`, `error` is missing",
        ] {
            assert!(found.contains(part), "{found}\ndoes not contain\n{part}");
        }
        assert_eq!(found.lines().count(), 7, "{found}");
    }

    #[test]
    fn a_file_without_cases_shows_nothing_and_is_refused() {
        for text in ["cases: []", "limits: {}", "[]"] {
            assert!(GateCases::parse(text).is_err(), "{text}");
        }
    }
}
