//! One entry of the ledger as the demo tells it.

use serde_json::{Value, json};

use crate::core::ledger::Entry;
use crate::core::rollout::{Fact, GateAnswer, Outcome};

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Waiting,
}

/// Something that was decided or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) seq: u64,
    pub(super) kind: String,
    /// The facts, as the ledger has them.
    pub(super) detail: Value,
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Happening {
    /// What a person wants to know of an entry; `None` for what only machines do.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
        let (tone, text) = match fact(&entry.kind, &detail) {
            Some(fact) => tell(&fact)?,
            None => tell_other(&entry.kind, &detail)?,
        };
        Some(Self { seq: entry.seq, kind: entry.kind.clone(), detail, text, tone })
    }

    /// What a gate said, without where; `None` if it is about something else.
    pub(super) fn verdict(&self) -> Option<String> {
        let said = self.text.split_once(": ").filter(|_| self.kind == "gate_answered");
        said.map(|(_, verdict)| verdict.to_owned())
    }

    /// Whether a gate has said what it thinks; one that broke has not.
    pub(super) fn is_verdict(&self) -> bool {
        use GateAnswer::{Fail, Hold, Pass};
        matches!(
            fact(&self.kind, &self.detail),
            Some(Fact::GateAnswered { answer: Pass | Fail { .. } | Hold { .. }, .. })
        )
    }

    /// For machines; when it was seen, in milliseconds since the demo began.
    pub(super) fn json(&self, at_ms: u64) -> Value {
        json!({
            "event": {
                "at_ms": at_ms, "seq": self.seq, "kind": self.kind, "detail": self.detail, "text": self.text,
            }
        })
    }
}

/// The rollout's fact that an entry stands for; `None` if it is about something else.
fn fact(kind: &str, detail: &Value) -> Option<Fact> {
    let with_detail = serde_json::from_value::<Fact>(json!({ kind: detail }));
    with_detail.or_else(|_| serde_json::from_value(json!(kind))).ok()
}

fn tell(fact: &Fact) -> Option<(Tone, String)> {
    let told = match fact {
        Fact::RolloutCreated => (Tone::Plain, "rollout created".to_owned()),
        Fact::StateEntered { state } => (Tone::Plain, format!("now {state}")),
        Fact::StepBegan { step, weight } => (Tone::Plain, format!("step {}: {weight}", step + 1)),
        Fact::GreenRaised { from, to } => (Tone::Good, format!("green raised: {from} to {to}")),
        Fact::GreenLowered { from, to } => (Tone::Bad, format!("green lowered: {from} to {to}")),
        Fact::BakeOver { step, watched, scored } => {
            let step = step + 1;
            (Tone::Plain, format!("step {step} watched for {watched}: {scored} green requests"))
        }
        Fact::GateAnswered { gate, stage, answer, .. } => {
            let (tone, said) = verdict(answer);
            (tone, format!("gate {gate} at {stage}: {said}"))
        }
        Fact::HoldBegan { hold } => (Tone::Waiting, format!("hold: {hold}")),
        Fact::HoldEnded { hold } => (Tone::Plain, format!("hold ended: {hold}")),
        Fact::RegressionFound { cause } => (Tone::Bad, format!("regression: {cause}")),
        Fact::Commanded { verb } => (Tone::Plain, format!("{} was commanded", verb.as_str())),
        Fact::Ended { outcome, cause } => {
            let why = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
            let (tone, how) = match outcome {
                Outcome::Succeeded => (Tone::Good, "succeeded"),
                Outcome::RolledBack => (Tone::Bad, "rolled back"),
                Outcome::Stopped => (Tone::Bad, "stopped"),
                Outcome::Failed => (Tone::Bad, "failed"),
            };
            (tone, format!("{how}{why}"))
        }
        Fact::RaiseIntended { .. }
        | Fact::AnswerDropped { .. }
        | Fact::RegressionOverridden { .. }
        | Fact::ApprovalAsked { .. }
        | Fact::ApprovalSkipped
        | Fact::CommandRefused { .. }
        | Fact::Restored { .. } => return None,
    };
    Some(told)
}

fn verdict(answer: &GateAnswer) -> (Tone, String) {
    match answer {
        GateAnswer::Pass => (Tone::Good, "pass".to_owned()),
        GateAnswer::Fail { reason } => (Tone::Bad, format!("fail: {reason}")),
        GateAnswer::Hold { reason, .. } => (Tone::Waiting, format!("hold: {reason}")),
        GateAnswer::Error { kind, text } => (Tone::Bad, format!("{}: {text}", kind.as_str())),
    }
}

fn tell_other(kind: &str, detail: &Value) -> Option<(Tone, String)> {
    let text = |key: &str| detail.get(key).and_then(Value::as_str).unwrap_or_default();
    match kind {
        "alarm_changed" => {
            let tone = match text("to") {
                "ALARM" => Tone::Bad,
                "OK" => Tone::Good,
                _ => Tone::Plain,
            };
            let (alarm, from, to) = (text("alarm"), text("from"), text("to"));
            Some((tone, format!("alarm {alarm}: {from} to {to}")))
        }
        "targets_registered" => {
            let count = detail.get("targets").and_then(Value::as_array).map_or(0, Vec::len);
            Some((Tone::Plain, format!("{count} targets registered in {}", text("target_group"))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::{Draft, Head};
    use crate::core::model::{GateStage, Span, WallTime, Weight};
    use crate::core::rollout::{Cause, GateErrorKind, Hold, StateName};

    fn entry(kind: &str, detail: &Value) -> Entry {
        let draft = Draft {
            at: WallTime::from_ms(1),
            service: None,
            rollout: None,
            actor: "tidegate".to_owned(),
            origin: "rollout".to_owned(),
            reason: None,
            kind: kind.to_owned(),
            detail: detail.to_string(),
        };
        draft.seal(Head::GENESIS)
    }

    /// The entry that the writer makes of a fact.
    fn entry_of(fact: &Fact) -> Entry {
        let value = serde_json::to_value(fact).unwrap();
        match value.as_object().and_then(|fields| fields.iter().next()) {
            Some((kind, detail)) => entry(kind, detail),
            None => entry(value.as_str().unwrap(), &json!({})),
        }
    }

    #[test]
    fn every_fact_of_a_rollout_is_told_in_a_line() {
        let check = |fact: Fact, tone: Tone, expected: &str| {
            let told = Happening::of(&entry_of(&fact)).unwrap();
            assert_eq!((told.tone, told.text.as_str()), (tone, expected));
        };
        let ten: Weight = "10%".parse().unwrap();
        check(Fact::RolloutCreated, Tone::Plain, "rollout created");
        check(Fact::StateEntered { state: StateName::Shifting }, Tone::Plain, "now shifting");
        check(Fact::StepBegan { step: 0, weight: ten }, Tone::Plain, "step 1: 10%");
        let raised = Fact::GreenRaised { from: Weight::ZERO, to: ten };
        check(raised, Tone::Good, "green raised: 0% to 10%");
        let lowered = Fact::GreenLowered { from: ten, to: Weight::ZERO };
        check(lowered, Tone::Bad, "green lowered: 10% to 0%");
        let over = Fact::BakeOver { step: 0, watched: Span::from_secs(4), scored: 160 };
        check(over, Tone::Plain, "step 1 watched for 4s: 160 green requests");
        let hold = Hold::Samples { missing: 5 };
        check(Fact::HoldBegan { hold }, Tone::Waiting, "hold: 5 more green requests");
        let cause = Cause::Alarm { alarm: "shop-errors".parse().unwrap() };
        let found = Fact::RegressionFound { cause: cause.clone() };
        check(found, Tone::Bad, "regression: alarm shop-errors is in ALARM");
        let ended = Fact::Ended { outcome: Outcome::RolledBack, cause: Some(cause) };
        check(ended, Tone::Bad, "rolled back: alarm shop-errors is in ALARM");
        let ended = Fact::Ended { outcome: Outcome::Succeeded, cause: None };
        check(ended, Tone::Good, "succeeded");
    }

    #[test]
    fn a_gates_verdict_is_told_with_its_reason() {
        let check = |answer: GateAnswer, tone: Tone, expected: &str| {
            let gate = "error-budget".parse().unwrap();
            let stage = GateStage::BeforeStep;
            let (shadow, call) = (false, None);
            let fact =
                Fact::GateAnswered { gate, stage, step: 0, attempt: 1, answer, shadow, call };
            let told = Happening::of(&entry_of(&fact)).unwrap();
            let text = told.text.strip_prefix("gate error-budget at before-step: ").unwrap();
            assert_eq!((told.tone, text), (tone, expected));
            assert_eq!(told.verdict().as_deref(), Some(expected));
            assert_eq!(told.is_verdict(), !expected.starts_with("deadline"));
        };
        check(GateAnswer::Pass, Tone::Good, "pass");
        let reason = "too many errors".to_owned();
        check(GateAnswer::Fail { reason }, Tone::Bad, "fail: too many errors");
        let hold = GateAnswer::Hold { reason: "5 more".to_owned(), retry_after: None };
        check(hold, Tone::Waiting, "hold: 5 more");
        let late = GateAnswer::Error { kind: GateErrorKind::Deadline, text: "1s".to_owned() };
        check(late, Tone::Bad, "deadline: 1s");
    }

    #[test]
    fn what_is_no_fact_of_a_rollout_is_told_if_a_person_wants_to_know() {
        let told = |kind: &str, detail: Value| Happening::of(&entry(kind, &detail));
        let changed = told("alarm_changed", json!({ "alarm": "a", "from": "OK", "to": "ALARM" }));
        let changed = changed.unwrap();
        assert_eq!((changed.tone, changed.text.as_str()), (Tone::Bad, "alarm a: OK to ALARM"));
        let registered =
            told("targets_registered", json!({ "target_group": "shop-b", "targets": ["x", "y"] }));
        let registered = registered.unwrap();
        assert_eq!(registered.text, "2 targets registered in shop-b");
        assert_eq!(registered.verdict(), None);
        assert_eq!(told("started", json!({})), None);
    }

    #[test]
    fn machines_get_the_facts_as_the_ledger_has_them() {
        let fact = Fact::StepBegan { step: 0, weight: "10%".parse().unwrap() };
        let json = Happening::of(&entry_of(&fact)).unwrap().json(400);
        let expected = json!({ "event": {
            "at_ms": 400, "seq": 1, "kind": "step_began", "detail": { "step": 0, "weight": "10%" },
            "text": "step 1: 10%",
        }});
        assert_eq!(json, expected);
    }
}
