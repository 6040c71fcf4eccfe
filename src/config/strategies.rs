//! `strategies`: the file's own ways from 0 to 100 %.

use std::collections::BTreeMap;

use super::node::Node;
use super::policies::{MAX_SAMPLES, final_bake};
use crate::core::analysis::comparison::compares;
use crate::core::model::{
    Approval, OnApprovalTimeout, Shift, Span, Step, Strategy, StrategyError, StrategyName, Weight,
};

/// Reads the section.
pub(super) fn strategies(node: &Node<'_>) -> BTreeMap<StrategyName, Strategy> {
    node.named(MAX_STRATEGIES, strategy)
}

fn strategy(name: Option<StrategyName>, node: &Node<'_>) -> Option<Strategy> {
    if let Some(name) = name.as_ref().filter(|name| Strategy::predefined(name).is_some()) {
        node.mistake_with_fix(format!("{name} is predefined"), "choose another name");
    }
    let mut fields = node.fields();
    let form = fields.sole(&["steps", "canary", "linear", "all_at_once"]);
    let bake = fields.take("final_bake");
    let final_bake = bake.as_ref().and_then(final_bake);
    fields.finish();
    let name = name?;
    let (form, node) = form?;
    let steps = match form {
        "steps" => listed(&name, &node)?,
        "canary" => canary(&name, &node)?,
        "linear" => linear(&name, &node)?,
        // A list without steps is the last one alone, at 100 %.
        _ => node.only_true().map(|()| Vec::new())?,
    };
    Strategy::new(name, steps, final_bake).map_err(|error| node.mistake(error.to_string())).ok()
}

fn canary(name: &StrategyName, node: &Node<'_>) -> Option<Vec<Step>> {
    let mut fields = node.fields();
    let weight = fields.require("weight").and_then(|node| node.quantity());
    let bake = fields.require("bake").and_then(|node| node.quantity());
    fields.finish();
    steps_of(node, &Strategy::canary(name.clone(), weight?, bake?))
}

fn linear(name: &StrategyName, node: &Node<'_>) -> Option<Vec<Step>> {
    let mut fields = node.fields();
    let by = fields.require("by").and_then(|node| node.quantity());
    let every = fields.require("every").and_then(|node| node.span_from(Span::from_ms(1)));
    fields.finish();
    steps_of(node, &Strategy::linear(name.clone(), by?, every?))
}

fn steps_of(node: &Node<'_>, strategy: &Result<Strategy, StrategyError>) -> Option<Vec<Step>> {
    match strategy {
        Ok(strategy) => Some(strategy.steps().to_vec()),
        Err(error) => {
            node.mistake(error.to_string());
            None
        }
    }
}

/// Reads a list of steps; a mistake in their order is reported at the step that makes it.
fn listed(name: &StrategyName, node: &Node<'_>) -> Option<Vec<Step>> {
    let items = node.some_items(Strategy::LIMIT, "step");
    let steps: Option<Vec<Step>> = items.iter().map(step).collect::<Vec<_>>().into_iter().collect();
    let steps = steps.filter(|steps| !steps.is_empty())?;
    if Strategy::new(name.clone(), steps.clone(), None).is_ok() {
        return Some(steps);
    }
    for (last, item) in items.iter().enumerate() {
        if let Err(error) = Strategy::new(name.clone(), steps[..=last].to_vec(), None) {
            item.mistake(error.to_string());
            break;
        }
    }
    None
}

fn step(node: &Node<'_>) -> Option<Step> {
    let mut fields = node.fields();
    match fields.sole(&["weight", "approval"]) {
        Some(("weight", weight)) => {
            let weight = weight.quantity::<Weight>();
            let bake = fields.require("bake").and_then(|node| node.quantity::<Span>());
            let samples = fields.take("samples").and_then(|node| node.count(1..=MAX_SAMPLES));
            let evidence = fields.take("evidence");
            let early = fields.take("promote_early");
            let promote_early = early.as_ref().and_then(Node::flag);
            fields.finish();
            let samples = samples.map(u64::from);
            let wants =
                evidence.as_ref().or(early.as_ref().filter(|_| promote_early == Some(true)));
            let blind = weight.filter(|weight| !compares(weight.share()));
            if let Some((node, weight)) = wants.zip(blind) {
                node.mistake_with_fix(
                    format!("at {weight} there is nothing to compare green with"),
                    "ask for it at another weight, and give the service an `slo` for the rest",
                );
            }
            let asked = evidence.and_then(|node| node.word(&EVIDENCE));
            let (evidence_pass, promote_early) = (asked.is_some(), promote_early == Some(true));
            let (weight, bake) = (weight?, bake?);
            Some(Step::Shift(Shift { weight, bake, samples, evidence_pass, promote_early }))
        }
        Some((_, node)) => {
            fields.finish();
            approval(&node)
        }
        None => None,
    }
}

fn approval(node: &Node<'_>) -> Option<Step> {
    let mut fields = node.fields();
    let timeout = fields.require("timeout").and_then(|node| node.span_from(Span::from_secs(1)));
    let on_timeout = fields.take("on_timeout").and_then(|node| node.word(&ON_TIMEOUT));
    fields.finish();
    Some(Step::Approval(Approval { timeout: timeout?, on_timeout: on_timeout.unwrap_or_default() }))
}

const ON_TIMEOUT: [(&str, OnApprovalTimeout); 3] = [
    ("rollback", OnApprovalTimeout::Rollback),
    ("stop", OnApprovalTimeout::Stop),
    ("continue", OnApprovalTimeout::Continue),
];

/// What a step may want of the comparison.
const EVIDENCE: [(&str, ()); 1] = [("pass", ())];

/// The most strategies of a configuration.
const MAX_STRATEGIES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{parse, refuses, with};

    fn read(text: &str) -> Strategy {
        let config = parse(&with(&format!("strategies: {{ own: {text} }}"))).unwrap();
        config.strategy(&"own".parse().unwrap()).unwrap()
    }

    #[test]
    fn every_form_becomes_a_list_of_steps() {
        let check = |text: &str, expected: &str| {
            let shown = |step: &Step| match step {
                Step::Shift(shift) => format!("{} {}", shift.weight, shift.bake),
                Step::Approval(approval) => format!("approval {}", approval.timeout),
            };
            let found: Vec<String> = read(text).steps().iter().map(shown).collect();
            assert_eq!(found.join(", "), expected);
        };
        check("{ all_at_once: true }", "100% 0s");
        check("{ canary: { weight: 5%, bake: 1m } }", "5% 1m, 100% 0s");
        check("{ linear: { by: 40%, every: 10s } }", "40% 10s, 80% 10s, 100% 0s");
        check(
            "{ steps: [{ weight: 1%, bake: 2m }, { approval: { timeout: 1h } }, { weight: 50%, bake: 0s }] }",
            "1% 2m, approval 1h, 50% 0s, 100% 0s",
        );
        check("{ steps: [{ weight: 100%, bake: 2m }] }", "100% 2m");
    }

    #[test]
    fn what_a_step_asks_for_is_read() {
        let own = read(
            "{ steps: [{ weight: 1%, bake: 2m, samples: 500 }], final_bake: { for: 15m, keep_blue: 50% } }",
        );
        let (weight, bake) = ("1%".parse().unwrap(), Span::from_mins(2));
        let shift = Shift { samples: Some(500), ..Shift::timed(weight, bake) };
        assert_eq!(own.steps()[0], Step::Shift(shift));
        assert_eq!(own.final_bake().unwrap().length, Span::from_mins(15));
        let own = read("{ canary: { weight: 1%, bake: 2m }, final_bake: { for: 1m } }");
        assert_eq!(own.final_bake().unwrap().length, Span::from_mins(1));
    }

    #[test]
    fn a_step_may_ask_for_the_certificate_and_end_with_it() {
        let own =
            read("{ steps: [{ weight: 1%, bake: 2m, evidence: pass, promote_early: true }] }");
        let timed = Shift::timed("1%".parse().unwrap(), Span::from_mins(2));
        let shift = Shift { evidence_pass: true, promote_early: true, ..timed };
        assert_eq!(own.steps()[0], Step::Shift(shift));
        let check = |step: &str, expected: &str| {
            let text = with(&format!("strategies: {{ own: {{ steps: [{step}] }} }}"));
            refuses(&text, &format!("line 4: strategies.own.steps[0].{expected}"));
        };
        check(
            "{ weight: 1%, bake: 2m, evidence: good }",
            "evidence: found \"good\", wanted one of pass",
        );
        check(
            "{ weight: 100%, bake: 2m, evidence: pass }",
            "evidence: at 100% there is nothing to compare green with",
        );
        check(
            "{ weight: 0.01%, bake: 2m, evidence: pass, promote_early: true }",
            "evidence: at 0.01% there is nothing to compare green with",
        );
        check(
            "{ weight: 99.99%, bake: 2m, promote_early: true }",
            "promote_early: at 99.99% there is nothing to compare green with",
        );
        check(
            "{ weight: 1%, bake: 2m, promote_early: 1 }",
            "promote_early: wanted true or false, found the number 1",
        );
    }

    #[test]
    fn what_is_no_strategy_is_refused() {
        let check = |text: &str, expected: &str| {
            let text = with(&format!("strategies: {{ own: {text} }}"));
            refuses(&text, &format!("line 4: strategies.own{expected}"));
        };
        check("{}", ": one of `steps`, `canary`, `linear`, `all_at_once` is missing");
        check("{ all_at_once: true, steps: [] }", ".all_at_once: only one of");
        check("{ all_at_once: false }", ".all_at_once: false says nothing here");
        check("{ steps: [] }", ".steps: wanted at least one step, found an empty list");
        check("{ steps: [{}] }", ".steps[0]: one of `weight`, `approval` is missing");
        check(
            "{ steps: [{ weight: 10, bake: 1m }] }",
            ".steps[0].weight: \"10\" has no unit: a weight is written in percent",
        );
        check("{ steps: [{ weight: 10% }] }", ".steps[0]: `bake` is missing");
        check(
            "{ steps: [{ weight: 10%, bake: 120 }] }",
            ".steps[0].bake: \"120\" has no unit: a duration",
        );
        check("{ steps: [{ weight: 0%, bake: 1m }] }", ".steps[0]: a step's weight is above 0%");
        check(
            "{ steps: [{ weight: 10%, bake: 1m }, { weight: 10%, bake: 1m }] }",
            ".steps[1]: weights grow from step to step: 10% follows 10%",
        );
        check(
            "{ steps: [{ weight: 100%, bake: 1m }, { approval: { timeout: 1h } }] }",
            ".steps[1]: an approval stands before",
        );
        check(
            "{ steps: [{ weight: 10%, bake: 1m, samples: 0 }] }",
            ".steps[0].samples: wanted a whole number from 1",
        );
        check("{ steps: [{ approval: {} }] }", ".steps[0].approval: `timeout` is missing");
        check(
            "{ steps: [{ approval: { timeout: 1h }, bake: 1m }] }",
            ".steps[0].bake: unknown key",
        );
        check(
            "{ steps: [{ approval: { timeout: 1h, on_timeout: wait } }] }",
            ".steps[0].approval.on_timeout: found \"wait\"",
        );
        check("{ canary: { weight: 0%, bake: 1m } }", ".canary: a step's weight is above 0%");
        check("{ linear: { by: 0.01%, every: 1m } }", ".linear: a strategy has at most 1000 steps");
        check("{ linear: { by: 10%, every: 0s } }", ".linear.every: 0s is too short");
        check(
            "{ all_at_once: true, final_bake: { for: 1m, keep_blue: 0% } }",
            ".final_bake.keep_blue: keep_blue is above 0%",
        );
    }

    #[test]
    fn a_predefined_name_cannot_be_given_away() {
        let name = "CodeDeployDefault.ECSAllAtOnce";
        let text = with(&format!("strategies: {{ {name}: {{ all_at_once: true }} }}"));
        refuses(&text, &format!("strategies.{name}: {name} is predefined; choose another name"));
    }
}
