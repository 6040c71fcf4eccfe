//! Trials of the gate that is shipped, of the one that calls everything, and of one that traps.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::core::rollout::GateErrorKind;
use crate::gate::guest::guest;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn cases(text: &str) -> GateCases {
    GateCases::parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn tried(file: &Path, text: &str) -> Vec<TriedCase> {
    let trial = try_with(file, &cases(text), None).unwrap_or_else(|error| panic!("{error}"));
    trial.cases
}

#[test]
fn the_gate_that_is_shipped_answers_by_the_numbers_of_each_case() {
    let trial = try_with(
        &in_repository("plugins/dist/error-budget.wasm"),
        &cases(
            "limits: { deadline: 5s }\n\
             cases:\n\
             - { name: a, telemetry: { green: { requests: 1000, error_rate: 0 } }, expect: { verdict: pass } }\n\
             - { name: b, telemetry: { green: { requests: 1000, error_rate: 5 } }, expect: { verdict: fail } }\n\
             - { name: c, telemetry: { green: { requests: 9 } }, expect: { verdict: hold } }\n\
             - { name: d, params: { slo: 200 }, expect: { error: unavailable } }\n",
        ),
        None,
    );
    let trial = trial.expect("a gate");
    assert_eq!((trial.title.as_str(), trial.version.as_str()), ("error-budget", "1.0.0"));
    let [pass, fail, hold, refused] = trial.cases.as_slice() else { panic!("{trial:?}") };
    assert_eq!(pass.answer, GateAnswer::Pass);
    assert!(pass.cost.fuel > 0 && pass.cost.memory_bytes > 0, "{:?}", pass.cost);
    assert_eq!(pass.cost.host_calls, 2);
    assert!(matches!(fail.answer, GateAnswer::Fail { .. }), "{fail:?}");
    assert!(matches!(hold.answer, GateAnswer::Hold { .. }), "{hold:?}");
    assert_eq!(hold.not_said, ["green error_rate over 1m"]);
    let GateAnswer::Error { kind, text } = &refused.answer else { panic!("{refused:?}") };
    assert_eq!(*kind, GateErrorKind::Unavailable);
    assert!(text.contains("/slo"), "{text}");
    assert_eq!(refused.cost, CallCost::default(), "it was not asked");
}

/// Grants and cases for the gate that calls everything that version 1.0.0 has.
fn everything(cases: &str) -> String {
    format!(
        "limits: {{ deadline: 5s }}\n\
         grants: {{ clock: true, random: true, http: [{{ host: 'localhost:1' }}] }}\n\
         cases:\n{cases}"
    )
}

#[test]
fn what_a_gate_does_to_the_world_is_heard_and_reaches_nobody() {
    let file = in_repository("tests/gates/released/1.0.0.wasm");
    let text = everything(
        "- name: a\n\
         \x20 state: { before: x }\n\
         \x20 http: [{ request: 'GET http://localhost:1/', status: 200 }]\n\
         \x20 expect: { verdict: pass }\n\
         - { name: b, expect: { verdict: pass } }\n",
    );
    let tried = tried(&file, &text);
    let [answered, unanswered] = tried.as_slice() else { panic!("{tried:?}") };
    assert_eq!(answered.answer, GateAnswer::Pass);
    assert_eq!(answered.log, ["info: hello"]);
    assert_eq!(answered.requests, ["GET http://localhost:1/"]);
    assert_eq!(answered.unanswered, [""; 0]);
    let kept: Vec<_> = answered.state.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(kept, [("before", "x"), ("hello", "hello")]);
    assert_eq!(unanswered.unanswered, ["GET http://localhost:1/"]);
    assert_eq!(unanswered.state.len(), 1, "nothing is left of the case before");
    assert!(unanswered.not_said.contains(&"blue statuses over 1m".to_owned()), "{unanswered:?}");
}

#[test]
fn the_same_cases_come_to_the_same_answers_and_the_same_fuel() {
    let file = in_repository("tests/gates/released/1.0.0.wasm");
    let text = everything("- { name: a, seed: 7, expect: { verdict: pass } }\n");
    let (first, second) = (tried(&file, &text), tried(&file, &text));
    assert_eq!(first[0].answer, second[0].answer);
    assert_eq!(first[0].cost.fuel, second[0].cost.fuel);
}

#[test]
fn what_may_not_be_granted_or_is_no_gate_is_told_with_the_file() {
    let file = in_repository("tests/gates/released/1.0.0.wasm");
    let text = cases("cases: [{ name: a, expect: { verdict: pass } }]");
    let error = try_with(&file, &text, None).expect_err("nothing is granted");
    assert!(error.contains("1.0.0.wasm") && error.contains("grants: { clock: true }"), "{error}");
    let error = try_with(&in_repository("README.md"), &text, None).expect_err("no gate");
    assert!(error.contains("README.md is not a WebAssembly file"), "{error}");
    let error = try_with(Path::new("no-such.wasm"), &text, None).expect_err("not there");
    assert!(error.starts_with("no-such.wasm: "), "{error}");
}

#[test]
fn a_gate_that_traps_in_every_case_is_asked_in_every_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trap.wasm");
    fs::write(&file, guest("unreachable")).expect("written");
    let text: String =
        (0..8).map(|i| format!("- {{ name: c{i}, expect: {{ error: trap }} }}\n")).collect();
    let text = format!("limits: {{ deadline: 5s }}\ncases:\n{text}");
    for case in tried(&file, &text) {
        let GateAnswer::Error { kind, .. } = case.answer else { panic!("{case:?}") };
        assert_eq!(kind, GateErrorKind::Trap);
    }
}
