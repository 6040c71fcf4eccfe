//! Gates that are listened to and not obeyed, and what a missed deadline leads to.

use serde_json::{Value, json};

use super::*;
use crate::core::rollout::{GateErrorKind, Hold};

/// The gates of every stage, used with more keys.
fn gated_with(keys: &str) -> String {
    let config = gated().replacen("gate: probe, at:", &format!("gate: probe, {keys}, at:"), 1);
    assert!(config.contains(keys));
    config
}

/// A process whose gates say one thing.
async fn saying(keys: &str, answer: &GateAnswer) -> Rig {
    let rig = Remains::none().start(&gated_with(keys)).await;
    *rig.gates.answer.lock().unwrap() = Some(answer.clone());
    rig
}

fn error(kind: GateErrorKind) -> GateAnswer {
    GateAnswer::Error { kind, text: "no answer within 50ms".to_owned() }
}

impl Rig {
    /// What gates said to a rollout, by the ledger, which `rollout show` prints.
    async fn told_by_gates(&self, id: &RolloutId) -> Vec<Value> {
        self.saved().await;
        let entries = self.ledger().await.into_iter();
        let about = entries.filter(|entry| entry.rollout.as_ref() == Some(id));
        let answers = about.filter(|entry| entry.kind == "gate_answered");
        answers.map(|entry| serde_json::from_str(&entry.detail).unwrap()).collect()
    }

    fn is_held_by_gates(&self, id: &RolloutId) -> bool {
        let holds = &self.rollout(id).holds;
        holds.iter().any(|hold| matches!(hold, Hold::Gate { .. } | Hold::GateAsked { .. }))
    }
}

#[tokio::test]
async fn what_a_shadow_gate_says_is_in_the_ledger_and_stands_in_no_rollouts_way() {
    let fails = GateAnswer::Fail { reason: "the budget is burnt".to_owned() };
    let holds = GateAnswer::Hold { reason: "not at night".to_owned(), retry_after: None };
    for answer in [fails, holds, error(GateErrorKind::Trap)] {
        let rig = saying("mode: shadow, on_error: rollback", &answer).await;
        let id = rig.shifting().await;
        assert!(!rig.is_held_by_gates(&id), "{:?}", rig.rollout(&id).holds);
        rig.tell(&id, Verb::Abort).await.expect("aborted");
        rig.until_over(&id, StateName::RolledBack).await;

        let id = rig.started("quick").await;
        rig.until_over(&id, StateName::Succeeded).await;
        assert_eq!(rig.rollout(&id).cause, None, "{answer:?}");
        let told = rig.told_by_gates(&id).await;
        for stage in ["before-install", "after-install", "before-step", "during-step"] {
            let of_stage = told.iter().find(|detail| detail["stage"] == stage);
            let detail = of_stage.unwrap_or_else(|| panic!("{stage} is not in {told:?}"));
            assert_eq!((&detail["answer"], &detail["shadow"]), (&json!(answer), &json!(true)));
        }
    }
}

#[tokio::test]
async fn the_same_answer_is_obeyed_without_the_mode() {
    let fails = GateAnswer::Fail { reason: "the budget is burnt".to_owned() };
    let rig = saying("mode: enforce", &fails).await;
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Failed).await;
    let told = rig.told_by_gates(&id).await;
    let stage = &told.first().expect("it was asked")["stage"];
    assert_eq!(stage, "before-install", "{told:?}");
}

#[tokio::test]
async fn a_missed_deadline_does_what_on_timeout_says_and_other_errors_do_not() {
    let (late, trap) = (GateErrorKind::Deadline, GateErrorKind::Trap);
    for (keys, kind, state) in [
        ("on_error: hold, on_timeout: rollback", late, StateName::Failed),
        ("on_error: rollback, on_timeout: ignore", late, StateName::Succeeded),
        ("on_error: rollback, on_timeout: ignore", trap, StateName::Failed),
        ("on_error: ignore, on_timeout: rollback", trap, StateName::Succeeded),
        ("on_error: ignore", late, StateName::Succeeded),
    ] {
        let rig = saying(keys, &error(kind)).await;
        let id = rig.started("quick").await;
        rig.until_over(&id, state).await;
    }
    let rig = saying("on_error: rollback, on_timeout: hold", &error(late)).await;
    let id = rig.started("quick").await;
    rig.until("it is held", |rig| {
        let holds = &rig.rollout(&id).holds;
        holds.iter().any(|hold| hold.to_string() == "gate probe: deadline: no answer within 50ms")
    })
    .await;
    assert_eq!(rig.rollout(&id).state, StateName::Created);
}
