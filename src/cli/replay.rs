//! `replay`: runs a rollout's comparison again from its evidence, by its own policy and by another.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::client::Client;
use super::failure::Failure;
use super::gate_replay::{self, Fetched, GatesReplayed};
use super::rehearsal::said;
use super::screen::{Form, plain};
use super::table::table;
use super::{Exit, style};
use crate::admin::json::Rollout;
use crate::config::Config;
use crate::core::analysis::replay::{
    Agreement, Decision, Head, Inexact, Limit, OtherPolicy, Rerun, rerun,
};
use crate::core::analysis::verdict::Word;
use crate::core::model::{RolloutId, ServiceName, Weight};

/// What is run again.
#[derive(Clone, Debug, Args)]
pub(super) struct ReplayArgs {
    /// The rollout.
    #[arg(required_unless_present = "file")]
    id: Option<RolloutId>,
    /// Another configuration: what would its `analysis` have decided, and when?
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
    /// The service of that configuration; without it the one with the rollout's name.
    #[arg(long, requires = "with")]
    service: Option<ServiceName>,
    /// A log from a store's folder of evidence; nothing is contacted.
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    file: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Replayed {
    rollout: RolloutId,
    service: ServiceName,
    evaluations: u64,
    lasted_ms: u64,
    restarts: u32,
    /// Whether evidence is missing, so that nothing has to be reproduced.
    approximate: bool,
    /// What is missing, in words.
    missing: Vec<String>,
    decisions: Vec<Decided>,
    /// Whether every decision was come to again at its time and with its evidence.
    reproduced: bool,
    /// When the first one was not, in milliseconds since the rollout began.
    #[serde(skip_serializing_if = "Option::is_none")]
    differs_after_ms: Option<u64>,
    /// Whether the evidence is that of the rollout's record; absent without one that is final.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_recorded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<With>,
    /// What came of its gates; absent if none were asked, and without the admin API.
    #[serde(skip_serializing_if = "Option::is_none")]
    gates: Option<GatesReplayed>,
}

/// What came of a rollout that was not compared.
#[derive(Debug, Serialize)]
struct Gated {
    rollout: RolloutId,
    gates: GatesReplayed,
}

/// What another policy came to.
#[derive(Debug, Serialize)]
struct With {
    file: PathBuf,
    service: ServiceName,
    decisions: Vec<Decided>,
    /// When it took the traffic back, in milliseconds since the rollout began; absent if it never
    /// did.
    #[serde(skip_serializing_if = "Option::is_none")]
    takes_back_after_ms: Option<u64>,
}

/// One decision.
#[derive(Debug, Serialize)]
struct Decided {
    after_ms: u64,
    step: u64,
    weight: Weight,
    decision: &'static str,
    comparison: Word,
    takes_back: bool,
    holds: bool,
    evidence: f64,
    evidence_needed: f64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cohort: Option<u64>,
}

/// Runs it again, and tells what came of it. The client is only made where the admin API has to be
/// asked.
pub(super) fn replay(
    args: &ReplayArgs,
    client: impl FnOnce() -> Result<Client, Failure>,
    form: Form,
) -> Result<Exit, Failure> {
    let (log, record, own, gates) = match (&args.file, &args.id) {
        (Some(file), _) => {
            let log = read(file)?;
            let own = run(&log, None)?;
            (log, None, own, None)
        }
        (None, Some(id)) => {
            let (compared, gates) = fetch(&client()?, id)?;
            let gates = gates.as_ref().map(gate_replay::replay).transpose()?;
            match (compared, gates) {
                (Ok((log, record, own)), gates) => (log, Some(record), own, gates),
                (Err(Failure::Refused(problem)), Some(gates))
                    if problem.code == "no_evidence" && args.with.is_none() =>
                {
                    return Ok(gates_alone(id, gates, form));
                }
                (Err(failure), _) => return Err(failure),
            }
        }
        (None, None) => {
            let why = "neither a rollout nor a file is named".to_owned();
            return Err(Failure::Usage(why, None));
        }
    };
    let with = match &args.with {
        Some(file) => {
            let service = args.service.as_ref().unwrap_or(&own.head.service);
            let found = run(&log, Some(&policy(file, service)?))?;
            Some(With::of(file, service, &found))
        }
        None => None,
    };
    let replayed = Replayed { gates, ..Replayed::of(&own, record.as_ref(), with) };
    form.show(&replayed, render);
    let is_same = replayed.reproduced && replayed.as_recorded != Some(false);
    let gates_are = replayed.gates.as_ref().is_none_or(GatesReplayed::is_same);
    let is_well = (is_same || replayed.approximate) && gates_are;
    Ok(if is_well { Exit::Succeeded } else { Exit::Refused })
}

/// Tells of the gates of a rollout that was not compared.
fn gates_alone(id: &RolloutId, gates: GatesReplayed, form: Form) -> Exit {
    let gated = Gated { rollout: id.clone(), gates };
    form.show(&gated, |gated| {
        let head = format!("rollout {} was not compared", gated.rollout);
        format!("{head}\n{}", gate_replay::render(&gated.gates))
    });
    if gated.gates.is_same() { Exit::Succeeded } else { Exit::Refused }
}

/// The log in a file, which is no longer than a log can be.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", file.display()), None);
    let mut log = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened.take(Limit::MOST + 1).read_to_end(&mut log).map_err(failed)?;
    if log.len() as u64 > Limit::MOST {
        let why = "this is no log of evidence: it is longer than 64 MiB";
        return Err(Failure::Bad(format!("{}: {why}", file.display())));
    }
    Ok(log)
}

/// The log of a rollout, the rollout, and the log run again.
type Compared = (Vec<u8>, Rollout, Rerun);

/// What was compared, and what gates were told. The end of a log is written a moment after the end
/// of its rollout is known, so that it is waited for.
fn fetch(
    client: &Client,
    id: &RolloutId,
) -> Result<(Result<Compared, Failure>, Option<Fetched>), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime can be made")?;
    runtime.block_on(async {
        let gates = gate_replay::fetch(client, id).await?;
        Ok((fetch_whole(client, id).await, gates))
    })
}

async fn fetch_whole(client: &Client, id: &RolloutId) -> Result<Compared, Failure> {
    let path = format!("/v1/rollouts/{id}");
    let mut tries = 0;
    loop {
        let record: Rollout = client.get(&format!("{path}?history=false")).await?;
        let log = Vec::<u8>::from(client.get_bytes(&format!("{path}/evidence")).await?);
        let own = run(&log, None)?;
        let is_whole = own.inexact.is_approximate() || as_recorded(&own, &record) != Some(false);
        tries += 1;
        if is_whole || tries >= TRIES {
            return Ok((log, record, own));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn run(log: &[u8], other: Option<&OtherPolicy>) -> Result<Rerun, Failure> {
    let head = |bytes: &[u8]| serde_json::from_slice::<Head>(bytes).ok();
    rerun(log, head, other).map_err(|error| Failure::Bad(error.to_string()))
}

/// The policy of a service in a configuration.
fn policy(file: &Path, service: &ServiceName) -> Result<OtherPolicy, Failure> {
    let config = Config::load(file).map_err(|errors| Failure::Usage(errors.to_string(), None))?;
    let Some(found) = config.services.get(service) else {
        let why = format!("there is no service {service} in {}", file.display());
        let known: Vec<String> = config.services.keys().map(ToString::to_string).collect();
        let fix = format!("--service, one of {}", known.join(", "));
        return Err(Failure::Usage(why, Some(fix)));
    };
    let Some(compared) = found.analysis else {
        let why = format!("service {service} says `analysis: off`: it would decide nothing");
        return Err(Failure::Usage(why, None));
    };
    Ok(OtherPolicy { compared, slo: found.slo })
}

impl Replayed {
    fn of(found: &Rerun, record: Option<&Rollout>, with: Option<With>) -> Self {
        let differs_after_ms = match found.agreement() {
            Agreement::Exact => None,
            Agreement::Differs { at_ms } => Some(at_ms),
        };
        Self {
            rollout: found.head.rollout.clone(),
            service: found.head.service.clone(),
            evaluations: found.evaluations,
            lasted_ms: found.lasted_ms,
            restarts: found.restarts,
            approximate: found.inexact.is_approximate(),
            missing: missing(found.inexact),
            decisions: found.decisions.iter().map(Decided::of).collect(),
            reproduced: differs_after_ms.is_none(),
            differs_after_ms,
            as_recorded: record.and_then(|record| as_recorded(found, record)),
            with,
            gates: None,
        }
    }
}

impl With {
    fn of(file: &Path, service: &ServiceName, found: &Rerun) -> Self {
        let taken_back = found.taken_back().map(|decision| decision.at_ms);
        // What it would have seen after that nobody knows.
        let known = |decision: &&Decision| taken_back.is_none_or(|at| decision.at_ms <= at);
        Self {
            file: file.to_owned(),
            service: service.clone(),
            decisions: found.decisions.iter().filter(known).map(Decided::of).collect(),
            takes_back_after_ms: taken_back,
        }
    }
}

impl Decided {
    fn of(decision: &Decision) -> Self {
        let stance = decision.stance;
        Self {
            after_ms: decision.at_ms,
            step: decision.step,
            weight: decision.weight,
            decision: stance.says(),
            comparison: stance.verdict,
            takes_back: stance.takes_back(),
            holds: stance.holds(),
            evidence: decision.evidence,
            evidence_needed: decision.needed,
            text: decision.text.clone(),
            cohort: decision.cohort,
        }
    }
}

/// Whether the evidence is that of the rollout's record; `None` while that still changes.
fn as_recorded(found: &Rerun, record: &Rollout) -> Option<bool> {
    let analysis = record.analysis.as_ref().filter(|_| record.state.is_terminal())?;
    let near = (found.highest / analysis.evidence - 1.0).abs() < 1e-9;
    Some(near && found.crossed == analysis.cohort)
}

fn missing(inexact: Inexact) -> Vec<String> {
    let Inexact { thinned_ms, full_ms, gaps, torn, untold_ms } = inexact;
    let thinned =
        thinned_ms.map(|at| format!("after {} one evaluation a second was kept", said(at)));
    let full = full_ms.map(|at| format!("after {} nothing was kept", said(at)));
    let lost = (gaps > 0).then(|| format!("evidence was lost {gaps} times"));
    let torn = torn.then(|| "the end was cut off".to_owned());
    let untold = untold_ms.map(|at| {
        format!(
            "after {} the evidence rested on one target, and the release that wrote it did not \
             tell whether that target was ejected: if it was not, the weight was held",
            said(at)
        )
    });
    [thinned, full, lost, untold, torn].into_iter().flatten().collect()
}

fn render(replayed: &Replayed) -> String {
    let Replayed { rollout, service, evaluations, lasted_ms, restarts, .. } = replayed;
    let mut lines = vec![format!(
        "rollout {rollout} of service {service}: {evaluations} evaluations in {}",
        said(*lasted_ms)
    )];
    if *restarts > 0 {
        lines.push(format!("the process was started anew {restarts} times in between"));
    }
    lines.extend(replayed.missing.iter().map(|what| format!("approximate: {what}")));
    lines.push(decisions(&replayed.decisions));
    lines.push(outcome(replayed));
    lines.extend(replayed.gates.as_ref().map(gate_replay::render));
    if let Some(with) = &replayed.with {
        lines.push(format!(
            "\nby {}, service {}:",
            plain(&with.file.to_string_lossy()),
            with.service
        ));
        lines.push(decisions(&with.decisions));
        let own = replayed.decisions.iter().find(|decided| decided.takes_back);
        lines.push(match (with.takes_back_after_ms, own) {
            (Some(at), Some(own)) if at == own.after_ms => {
                format!("it takes green back after {}, just as the rollout's own policy", said(at))
            }
            (Some(at), Some(own)) => format!(
                "it takes green back after {}; the rollout's own policy after {}",
                said(at),
                said(own.after_ms)
            ),
            (Some(at), None) => {
                format!("it takes green back after {}; the rollout's own policy did not", said(at))
            }
            (None, Some(own)) => format!(
                "it had not taken green back when the rollout's own policy did, after {}",
                said(own.after_ms)
            ),
            (None, None) => {
                "it does not take green back, and neither did the rollout's own".to_owned()
            }
        });
        lines.push(
            "what was slow, and which failures of a target counted as one, stays as it was counted"
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// Whether it is what was decided.
fn outcome(replayed: &Replayed) -> String {
    let (good, bad) = (style::GOOD, style::BAD);
    match (replayed.differs_after_ms, replayed.as_recorded) {
        (None, None) => format!("{good}reproduced exactly{good:#}"),
        (None, Some(true)) => {
            format!("{good}reproduced exactly{good:#}, as in the rollout's record")
        }
        (None, Some(false)) if replayed.approximate => {
            "the decisions are the same; the evidence in the rollout's record is another".to_owned()
        }
        (None, Some(false)) => {
            format!("{bad}not as recorded{bad:#}: the rollout's record has other evidence")
        }
        (Some(at), _) if replayed.approximate => {
            format!("the first decision that is not the same is after {}", said(at))
        }
        (Some(at), _) => {
            let at = said(at);
            format!("{bad}not reproduced{bad:#}: the first difference is after {at}")
        }
    }
}

fn decisions(decisions: &[Decided]) -> String {
    let row = |decided: &Decided| {
        let text = match (decided.takes_back, decided.holds) {
            (true, _) => format!("{0}{1}{0:#}", style::BAD, decided.decision),
            (false, true) => format!("{0}{1}{0:#}", style::WARN, decided.decision),
            (false, false) => decided.decision.to_owned(),
        };
        [
            said(decided.after_ms),
            (decided.step + 1).to_string(),
            decided.weight.to_string(),
            text,
            format!("{} of {}", large(decided.evidence), large(decided.evidence_needed)),
            decided.text.clone(),
        ]
    };
    let rows: Vec<_> = decisions.iter().map(row).collect();
    table(["AFTER", "STEP", "WEIGHT", "DECISION", "EVIDENCE", "COMPARISON"], &rows)
}

fn large(number: f64) -> String {
    if number < 100_000.0 { format!("{number:.1}") } else { format!("{number:.1e}") }
}

const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::core::analysis::replay::Recorder;
    use crate::core::model::Now;

    fn log() -> Vec<u8> {
        let head = Head::example();
        let mut recorder = Recorder::new(Limit::default());
        recorder.begin(Now::default(), &serde_json::to_vec(&head).expect("written"));
        recorder.take()
    }

    fn args(file: &Path) -> ReplayArgs {
        ReplayArgs { id: None, with: None, service: None, file: Some(file.to_owned()) }
    }

    fn no_client() -> Result<Client, Failure> {
        panic!("nothing is contacted")
    }

    #[test]
    fn a_file_is_read_without_a_client() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("d-ABCDEFGHI.log");
        fs::write(&file, log()).expect("written");
        let exit = replay(&args(&file), no_client, Form::Text).expect("run");
        assert_eq!(exit, Exit::Succeeded);
        let (exact, whole) = (run(&log(), None).expect("run"), log());
        assert_eq!(exact.agreement(), Agreement::Exact);
        let shown = render(&Replayed::of(&exact, None, None));
        assert!(shown.contains("rollout d-ABCDEFGHI of service shop: 0 evaluations"), "{shown}");
        let torn = run(&[&whole[..], &whole[..5]].concat(), None).expect("run");
        let shown = render(&Replayed::of(&torn, None, None));
        assert!(shown.contains("approximate: the end was cut off"), "{shown}");
        let untold = missing(Inexact { untold_ms: Some(3_000), ..Inexact::default() });
        assert!(untold[0].contains("whether that target was ejected"), "{untold:?}");
    }

    #[test]
    fn what_is_no_log_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x");
        let failure = replay(&args(&file), no_client, Form::Text).expect_err("no file");
        assert_eq!(failure.exit(), Exit::Usage);
        fs::write(&file, "evidence").expect("written");
        let failure = replay(&args(&file), no_client, Form::Text).expect_err("no log");
        assert!(failure.to_string().contains("this is no log of evidence"), "{failure}");
        assert_eq!(failure.exit(), Exit::Refused);
        // Takes no room on the disk, and would on the way through memory.
        File::create(&file).expect("made").set_len(Limit::MOST + 1).expect("grown");
        let failure = replay(&args(&file), no_client, Form::Text).expect_err("no log");
        assert!(failure.to_string().contains("it is longer than 64 MiB"), "{failure}");
        assert_eq!(failure.exit(), Exit::Refused);
    }

    #[test]
    fn a_configuration_without_the_service_is_a_mistake_of_the_command_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("other.yaml");
        fs::write(
            &file,
            "listeners: [{ name: public, address: '127.0.0.1:0', rules: [{ service: pay }] }]\n\
             target_groups: { a: { targets: ['127.0.0.1:9001'] }, b: { targets: [] } }\n\
             services: { pay: { target_groups: [a, b], strategy: quick } }\n\
             strategies: { quick: { steps: [{ weight: 10%, bake: 10ms }] } }\n",
        )
        .expect("written");
        let of = |service: &str| policy(&file, &service.parse().expect("a name"));
        assert!(of("pay").is_ok());
        let failure = of("shop").expect_err("no such service");
        assert!(failure.to_string().contains("one of pay"), "{failure}");
    }
}
