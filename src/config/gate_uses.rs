//! A service's `gates`: which gates its rollouts ask, where and with what.

use std::collections::BTreeSet;

use super::declared::Names;
use super::node::Node;
use super::params::params;
use crate::core::model::{GateMode, GateName, GateStage, GateUse, OnGateError, Span};

/// Reads the section.
pub(super) fn gate_uses(node: &Node<'_>, declared: &Names<'_>) -> Vec<GateUse> {
    let mut asked = BTreeSet::new();
    let read = |item: &Node<'_>| gate_use(item, declared, &mut asked);
    node.items(MAX_GATES).iter().filter_map(read).collect()
}

/// Reads one use; a gate is asked once at a stage, so that its answer can be told from another.
fn gate_use(
    node: &Node<'_>,
    declared: &Names<'_>,
    asked: &mut BTreeSet<(GateName, GateStage)>,
) -> Option<GateUse> {
    let mut fields = node.fields();
    let gate = fields.require("gate").and_then(|node| node.reference::<GateName>(declared));
    let stages = fields.require("at").map(|node| node.some_items(GateStage::ALL.len(), "stage"));
    let params = fields.take("params").as_ref().map_or(Some(Default::default()), params);
    let on_error = fields.take("on_error").and_then(|node| node.word(&ON_ERROR));
    let on_timeout = fields.take("on_timeout").and_then(|node| node.word(&ON_ERROR));
    let every = fields.take("every").and_then(|node| node.span_from(SHORTEST_EVERY));
    let mode = fields.take("mode").and_then(|node| node.word(&MODES));
    fields.finish();
    let mut at = Vec::new();
    for item in stages.iter().flatten() {
        let Some(stage) = item.word(&GateStage::ALL) else { continue };
        if let Some(gate) = &gate
            && !asked.insert((gate.clone(), stage))
        {
            item.mistake(format!("gate {gate} is asked at {stage} already"));
        }
        at.push(stage);
    }
    Some(GateUse {
        gate: gate?,
        at,
        params: params?,
        on_error: on_error.unwrap_or_default(),
        every: every.unwrap_or(DEFAULT_EVERY),
        mode: mode.unwrap_or_default(),
        on_timeout,
    })
}

const ON_ERROR: [(&str, OnGateError); 3] = [
    ("hold", OnGateError::Hold),
    ("rollback", OnGateError::Rollback),
    ("ignore", OnGateError::Ignore),
];
const MODES: [(&str, GateMode); 2] = [("enforce", GateMode::Enforce), ("shadow", GateMode::Shadow)];

const DEFAULT_EVERY: Span = Span::from_secs(10);
const SHORTEST_EVERY: Span = Span::from_secs(1);

/// The most gates of a service.
const MAX_GATES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    fn read(text: &str) -> (Vec<GateUse>, String) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let gates = load("{budget: 1, window: 2}").unwrap();
        let names = Names::of("gate", Some(&Node::root(&gates, &mistakes)));
        let uses = gate_uses(&Node::root(&yaml, &mistakes), &names);
        (uses, mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default())
    }

    #[test]
    fn a_use_says_where_and_with_what_a_gate_is_asked() {
        let (uses, mistakes) = read(
            "- { gate: budget, at: [before-step, during-step], params: { slo: 99.9 }, on_error: rollback, on_timeout: ignore, every: 30s, mode: shadow }\n\
             - { gate: window, at: [before-step] }",
        );
        assert_eq!(mistakes, "");
        assert_eq!(uses[0].at, [GateStage::BeforeStep, GateStage::DuringStep]);
        assert_eq!(uses[0].params.as_str(), "{\"slo\":99.9}");
        assert_eq!((uses[0].on_error, uses[0].mode), (OnGateError::Rollback, GateMode::Shadow));
        assert_eq!((uses[0].every, uses[1].every), (Span::from_secs(30), DEFAULT_EVERY));
        assert_eq!((uses[1].on_error, uses[1].mode), (OnGateError::Hold, GateMode::Enforce));
        assert_eq!((uses[0].on_timeout, uses[1].on_timeout), (Some(OnGateError::Ignore), None));
    }

    #[test]
    fn what_is_no_use_is_refused() {
        let check = |text: &str, expected: &str| {
            let (_, mistakes) = read(text);
            assert!(mistakes.contains(expected), "{mistakes}");
        };
        check("[{ at: [before-step] }]", "[0]: `gate` is missing");
        check("[{ gate: budget }]", "[0]: `at` is missing");
        check(
            "[{ gate: budget, at: [] }]",
            "[0].at: wanted at least one stage, found an empty list",
        );
        check(
            "[{ gate: budge, at: [before-step] }]",
            "[0].gate: unknown gate \"budge\"; did you mean \"budget\"?",
        );
        check("[{ gate: budget, at: [before-stop] }]", "[0].at[0]: found \"before-stop\"");
        check(
            "[{ gate: budget, at: [before-step, before-step] }]",
            "[0].at[1]: gate budget is asked at before-step already",
        );
        check(
            "[{ gate: budget, at: [before-step] }, { gate: budget, at: [before-step] }]",
            "[1].at[0]: gate budget is asked at",
        );
        check(
            "[{ gate: budget, at: [before-step], every: 10ms }]",
            "[0].every: 10ms is too short: at least 1s",
        );
        check("[{ gate: budget, at: [before-step], mode: off }]", "[0].mode: found \"off\"");
        check(
            "[{ gate: budget, at: [before-step], on_error: fail }]",
            "[0].on_error: found \"fail\"",
        );
        check(
            "[{ gate: budget, at: [before-step], on_timeout: pass }]",
            "[0].on_timeout: found \"pass\"",
        );
    }
}
