//! `gate test`: whether a component says in every written case what it has to say.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::record;
use crate::app::{TriedCase, try_gate};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::screen::{Form, plain, remark};
use crate::cli::table::table;
use crate::cli::{Exit, style};
use crate::config::{Expected, ExpectedAnswer, GateCase, GateCases};
use crate::core::model::{GateName, RolloutId};
use crate::core::rollout::GateAnswer;

/// What is tried.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// The component.
    file: PathBuf,
    /// The file with the cases.
    #[arg(long, value_name = "FILE", required_unless_present = "rollout")]
    cases: Option<PathBuf>,
    /// A rollout: what does the component say to everything that the gate was asked in it?
    #[arg(long, value_name = "ID", conflicts_with = "cases")]
    rollout: Option<RolloutId>,
    /// The gate whose calls are meant; without it the one with the file's name.
    #[arg(long, value_name = "NAME", requires = "rollout", conflicts_with = "cases")]
    gate: Option<GateName>,
}

/// What came of a case.
#[derive(Debug, Serialize)]
struct Judged {
    case: String,
    line: usize,
    passed: bool,
    /// `pass`, `hold`, `fail`, or the kind of an error.
    answer: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    /// What is not as it should be.
    complaints: Vec<String>,
    /// What may help to find out why.
    hints: Vec<String>,
    time_us: u64,
    memory_bytes: u64,
    fuel: u64,
    host_calls: u32,
}

/// Tries a component, and tells what came of it. The client is only made for a rollout's record.
pub(super) fn test(
    args: &TestArgs,
    client: impl FnOnce() -> Result<Client, Failure>,
    form: Form,
) -> Result<Exit, Failure> {
    match (&args.cases, &args.rollout) {
        (Some(cases), _) => in_cases(&args.file, cases, form),
        (None, Some(rollout)) => {
            record::test((&args.file, rollout), args.gate.as_ref(), client, form)
        }
        (None, None) => {
            let why = "neither cases nor a rollout is named".to_owned();
            Err(Failure::Usage(why, None))
        }
    }
}

/// Tries a component in every case.
fn in_cases(component: &Path, file: &Path, form: Form) -> Result<Exit, Failure> {
    let cases = GateCases::load(file).map_err(|errors| Failure::Usage(errors.to_string(), None))?;
    let trial = try_gate(component, &cases).map_err(Failure::Bad)?;
    let judged: Vec<Judged> =
        cases.cases.iter().zip(&trial.cases).map(|(case, tried)| judge(case, tried)).collect();
    form.show_all(&judged, |judged| render(file, judged));
    let failed = judged.iter().filter(|case| !case.passed).count();
    if form == Form::Text {
        let (name, version) = (plain(&trial.title), plain(&trial.version));
        let sum =
            format!("{} of {} cases of {name} {version}", judged.len() - failed, judged.len());
        let (style, word) = if failed == 0 { (style::GOOD, "ok") } else { (style::BAD, "failed") };
        remark(&format!("{style}{word}:{style:#} {sum} are as expected"));
    }
    Ok(if failed == 0 { Exit::Succeeded } else { Exit::Refused })
}

fn judge(case: &GateCase, tried: &TriedCase) -> Judged {
    let complaints = complaints(&case.expected, tried);
    let (answer, reason) = said(&tried.answer);
    Judged {
        case: case.name.clone(),
        line: case.line,
        passed: complaints.is_empty(),
        answer,
        reason: reason.to_owned(),
        hints: if complaints.is_empty() { Vec::new() } else { hints(tried) },
        complaints,
        time_us: tried.cost.micros,
        memory_bytes: tried.cost.memory_bytes,
        fuel: tried.cost.fuel,
        host_calls: tried.cost.host_calls,
    }
}

/// An answer in a word, and what it gives for a reason.
pub(super) fn said(answer: &GateAnswer) -> (&'static str, &str) {
    match answer {
        GateAnswer::Pass => ("pass", ""),
        GateAnswer::Fail { reason } => ("fail", reason),
        GateAnswer::Hold { reason, .. } => ("hold", reason),
        GateAnswer::Error { kind, text } => (kind.as_str(), text),
    }
}

fn is_as_expected(expected: ExpectedAnswer, answer: &GateAnswer) -> bool {
    match (expected, answer) {
        (ExpectedAnswer::Pass, GateAnswer::Pass)
        | (ExpectedAnswer::Hold, GateAnswer::Hold { .. })
        | (ExpectedAnswer::Fail, GateAnswer::Fail { .. }) => true,
        (ExpectedAnswer::Error(wanted), GateAnswer::Error { kind, .. }) => wanted == *kind,
        (
            ExpectedAnswer::Pass
            | ExpectedAnswer::Hold
            | ExpectedAnswer::Fail
            | ExpectedAnswer::Error(_),
            GateAnswer::Pass
            | GateAnswer::Hold { .. }
            | GateAnswer::Fail { .. }
            | GateAnswer::Error { .. },
        ) => false,
    }
}

/// Everything that is not as it should be.
fn complaints(expected: &Expected, tried: &TriedCase) -> Vec<String> {
    let mut found = Vec::new();
    let (word, reason) = said(&tried.answer);
    if !is_as_expected(expected.answer, &tried.answer) {
        let wanted = match expected.answer {
            ExpectedAnswer::Pass => "pass",
            ExpectedAnswer::Hold => "hold",
            ExpectedAnswer::Fail => "fail",
            ExpectedAnswer::Error(kind) => kind.as_str(),
        };
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        found.push(format!("wanted {wanted}, got {word}{why}"));
    }
    if let Some(wanted) = &expected.reason
        && !reason.contains(wanted.as_str())
    {
        found.push(format!("wanted {wanted:?} in the reason, got {reason:?}"));
    }
    if let (Some(wanted), GateAnswer::Hold { retry_after, .. }) =
        (expected.retry_after, &tried.answer)
        && *retry_after != Some(wanted)
    {
        let got = retry_after.map_or("nothing".to_owned(), |after| after.to_string());
        found.push(format!("wanted to be asked again after {wanted}, got {got}"));
    }
    kept(expected, tried, &mut found);
    let mut heard = |wanted: &[String], heard: &[String], what: &str| {
        let absent = |wanted: &&String| !heard.iter().any(|line| line.contains(wanted.as_str()));
        let missing = wanted.iter().filter(absent);
        found.extend(missing.map(|wanted| format!("wanted {wanted:?} {what}")));
    };
    heard(&expected.log, &tried.log, "in the log");
    heard(&expected.requests, &tried.requests, "among the requests");
    let unanswered = tried.unanswered.iter();
    found.extend(unanswered.map(|sent| format!("the case has no answer to the request {sent}")));
    found.extend(too_much(expected, tried));
    found
}

/// What it keeps that it should not, and the other way round.
fn kept(expected: &Expected, tried: &TriedCase, found: &mut Vec<String>) {
    let Some(wanted) = &expected.state else { return };
    for (key, value) in wanted {
        match tried.state.get(key) {
            Some(kept) if kept == value => {}
            Some(kept) => {
                found.push(format!("wanted {key:?} to be kept as {value:?}, got {kept:?}"))
            }
            None => found.push(format!("wanted {key:?} to be kept, got nothing")),
        }
    }
    let surplus = tried.state.iter().filter(|(key, _)| !wanted.contains_key(*key));
    found.extend(surplus.map(|(key, value)| format!("keeps {key:?}, which is {value:?}")));
}

/// What it took more of than it may.
fn too_much(expected: &Expected, tried: &TriedCase) -> Vec<String> {
    let cost = tried.cost;
    let mut found = Vec::new();
    let mut check = |most: Option<u64>, took: u64, unit: &str| {
        if let Some(most) = most.filter(|most| took > *most) {
            found.push(format!("took {took} {unit}, more than {most}"));
        }
    };
    check(expected.time.map(|time| time.ms().saturating_mul(1_000)), cost.micros, "µs");
    check(expected.memory, cost.memory_bytes, "bytes of memory");
    check(expected.fuel, cost.fuel, "units of fuel");
    check(expected.host_calls.map(u64::from), cost.host_calls.into(), "calls into the host");
    found
}

/// What may help to find out why a case fails.
fn hints(tried: &TriedCase) -> Vec<String> {
    let not_said = tried.not_said.iter();
    let mut hints: Vec<String> =
        not_said.map(|what| format!("it asked for {what}, which the case does not say")).collect();
    hints.extend(tried.requests.iter().map(|sent| format!("it sent {sent}")));
    hints.extend(tried.log.iter().map(|line| format!("it logged {line}")));
    hints
}

fn render(file: &Path, judged: &[Judged]) -> String {
    let row = |case: &Judged| {
        let (good, bad) = (style::GOOD, style::BAD);
        [
            if case.passed { format!("{good}ok{good:#}") } else { format!("{bad}FAILED{bad:#}") },
            plain(&case.case),
            case.answer.to_owned(),
            format!("{}.{:03} ms", case.time_us / 1_000, case.time_us % 1_000),
            format!("{} KiB", case.memory_bytes.div_ceil(1_024)),
            case.fuel.to_string(),
            case.host_calls.to_string(),
        ]
    };
    let rows: Vec<_> = judged.iter().map(row).collect();
    let header = ["", "CASE", "ANSWER", "TIME", "MEMORY", "FUEL", "HOST CALLS"];
    let mut shown = table(header, &rows);
    for case in judged.iter().filter(|case| !case.passed) {
        shown.push_str(&format!("\n\n{}:{}: {}", file.display(), case.line, plain(&case.case)));
        for complaint in &case.complaints {
            shown.push_str(&format!("\n  {}", plain(complaint)));
        }
        for hint in &case.hints {
            shown.push_str(&format!("\n  hint: {}", plain(hint)));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Span;

    fn expected(text: &str) -> Expected {
        let cases = GateCases::parse(&format!("cases: [{{ name: a, expect: {text} }}]"));
        let cases = cases.unwrap_or_else(|errors| panic!("{errors}")).cases;
        cases.into_iter().next().expect("a case").expected
    }

    fn tried(answer: GateAnswer) -> TriedCase {
        TriedCase {
            answer,
            log: vec!["info: asked".to_owned()],
            requests: vec!["GET https://a.example/".to_owned()],
            unanswered: Vec::new(),
            not_said: vec!["green errors over 1m".to_owned()],
            state: [("k".to_owned(), "v".to_owned())].into(),
            cost: Default::default(),
        }
    }

    fn hold() -> GateAnswer {
        let retry_after = Some(Span::from_secs(30));
        GateAnswer::Hold { reason: "60 more".to_owned(), retry_after }
    }

    #[test]
    fn a_case_that_is_as_expected_has_no_complaint() {
        let text = "{ verdict: hold, reason: '60', retry_after: 30s, state: { k: v }, log: [asked], \
                    requests: [a.example], at_most: { time: 1ms, fuel: 1, host_calls: 0 } }";
        assert_eq!(complaints(&expected(text), &tried(hold())), [""; 0]);
        assert_eq!(complaints(&expected("{ verdict: pass }"), &tried(GateAnswer::Pass)), [""; 0]);
    }

    #[test]
    fn everything_that_is_not_as_expected_is_told() {
        let text = "{ verdict: hold, reason: '61', retry_after: 31s, state: { k: w, l: x }, \
                    log: [passed], requests: [b.example], at_most: { time: 1ms, memory: 1KiB, \
                    fuel: 5, host_calls: 1 } }";
        let mut tried = tried(hold());
        tried.state.insert("m".to_owned(), "y".to_owned());
        tried.unanswered.push("GET https://a.example/".to_owned());
        tried.cost.micros = 1_001;
        tried.cost.memory_bytes = 1_025;
        tried.cost.fuel = 6;
        tried.cost.host_calls = 2;
        assert_eq!(
            complaints(&expected(text), &tried),
            [
                "wanted \"61\" in the reason, got \"60 more\"",
                "wanted to be asked again after 31s, got 30s",
                "wanted \"k\" to be kept as \"w\", got \"v\"",
                "wanted \"l\" to be kept, got nothing",
                "keeps \"m\", which is \"y\"",
                "wanted \"passed\" in the log",
                "wanted \"b.example\" among the requests",
                "the case has no answer to the request GET https://a.example/",
                "took 1001 µs, more than 1000",
                "took 1025 bytes of memory, more than 1024",
                "took 6 units of fuel, more than 5",
                "took 2 calls into the host, more than 1",
            ]
        );
    }

    #[test]
    fn another_answer_is_told_with_its_reason_and_hints() {
        let found = complaints(&expected("{ verdict: pass }"), &tried(hold()));
        assert_eq!(found, ["wanted pass, got hold: 60 more"]);
        let found = complaints(&expected("{ error: trap }"), &tried(GateAnswer::Pass));
        assert_eq!(found, ["wanted trap, got pass"]);
        let hints = hints(&tried(hold()));
        assert_eq!(hints[0], "it asked for green errors over 1m, which the case does not say");
        assert_eq!(hints.len(), 3);
    }

    fn no_client() -> Result<Client, Failure> {
        panic!("nothing is contacted")
    }

    #[test]
    fn the_exit_code_says_whether_every_case_is_as_expected() {
        let folder = tempfile::tempdir().expect("a folder");
        let cases = folder.path().join("cases.yaml");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let args = |file: &str| TestArgs {
            file: root.join(file),
            cases: Some(cases.clone()),
            rollout: None,
            gate: None,
        };
        let test = |args: &TestArgs, form| test(args, no_client, form);
        let gate = args("plugins/dist/error-budget.wasm");
        let write = |text: &str| std::fs::write(&cases, text).expect("written");
        let case = |verdict: &str| {
            format!(
                "limits: {{ deadline: 5s }}\ncases:\n- name: few\n  telemetry: {{ green: {{ \
                 requests: 9 }} }}\n  expect: {{ verdict: {verdict} }}\n"
            )
        };
        write(&case("hold"));
        for form in [Form::Text, Form::Json] {
            assert_eq!(test(&gate, form).expect("tried"), Exit::Succeeded);
        }
        write(&case("pass"));
        assert_eq!(test(&gate, Form::Text).expect("tried"), Exit::Refused);
        let refused = test(&args("README.md"), Form::Text).expect_err("no gate");
        assert_eq!(refused.exit(), Exit::Refused);
        write("cases: [{ nam: a }]");
        let refused = test(&gate, Form::Text).expect_err("mistakes");
        assert_eq!(refused.exit(), Exit::Usage);
        assert!(refused.to_string().contains("cases.yaml:1: cases[0].nam: "), "{refused}");
    }
}
