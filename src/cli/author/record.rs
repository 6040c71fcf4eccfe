//! `gate test --rollout`: what a component says to everything that a gate was asked in a rollout,
//! beside what was said then.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::trial::said;
use crate::app::{GateCalls, Retrial, RetriedCall, try_gate_again};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::screen::{Form, plain, remark};
use crate::cli::table::table;
use crate::cli::{Exit, style};
use crate::core::model::{GateName, GateStage, RolloutId, Sha256, Weight};
use crate::core::rollout::{GateAnswer, GateTranscript};

/// What came of it.
#[derive(Debug, Serialize)]
struct Retold {
    rollout: RolloutId,
    gate: GateName,
    title: String,
    version: String,
    sha256: Sha256,
    /// How many calls there were.
    calls: usize,
    /// How many of them come to the same verdict with the same reason.
    same: usize,
    /// How many come to the same verdict for another reason.
    reworded: usize,
    /// How many come to another verdict.
    differs: usize,
    /// How many cannot be made again.
    skipped: usize,
    /// What the record has not, in words.
    missing: Vec<String>,
    /// The calls that are not simply the same, in their order.
    told: Vec<Told>,
}

/// One call that is to be told.
#[derive(Debug, Serialize)]
struct Told {
    attempt: u32,
    stage: GateStage,
    step: u32,
    weight: Weight,
    after_ms: u64,
    #[serde(rename = "then")]
    before: Said,
    /// Absent if it cannot be asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Said>,
    /// `same`, `reworded`, `differs` or `skipped`.
    outcome: Outcome,
    /// Why it cannot be asked again, or what it asked that the record has no answer to.
    notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Same,
    Reworded,
    Differs,
    Skipped,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Said {
    answer: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Said {
    fn of(answer: &GateAnswer) -> Self {
        let (word, reason) = said(answer);
        let retry_after_ms = match answer {
            GateAnswer::Hold { retry_after, .. } => retry_after.map(|after| after.ms()),
            GateAnswer::Pass | GateAnswer::Fail { .. } | GateAnswer::Error { .. } => None,
        };
        Self { answer: word, reason: reason.to_owned(), retry_after_ms }
    }
}

/// Tries a component on a rollout's calls, and tells what came of it.
pub(super) fn test(
    (file, rollout): (&Path, &RolloutId),
    gate: Option<&GateName>,
    client: impl FnOnce() -> Result<Client, Failure>,
    form: Form,
) -> Result<Exit, Failure> {
    let record = fetch(&client()?, rollout)?;
    let gate = gate.cloned().or_else(|| named(file));
    let retold = retell((file, rollout), gate, &GateCalls::read(&record))?;
    form.show(&retold, render);
    if form == Form::Text {
        sum_up(&retold);
    }
    Ok(if retold.differs == 0 { Exit::Succeeded } else { Exit::Refused })
}

fn fetch(client: &Client, rollout: &RolloutId) -> Result<Vec<u8>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime can be made")?;
    let path = format!("/v1/rollouts/{rollout}/gate-calls");
    Ok(runtime.block_on(client.get_bytes(&path))?.to_vec())
}

/// The gate with the name of the file.
fn named(file: &Path) -> Option<GateName> {
    file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
}

/// Makes the calls of a gate again.
fn retell(
    (file, rollout): (&Path, &RolloutId),
    gate: Option<GateName>,
    record: &GateCalls,
) -> Result<Retold, Failure> {
    let calls = record.calls.iter().map(|(_, call)| call);
    let of_gate = |call: &&GateTranscript| Some(call.hearing.call.name()) == gate.as_ref();
    let calls: Vec<&GateTranscript> = calls.filter(of_gate).collect();
    let gate = match gate {
        Some(gate) if !calls.is_empty() => gate,
        none => return Err(no_calls(rollout, none.as_ref(), record)),
    };
    let retrial = try_gate_again(file, &gate, &calls).map_err(Failure::Bad)?;
    let Retrial { title, version, sha256, calls: made } = retrial;
    let judged: Vec<Told> = calls.iter().zip(&made).map(|(then, now)| judge(then, now)).collect();
    let count = |outcome| judged.iter().filter(|told| told.outcome == outcome).count();
    Ok(Retold {
        rollout: rollout.clone(),
        gate,
        title,
        version,
        sha256,
        calls: judged.len(),
        same: count(Outcome::Same),
        reworded: count(Outcome::Reworded),
        differs: count(Outcome::Differs),
        skipped: count(Outcome::Skipped),
        missing: missing(record),
        told: judged.into_iter().filter(Told::is_news).collect(),
    })
}

/// Says which gates have calls, where the one that was meant has none.
fn no_calls(rollout: &RolloutId, gate: Option<&GateName>, record: &GateCalls) -> Failure {
    let mut known: Vec<String> =
        record.calls.iter().map(|(_, call)| call.hearing.call.name().to_string()).collect();
    known.sort();
    known.dedup();
    let meant = gate.map_or("the file has no gate's name".to_owned(), |gate| {
        format!("rollout {rollout} has no calls of a gate {gate} in its record")
    });
    let fix = (!known.is_empty()).then(|| format!("--gate, one of {}", known.join(", ")));
    Failure::Usage(meant, fix)
}

/// What a record has not, in words.
pub(in crate::cli) fn missing(record: &GateCalls) -> Vec<String> {
    let thinned = "from some time on only calls that said something new were kept";
    let full = "from some time on nothing was kept";
    let unreadable = record.unreadable;
    [
        record.is_thinned.then(|| thinned.to_owned()),
        record.is_full.then(|| full.to_owned()),
        (unreadable > 0).then(|| format!("{unreadable} lines of the record cannot be read")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn judge(then: &GateTranscript, now: &RetriedCall) -> Told {
    let call = &then.hearing.call;
    let (outcome, said_now, notes) = match now {
        RetriedCall::Skipped { why } => (Outcome::Skipped, None, vec![(*why).to_owned()]),
        RetriedCall::Made { answer, not_said, .. } => {
            let unknown = |what: &String| format!("it asked for {what}, which nobody asked then");
            let notes = not_said.iter().map(unknown).collect();
            (compare(&then.answer, answer), Some(Said::of(answer)), notes)
        }
    };
    Told {
        attempt: call.attempt,
        stage: call.stage,
        step: call.step,
        weight: call.weight,
        after_ms: call.elapsed.ms(),
        before: Said::of(&then.answer),
        now: said_now,
        outcome,
        notes,
    }
}

/// How an answer compares with the one of then. Of an error the kind counts: its text may tell of
/// places in the component.
fn compare(then: &GateAnswer, now: &GateAnswer) -> Outcome {
    if said(then).0 != said(now).0 {
        return Outcome::Differs;
    }
    match then {
        GateAnswer::Error { .. } => Outcome::Same,
        GateAnswer::Pass | GateAnswer::Fail { .. } | GateAnswer::Hold { .. } if then == now => {
            Outcome::Same
        }
        GateAnswer::Pass | GateAnswer::Fail { .. } | GateAnswer::Hold { .. } => Outcome::Reworded,
    }
}

/// Whether an answer is the one of then.
pub(in crate::cli) fn is_same(then: &GateAnswer, now: &GateAnswer) -> bool {
    compare(then, now) == Outcome::Same
}

impl Told {
    fn is_news(&self) -> bool {
        self.outcome != Outcome::Same || !self.notes.is_empty()
    }
}

fn render(retold: &Retold) -> String {
    let row = |told: &Told| {
        let (word, style) = match told.outcome {
            Outcome::Same => ("same", style::GOOD),
            Outcome::Reworded => ("reworded", style::WARN),
            Outcome::Differs => ("DIFFERS", style::BAD),
            Outcome::Skipped => ("skipped", style::WARN),
        };
        [
            format!("{style}{word}{style:#}"),
            told.attempt.to_string(),
            told.stage.to_string(),
            (told.step + 1).to_string(),
            told.weight.to_string(),
            shown(Some(&told.before)),
            shown(told.now.as_ref()),
        ]
    };
    let header = ["", "ASKING", "STAGE", "STEP", "WEIGHT", "THEN", "NOW"];
    let mut lines = Vec::new();
    if !retold.told.is_empty() {
        lines.push(table(header, &retold.told.iter().map(row).collect::<Vec<_>>()));
    }
    for told in &retold.told {
        let notes = told.notes.iter();
        lines.extend(notes.map(|note| format!("asking {}: {}", told.attempt, plain(note))));
    }
    lines.extend(retold.missing.iter().map(|what| format!("not whole: {what}")));
    lines.push(format!(
        "gate {} in rollout {}: {} calls, {} come to the same, {} to the same verdict for another \
         reason, {} to another verdict, {} cannot be made again",
        retold.gate,
        retold.rollout,
        retold.calls,
        retold.same,
        retold.reworded,
        retold.differs,
        retold.skipped
    ));
    lines.join("\n")
}

fn shown(said: Option<&Said>) -> String {
    let Some(Said { answer, reason, .. }) = said else { return String::new() };
    if reason.is_empty() { (*answer).to_owned() } else { format!("{answer}: {}", plain(reason)) }
}

fn sum_up(retold: &Retold) {
    let (name, version) = (plain(&retold.title), plain(&retold.version));
    let (style, word) =
        if retold.differs == 0 { (style::GOOD, "ok") } else { (style::BAD, "differs") };
    let made = retold.calls - retold.skipped;
    let same = retold.same + retold.reworded;
    remark(&format!(
        "{style}{word}:{style:#} {name} {version} says the same in {same} of {made} calls"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::Span;
    use crate::core::rollout::GateErrorKind;

    fn hold(reason: &str, after: Option<u64>) -> GateAnswer {
        GateAnswer::Hold { reason: reason.to_owned(), retry_after: after.map(Span::from_ms) }
    }

    #[test]
    fn a_verdict_for_another_reason_is_no_other_verdict() {
        assert_eq!(compare(&hold("a", None), &hold("a", None)), Outcome::Same);
        assert_eq!(compare(&hold("a", None), &hold("b", None)), Outcome::Reworded);
        assert_eq!(compare(&hold("a", None), &hold("a", Some(1))), Outcome::Reworded);
        assert_eq!(compare(&hold("a", None), &GateAnswer::Pass), Outcome::Differs);
        let error = |kind, text: &str| GateAnswer::Error { kind, text: text.to_owned() };
        let trap = error(GateErrorKind::Trap, "at 0x17");
        assert_eq!(compare(&trap, &error(GateErrorKind::Trap, "at 0x19")), Outcome::Same);
        assert_eq!(compare(&trap, &error(GateErrorKind::Guest, "x")), Outcome::Differs);
    }

    #[test]
    fn what_the_record_lacks_is_told() {
        let record = GateCalls::read(b"\"thinned\"\n\"full\"\n{\n");
        assert_eq!(missing(&record).len(), 3);
        let gate: GateName = "budget".parse().expect("a name");
        let failure = no_calls(&"d-ABCDEFGHI".parse().expect("an id"), Some(&gate), &record);
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_string().contains("no calls of a gate budget"), "{failure}");
    }
}
