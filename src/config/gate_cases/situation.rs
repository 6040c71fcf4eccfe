//! A situation: one question to a gate, and all that it can find out about the world.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::answers::{HttpAnswer, answers};
use super::numbers::{SideNumbers, numbers};
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::params::params;
use crate::core::model::{
    GateMode, GateStage, ParamsText, Revision, RolloutId, ServiceName, Side, Span, WallTime, Weight,
};
use crate::core::rollout::{GateEvidence, GateMetric};

/// What a gate is asked, and what it finds when it asks back.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its service.
    pub service: ServiceName,
    /// Where in the rollout.
    pub stage: GateStage,
    /// The step's number, from 0.
    pub step: u32,
    /// Which asking this is, from 1.
    pub attempt: u32,
    /// What blue runs; `None` if no deploy tool ever said so.
    pub blue_revision: Option<Revision>,
    /// What green runs.
    pub green_revision: Revision,
    /// Green's weight in force.
    pub weight: Weight,
    /// The weight that a pass leads to; `None` is the one in force.
    pub next_weight: Option<Weight>,
    /// Time since the rollout was created.
    pub elapsed: Span,
    /// Whether the gate is obeyed.
    pub mode: GateMode,
    /// Its parameters.
    pub params: ParamsText,
    /// What was measured of blue.
    pub blue: SideNumbers,
    /// What was measured of green.
    pub green: SideNumbers,
    /// What the comparison says; `None` without one.
    pub evidence: Option<GateEvidence>,
    /// What the gate has kept before.
    pub state: BTreeMap<String, String>,
    /// The time of day.
    pub clock: WallTime,
    /// Where chance begins: the same seed draws the same numbers.
    pub seed: u64,
    /// The answers of others over HTTP.
    pub http: Vec<HttpAnswer>,
}

impl Situation {
    /// What was measured of a side.
    #[must_use]
    pub fn numbers(&self, side: Side) -> &SideNumbers {
        match side {
            Side::Blue => &self.blue,
            Side::Green => &self.green,
        }
    }
}

impl Default for Situation {
    /// Green of `shop` has 10 %, nothing was measured, and the year 2026 has just begun.
    fn default() -> Self {
        Self {
            rollout: "d-ABCDEFGH1".parse().expect("an id"),
            service: "shop".parse().expect("a name"),
            stage: GateStage::BeforeStep,
            step: 0,
            attempt: 1,
            blue_revision: None,
            green_revision: "v2".parse().expect("a revision"),
            weight: Weight::from_bp(1_000).expect("at most 100 %"),
            next_weight: None,
            elapsed: Span::from_mins(5),
            mode: GateMode::Enforce,
            params: ParamsText::default(),
            blue: SideNumbers::default(),
            green: SideNumbers::default(),
            evidence: None,
            state: BTreeMap::new(),
            clock: WallTime::from_ms(1_767_225_600_000),
            seed: 0,
            http: Vec::new(),
        }
    }
}

/// Reads a mapping that says nothing but a situation.
pub(super) fn defaults(node: &Node<'_>) -> Situation {
    let mut fields = node.fields();
    let defaults = situation(&mut fields, &Situation::default());
    fields.finish();
    defaults
}

/// Takes what a mapping says of a situation; the rest is that of another.
pub(super) fn situation(fields: &mut Fields<'_>, others: &Situation) -> Situation {
    let mut told = others.clone();
    question(fields, &mut told);
    if let Some(node) = fields.take("telemetry") {
        let mut sides = node.fields();
        set(&mut told.blue, sides.take("blue").as_ref().map(numbers));
        set(&mut told.green, sides.take("green").as_ref().map(numbers));
        sides.finish();
    }
    if let Some(node) = fields.take("evidence") {
        told.evidence = evidence(&node);
    }
    if let Some(node) = fields.take("state") {
        told.state = texts(&node);
    }
    set(&mut told.clock, fields.take("clock").and_then(|node| node.checked(time)));
    let seed = fields.take("seed").and_then(|node| node.count(0..=u32::MAX));
    set(&mut told.seed, seed.map(u64::from));
    set(&mut told.http, fields.take("http").as_ref().map(answers));
    told
}

/// The question itself.
fn question(fields: &mut Fields<'_>, told: &mut Situation) {
    set(&mut told.rollout, fields.take("rollout").and_then(|node| node.parsed()));
    set(&mut told.service, fields.take("service").and_then(|node| node.parsed()));
    set(&mut told.stage, fields.take("stage").and_then(|node| node.word(&GateStage::ALL)));
    set(&mut told.step, fields.take("step").and_then(|node| node.count(0..=u32::MAX)));
    set(&mut told.attempt, fields.take("attempt").and_then(|node| node.count(1..=u32::MAX)));
    if let Some(node) = fields.take("blue_revision") {
        told.blue_revision = node.parsed();
    }
    set(&mut told.green_revision, fields.take("green_revision").and_then(|node| node.parsed()));
    set(&mut told.weight, fields.take("weight").and_then(|node| node.quantity()));
    if let Some(node) = fields.take("next_weight") {
        told.next_weight = node.quantity();
    }
    set(&mut told.elapsed, fields.take("elapsed").and_then(|node| node.quantity()));
    set(&mut told.mode, fields.take("mode").and_then(|node| node.word(&MODES)));
    set(&mut told.params, fields.take("params").as_ref().and_then(params));
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A mapping of texts to texts.
pub(super) fn texts(node: &Node<'_>) -> BTreeMap<String, String> {
    node.named(MAX_KEYS, |_: Option<String>, item| item.text().map(str::to_owned))
}

/// A time of day, as RFC 3339 has it.
fn time(text: &str) -> Result<WallTime, String> {
    let wanted = || {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} is not a time: for example \"2026-03-02T09:30:00Z\"")
    };
    let time: Timestamp = text.parse().map_err(|_| wanted())?;
    u64::try_from(time.as_millisecond()).map(WallTime::from_ms).map_err(|_| wanted())
}

fn evidence(node: &Node<'_>) -> Option<GateEvidence> {
    let mut fields = node.fields();
    let verdict = fields.require("verdict").and_then(|node| node.word(&VERDICTS));
    let reason = fields.take("reason").and_then(|node| node.text().map(str::to_owned));
    let evidence = fields.take("evidence").and_then(|node| node.number());
    let needed = fields.take("needed").and_then(|node| node.number());
    let p_value = fields.take("p_value").and_then(|node| node.number());
    let lower_bound = fields.take("lower_bound").and_then(|node| node.number());
    let missing = fields.take("missing_requests").and_then(|node| node.count(0..=u32::MAX));
    let metrics = fields.take("metrics").as_ref().map(metrics);
    fields.finish();
    Some(GateEvidence {
        verdict: verdict?,
        reason: reason.unwrap_or_default(),
        evidence: evidence.unwrap_or(1.0),
        needed: needed.unwrap_or(20.0),
        p_value: p_value.unwrap_or(1.0),
        lower_bound,
        missing: missing.map(u64::from),
        metrics: metrics.unwrap_or_default(),
    })
}

fn metrics(node: &Node<'_>) -> Vec<GateMetric> {
    let found = node.named(MAX_METRICS, |name: Option<String>, item| {
        let mut fields = item.fields();
        let blue = fields.take("blue").as_ref().map(counts);
        let green = fields.take("green").as_ref().map(counts);
        let share = fields.take("share").and_then(|node| node.number());
        fields.finish();
        Some(GateMetric {
            name: name?,
            blue: blue.unwrap_or_default(),
            green: green.unwrap_or_default(),
            share: share.unwrap_or_default(),
        })
    });
    found.into_values().collect()
}

/// Settled requests, and the bad ones of them.
fn counts(node: &Node<'_>) -> (u64, u64) {
    let mut fields = node.fields();
    let mut count = |key| fields.take(key).and_then(|node: Node<'_>| node.count(0..=u32::MAX));
    let (samples, bad) = (count("samples"), count("bad"));
    fields.finish();
    (samples.unwrap_or_default().into(), bad.unwrap_or_default().into())
}

const MODES: [(&str, GateMode); 2] = [("enforce", GateMode::Enforce), ("shadow", GateMode::Shadow)];
/// The words of the contract.
const VERDICTS: [(&str, &str); 5] = [
    ("pass", "pass"),
    ("fail", "fail"),
    ("insufficient", "insufficient"),
    ("unavailable", "unavailable"),
    ("none", "none"),
];
/// More than a gate can keep, so that a case can show that.
const MAX_KEYS: usize = 128;
const MAX_METRICS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::load;
    use crate::config::mistake::Mistakes;

    fn read(text: &str) -> (Situation, String) {
        let (yaml, mistakes) = (load(text).unwrap(), Mistakes::default());
        let read = defaults(&Node::root(&yaml, &mistakes));
        (read, mistakes.into_errors().map(|errors| errors.to_string()).unwrap_or_default())
    }

    #[test]
    fn every_part_of_a_situation_can_be_said() {
        let (told, mistakes) = read(
            "rollout: d-ABCDEFGH2\n\
             service: cart\n\
             stage: during-step\n\
             step: 3\n\
             attempt: 7\n\
             blue_revision: v1\n\
             green_revision: v3\n\
             weight: 25%\n\
             next_weight: 50%\n\
             elapsed: 1h\n\
             mode: shadow\n\
             params: { b: 1, a: x }\n\
             telemetry: { green: { requests: 9 } }\n\
             evidence: { verdict: insufficient, missing_requests: 12, metrics: { errors: { green: { samples: 9, bad: 1 } } } }\n\
             state: { since: '5' }\n\
             clock: 2026-03-02T09:30:00+02:00\n\
             seed: 4\n\
             http: [{ request: GET https://a.example, status: 204 }]\n",
        );
        assert_eq!(mistakes, "");
        assert_eq!((told.stage, told.step, told.attempt), (GateStage::DuringStep, 3, 7));
        assert_eq!((told.weight.bp(), told.next_weight.map(Weight::bp)), (2_500, Some(5_000)));
        assert_eq!(told.params.as_str(), r#"{"a":"x","b":1}"#);
        assert_eq!(told.clock, WallTime::from_ms(1_772_436_600_000));
        assert_eq!(told.state["since"], "5");
        let evidence = told.evidence.expect("it is there");
        assert_eq!((evidence.verdict, evidence.missing), ("insufficient", Some(12)));
        assert_eq!((evidence.metrics[0].green, evidence.metrics[0].blue), ((9, 1), (0, 0)));
        assert_eq!((told.http.len(), told.seed), (1, 4));
    }

    #[test]
    fn what_is_no_part_of_a_situation_is_refused() {
        let check = |text: &str, expected: &str| {
            let (_, mistakes) = read(text);
            assert!(mistakes.contains(expected), "{mistakes}\ndoes not contain\n{expected}");
        };
        check("clock: noon", "clock: \"noon\" is not a time: for example");
        check("telemetry: { grean: {} }", "telemetry.grean: unknown key; did you mean `green`?");
        check("evidence: { verdict: good }", "evidence.verdict: found \"good\"");
        check("state: { a: 1 }", "state.a: wanted a text, found the number 1; put it in quotes");
        check("attempt: 0", "attempt: wanted a whole number from 1");
    }
}
