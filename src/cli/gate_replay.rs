//! The part of `replay` that is about gates: every call that was taken down is made again by the
//! component that was asked then, and compared with the record and with the ledger.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::author::record::{is_same, missing};
use super::client::Client;
use super::failure::Failure;
use super::screen::plain;
use super::style;
use crate::admin::json::LedgerEntry;
use crate::app::{GateCalls, RetriedCall, try_gate_again};
use crate::core::model::{GateName, GateStage, RolloutId, Sha256};
use crate::core::rollout::{GateAnswer, GateTranscript};

/// What came of the gates of a rollout.
#[derive(Debug, Default, Serialize)]
pub(super) struct GatesReplayed {
    /// How many calls there are in the record.
    calls: usize,
    /// How many of them came to the same answer again.
    reproduced: usize,
    /// Those that came to another answer.
    differences: Vec<Difference>,
    /// What is in the record and in the ledger, and not the same.
    not_as_recorded: Vec<String>,
    /// What was not looked at, in words.
    missing: Vec<String>,
}

/// A call that came to another answer.
#[derive(Debug, Serialize)]
struct Difference {
    gate: GateName,
    attempt: u32,
    stage: GateStage,
    step: u32,
    sha256: Sha256,
    then: GateAnswer,
    now: GateAnswer,
}

/// What the ledger has of an answer.
#[derive(Debug, Deserialize)]
struct Sealed {
    gate: GateName,
    attempt: u32,
    answer: GateAnswer,
    /// `None` if the gate was not asked, and in what earlier releases wrote.
    #[serde(default)]
    call: Option<Sha256>,
}

/// All that has to be fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    record: GateCalls,
    sealed: Vec<Sealed>,
    /// The components that are still kept.
    components: BTreeMap<(GateName, Sha256), Vec<u8>>,
    missing: Vec<String>,
}

/// Fetches what gates were told in a rollout; `None` if nothing was taken down.
pub(super) async fn fetch(client: &Client, id: &RolloutId) -> Result<Option<Fetched>, Failure> {
    let mut tries = 0;
    loop {
        let Some(fetched) = fetch_once(client, id).await? else { return Ok(None) };
        tries += 1;
        // The last calls are written a moment after they are known.
        if tries >= TRIES || check(&fetched.record, &fetched.sealed).1 == 0 {
            return Ok(Some(fetched));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn fetch_once(client: &Client, id: &RolloutId) -> Result<Option<Fetched>, Failure> {
    let record = match client.get_bytes(&format!("/v1/rollouts/{id}/gate-calls")).await {
        Ok(record) => GateCalls::read(&record),
        Err(Failure::Refused(problem)) if problem.code == "no_gate_calls" => return Ok(None),
        Err(Failure::Refused(problem)) if problem.code == "forbidden" => {
            let missing = vec!["the token may not see what gates were told".to_owned()];
            let (record, sealed, components) = Default::default();
            return Ok(Some(Fetched { record, sealed, components, missing }));
        }
        Err(failure) => return Err(failure),
    };
    let path = format!("/v1/ledger?order=oldest&rollout={id}");
    let entries: Vec<LedgerEntry> = client.get_all(&path, usize::MAX).await?;
    let answers = entries.iter().filter(|entry| entry.kind == "gate_answered");
    let sealed = answers.filter_map(|entry| serde_json::from_str(&entry.detail).ok()).collect();
    let mut missing = missing(&record);
    let mut components = BTreeMap::new();
    for (gate, digest) in asked(&record) {
        let path = format!("/v1/gates/{gate}/component?sha256={digest}");
        match client.get_bytes(&path).await {
            Ok(bytes) if Sha256::of(&bytes) == digest => {
                components.insert((gate, digest), bytes.to_vec());
            }
            Ok(_) => missing.push(format!("the component {digest} of gate {gate} is another now")),
            Err(Failure::Refused(problem)) => {
                missing.push(format!("the component {digest} of gate {gate}: {}", problem.detail));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(Some(Fetched { record, sealed, components, missing }))
}

/// Every component that was asked, once.
fn asked(record: &GateCalls) -> Vec<(GateName, Sha256)> {
    let of = |call: &GateTranscript| (call.hearing.call.name().clone(), call.hearing.call.digest);
    let mut asked: Vec<_> = record.calls.iter().map(|(_, call)| of(call)).collect();
    asked.sort();
    asked.dedup();
    asked
}

/// Compares a record with the ledger: tells what is not the same, and counts what the record lacks.
fn check(record: &GateCalls, sealed: &[Sealed]) -> (Vec<String>, usize) {
    let (mut faults, mut lost) = (Vec::new(), 0);
    let is_cut = record.is_thinned || record.is_full;
    for Sealed { gate, attempt, answer, call } in sealed {
        let Some(digest) = call else { continue };
        let told = |what: &str| format!("gate {gate}, asking {attempt}: {what}");
        match record.calls.iter().find(|(found, _)| found == digest) {
            Some((_, found)) if found.answer == *answer => {}
            Some(_) => faults.push(told("the ledger has another answer than the record")),
            None => {
                let is_it = |call: &GateTranscript| {
                    call.hearing.call.name() == gate && call.hearing.call.attempt == *attempt
                };
                if record.calls.iter().any(|(_, call)| is_it(call)) {
                    let what =
                        "what the record says that it was told is not what the ledger sealed";
                    faults.push(told(what));
                } else if !is_cut {
                    lost += 1;
                }
            }
        }
    }
    (faults, lost)
}

/// Makes the calls again. Blocks.
pub(super) fn replay(fetched: &Fetched) -> Result<GatesReplayed, Failure> {
    let Fetched { record, sealed, components, missing } = fetched;
    let (not_as_recorded, lost) = check(record, sealed);
    let mut replayed = GatesReplayed {
        calls: record.calls.len(),
        not_as_recorded,
        missing: missing.clone(),
        ..GatesReplayed::default()
    };
    if lost > 0 {
        let what = format!("{lost} answers in the ledger have no call in the record");
        replayed.missing.push(what);
    }
    for ((gate, digest), component) in components {
        let is_it = |call: &&GateTranscript| {
            call.hearing.call.name() == gate && call.hearing.call.digest == *digest
        };
        let calls = record.calls.iter().map(|(_, call)| call);
        let calls: Vec<&GateTranscript> = calls.filter(is_it).collect();
        let place = Place::of(component)
            .map_err(|error| Failure::Usage(format!("the temporary folder: {error}"), None))?;
        let retrial = try_gate_again(place.file(), gate, &calls).map_err(Failure::Bad)?;
        for (then, now) in calls.iter().zip(&retrial.calls) {
            replayed.take(then, now);
        }
    }
    Ok(replayed)
}

impl GatesReplayed {
    /// Whether everything that can be is as it was.
    pub(super) fn is_same(&self) -> bool {
        self.differences.is_empty() && self.not_as_recorded.is_empty()
    }

    fn take(&mut self, then: &GateTranscript, now: &RetriedCall) {
        let call = &then.hearing.call;
        match now {
            RetriedCall::Made { answer, .. } if is_same(&then.answer, answer) => {
                self.reproduced += 1;
            }
            RetriedCall::Made { answer, .. } => self.differences.push(Difference {
                gate: call.name().clone(),
                attempt: call.attempt,
                stage: call.stage,
                step: call.step,
                sha256: call.digest,
                then: then.answer.clone(),
                now: answer.clone(),
            }),
            RetriedCall::Skipped { why } => {
                let gate = call.name();
                self.missing.push(format!("gate {gate}, asking {}: {why}", call.attempt));
            }
        }
    }
}

/// The lines that tell of it.
pub(super) fn render(replayed: &GatesReplayed) -> String {
    let (good, bad) = (style::GOOD, style::BAD);
    let GatesReplayed { calls, reproduced, differences, not_as_recorded, missing } = replayed;
    let mut lines: Vec<String> =
        missing.iter().map(|what| format!("gates, not looked at: {}", plain(what))).collect();
    lines.extend(differences.iter().map(|found| {
        let (then, now) = (told(&found.then), told(&found.now));
        let Difference { gate, attempt, stage, .. } = found;
        format!(
            "{bad}differs{bad:#}: gate {gate}, asking {attempt} at {stage}: {then} then, {now} now"
        )
    }));
    let faults = not_as_recorded.iter();
    lines.extend(faults.map(|what| format!("{bad}not as recorded{bad:#}: {}", plain(what))));
    let (style, word) =
        if replayed.is_same() { (good, "the same") } else { (bad, "not all the same") };
    lines.push(format!(
        "gates: {style}{word}{style:#}, {reproduced} of {calls} calls came to their answer again"
    ));
    lines.join("\n")
}

fn told(answer: &GateAnswer) -> String {
    match answer {
        GateAnswer::Pass => "pass".to_owned(),
        GateAnswer::Fail { reason } => format!("fail ({})", plain(reason)),
        GateAnswer::Hold { reason, .. } => format!("hold ({})", plain(reason)),
        GateAnswer::Error { kind, text } => format!("{} ({})", kind.as_str(), plain(text)),
    }
}

/// A file with a component, in a folder of our own that goes when this is dropped.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    file: PathBuf,
}

impl Place {
    fn of(component: &[u8]) -> io::Result<Self> {
        let folder = Self::folder()?;
        let place = Self { file: folder.join("gate.wasm"), folder };
        fs::write(&place.file, component)?;
        Ok(place)
    }

    /// Makes a folder that was not there before: whatever is there is not ours.
    fn folder() -> io::Result<PathBuf> {
        let mut number = 0;
        loop {
            let name = format!("tidegate-replay-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(error) if number >= FOLDERS => return Err(error),
                Err(_) => number += 1,
            }
        }
    }

    fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is a component that everybody may have.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The most folders of earlier processes with the same number that are in the way.
const FOLDERS: u32 = 100;
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"call":{"hearing":{"call":{"rollout":"d-ABCDEFGHI","service":"shop","gate":{"gate":"budget","at":["before-step"],"params":"{}","on_error":"hold","every":"10s","mode":"enforce"},"digest":"DIGEST","stage":"before-step","step":0,"attempt":1,"blue_revision":null,"green_revision":"v2","weight":"0%","next_weight":"10%","elapsed":"1s"},"at":1,"limits":{},"heard":[{"metric":{"side":"green","name":"requests","window_ms":60000,"value":"1000.0"}},{"metric":{"side":"green","name":"error_rate","window_ms":60000,"value":"0.0"}}]},"answer":"pass"}}"#;

    fn component() -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed")
    }

    fn record() -> String {
        CALL.replace("DIGEST", &Sha256::of(&component()).to_string())
    }

    fn sealed(call: Sha256, answer: GateAnswer) -> Sealed {
        Sealed { gate: "budget".parse().expect("a name"), attempt: 1, answer, call: Some(call) }
    }

    fn replayed(text: &str, sealed: Vec<Sealed>) -> GatesReplayed {
        let record = GateCalls::read(text.as_bytes());
        assert_eq!((record.calls.len(), record.unreadable), (1, 0), "{text}");
        let component = component();
        let key = ("budget".parse().expect("a name"), Sha256::of(&component));
        let components = BTreeMap::from([(key, component)]);
        replay(&Fetched { record, sealed, components, missing: Vec::new() }).expect("tried")
    }

    #[test]
    fn what_was_said_then_is_said_again_and_stands_in_the_ledger() {
        let text = record();
        let digest = GateCalls::read(text.as_bytes()).calls[0].0;
        let found = replayed(&text, vec![sealed(digest, GateAnswer::Pass)]);
        assert!(found.is_same(), "{found:?}");
        assert_eq!((found.calls, found.reproduced, found.missing.len()), (1, 1, 0));
        assert!(render(&found).contains("1 of 1 calls"), "{}", render(&found));
        let lost = replayed(
            &text,
            vec![
                sealed(digest, GateAnswer::Pass),
                Sealed { attempt: 2, ..sealed(Sha256::of(b"lost"), GateAnswer::Pass) },
            ],
        );
        assert!(lost.is_same() && lost.missing[0].contains("1 answers"), "{lost:?}");
    }

    #[test]
    fn a_record_that_was_changed_is_found() {
        let text = record();
        let digest = GateCalls::read(text.as_bytes()).calls[0].0;
        let seal = || vec![sealed(digest, GateAnswer::Pass)];
        let answer = text.replace(r#""answer":"pass""#, r#""answer":{"fail":{"reason":"x"}}"#);
        let found = replayed(&answer, seal());
        assert_eq!((found.differences.len(), found.not_as_recorded.len()), (1, 1), "{found:?}");
        let told = text.replace(r#""0.0""#, r#""0.01""#);
        let found = replayed(&told, seal());
        assert_eq!((found.differences.len(), found.not_as_recorded.len()), (0, 1), "{found:?}");
        assert!(!found.is_same() && render(&found).contains("not as recorded"));
    }
}
