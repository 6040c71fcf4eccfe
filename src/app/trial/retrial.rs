//! Calls of gates that were taken down, made again: by the component that was asked then, or by
//! another.

use std::path::Path;
use std::sync::Arc;

use super::desk::Desk;
use super::remembered::Remembered;
use super::user_cache;
use crate::core::model::{GateLimits, GateName, Sha256, Span};
use crate::core::rollout::{GateAnswer, GateErrorKind, GateTranscript};
use crate::gate::{CallCost, KeptState, LoadedGate};

/// A gate that was asked again.
#[derive(Clone, Debug)]
pub struct Retrial {
    /// What the component calls itself.
    pub title: String,
    /// Its own version.
    pub version: String,
    /// Its digest.
    pub sha256: Sha256,
    /// What came of each call, in their order.
    pub calls: Vec<RetriedCall>,
}

/// What came of a call that was made again.
#[derive(Clone, Debug)]
pub enum RetriedCall {
    /// It was made.
    Made {
        /// The answer.
        answer: GateAnswer,
        /// What the gate asked that the record has no answer to.
        not_said: Vec<String>,
        /// What it logged: the level, a colon and the text of each line.
        log: Vec<String>,
        /// What the call took.
        cost: CallCost,
    },
    /// It cannot be made again.
    Skipped {
        /// Why.
        why: &'static str,
    },
}

/// Makes calls of one gate again with the component in a file. Blocks.
///
/// # Errors
/// Why the file is no gate, or none that may do what it wants to do.
pub fn try_gate_again(
    file: &Path,
    gate: &GateName,
    calls: &[&GateTranscript],
) -> Result<Retrial, String> {
    again_with(file, gate, calls, user_cache().as_deref())
}

/// The same with a folder where compiled gates are kept.
pub(super) fn again_with(
    file: &Path,
    gate: &GateName,
    calls: &[&GateTranscript],
    cache: Option<&Path>,
) -> Result<Retrial, String> {
    let world = Arc::new(Remembered::default());
    let terms = calls.first().map(|call| (limits(call), call.hearing.grants.clone()));
    let terms = terms.unwrap_or_default();
    let mut desk = Desk::set((file, gate.clone()), terms, &world, cache)?;
    let made: Result<Vec<_>, String> =
        calls.iter().map(|call| remake(&mut desk, &world, call)).collect();
    let LoadedGate { title, version, digest, .. } = desk.clear();
    Ok(Retrial { title, version, sha256: digest, calls: made? })
}

fn remake(
    desk: &mut Desk,
    world: &Remembered,
    call: &GateTranscript,
) -> Result<RetriedCall, String> {
    if let Some(why) = why_not(call) {
        return Ok(RetriedCall::Skipped { why });
    }
    let hearing = &call.hearing;
    desk.change_terms(limits(call), &hearing.grants)?;
    let (mut asked, gate) = (hearing.call.clone(), desk.gate.name.clone());
    asked.digest = desk.gate.digest;
    asked.gate.gate = gate.clone();
    let (service, values) = (asked.service.clone(), hearing.state.clone());
    desk.state.restore(vec![KeptState { service, gate, values }]);
    world.begin(hearing);
    let answer = desk.ask(asked, hearing.evidence.as_ref().map(Into::into))?;
    let heard = world.end();
    Ok(RetriedCall::Made {
        answer,
        not_said: heard.not_said.into_iter().collect(),
        log: heard.log,
        cost: heard.cost,
    })
}

/// Why a call cannot be made again; `None` if it can.
fn why_not(call: &GateTranscript) -> Option<&'static str> {
    if let Some(incomplete) = call.hearing.incomplete {
        return Some(incomplete.as_str());
    }
    match &call.answer {
        GateAnswer::Pass | GateAnswer::Fail { .. } | GateAnswer::Hold { .. } => None,
        GateAnswer::Error { kind, .. } => match kind {
            GateErrorKind::Trap
            | GateErrorKind::Memory
            | GateErrorKind::Limit
            | GateErrorKind::Guest => None,
            GateErrorKind::Deadline => {
                Some("it did not answer in time, which was the machine's matter")
            }
            GateErrorKind::Busy | GateErrorKind::Unavailable | GateErrorKind::CircuitOpen => {
                Some("it came to no verdict for want of a host")
            }
        },
    }
}

/// The limits of a call, with time that an honest gate does not need on a busy machine.
fn limits(call: &GateTranscript) -> GateLimits {
    let limits = call.hearing.limits;
    GateLimits { deadline: limits.deadline.max(PATIENCE), ..limits }
}

const PATIENCE: Span = Span::from_secs(5);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::core::model::{
        GateGrants, GateMode, GateStage, GateUse, HttpGrant, OnGateError, ParamsText, Side,
        WallTime, Weight,
    };
    use crate::core::rollout::{GateCall, GateHearing, Heard, HeardAnswer, Incomplete, Number};

    fn in_repository(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn again(file: &str, calls: &[&GateTranscript]) -> Vec<RetriedCall> {
        let gate = "budget".parse().expect("a name");
        let retrial = again_with(&in_repository(file), &gate, calls, None);
        retrial.unwrap_or_else(|error| panic!("{error}")).calls
    }

    fn hearing() -> GateHearing {
        let weight = Weight::from_bp(1_000).expect("valid");
        let call = GateCall {
            rollout: "d-ABCDEFGH1".parse().expect("valid"),
            service: "shop".parse().expect("valid"),
            gate: GateUse {
                gate: "other-name".parse().expect("valid"),
                at: vec![GateStage::DuringStep],
                params: ParamsText::default(),
                on_error: OnGateError::Hold,
                every: Span::from_secs(10),
                mode: GateMode::Enforce,
                on_timeout: None,
            },
            digest: Sha256::of(b"another component"),
            stage: GateStage::DuringStep,
            step: 0,
            attempt: 1,
            blue_revision: None,
            green_revision: "v2".parse().expect("valid"),
            weight,
            next_weight: weight,
            elapsed: Span::from_secs(1),
        };
        GateHearing {
            call,
            at: WallTime::from_ms(1),
            limits: GateLimits::default(),
            grants: GateGrants::default(),
            evidence: None,
            state: BTreeMap::new(),
            heard: Vec::new(),
            incomplete: None,
        }
    }

    fn metric(name: &str, value: f64) -> Heard {
        let (side, name, window_ms) = (Side::Green, name.to_owned(), 60_000);
        Heard::Metric { side, name, window_ms, value: Some(Number(value)) }
    }

    fn transcript(heard: Vec<Heard>) -> GateTranscript {
        GateTranscript { hearing: GateHearing { heard, ..hearing() }, answer: GateAnswer::Pass }
    }

    #[test]
    fn the_answer_follows_from_what_was_said_then() {
        let good = transcript(vec![metric("requests", 1_000.0), metric("error_rate", 0.0)]);
        let bad = transcript(vec![metric("requests", 1_000.0), metric("error_rate", 5.0)]);
        let little = transcript(vec![metric("requests", 1_000.0)]);
        let made = again("plugins/dist/error-budget.wasm", &[&good, &bad, &little]);
        let [good, bad, little] = made.as_slice() else { panic!("{made:?}") };
        let RetriedCall::Made { answer, not_said, cost, .. } = good else { panic!("{good:?}") };
        assert_eq!((answer, not_said.len()), (&GateAnswer::Pass, 0));
        assert!(cost.fuel > 0);
        let RetriedCall::Made { answer: GateAnswer::Fail { .. }, .. } = bad else {
            panic!("{bad:?}")
        };
        let RetriedCall::Made { not_said, .. } = little else { panic!("{little:?}") };
        assert_eq!(*not_said, ["green error_rate over 1m"]);
    }

    #[test]
    fn what_cannot_be_made_again_is_left_out() {
        let mut cut = transcript(Vec::new());
        cut.hearing.incomplete = Some(Incomplete::Truncated);
        let mut late = transcript(Vec::new());
        late.answer = GateAnswer::Error { kind: GateErrorKind::Deadline, text: String::new() };
        for call in again("plugins/dist/error-budget.wasm", &[&cut, &late]) {
            assert!(matches!(call, RetriedCall::Skipped { .. }), "{call:?}");
        }
    }

    #[test]
    fn what_was_granted_is_played_back() {
        let mut call = transcript(vec![
            Heard::Chance { bytes: "00".repeat(8) },
            Heard::Chance { bytes: "00".repeat(8) },
            Heard::Http {
                request: "GET http://localhost:1/".to_owned(),
                body: String::new(),
                answer: HeardAnswer::Timeout { after: Span::from_secs(1) },
            },
        ]);
        let http = HttpGrant {
            host: "localhost:1".parse().expect("a host"),
            methods: vec!["GET".parse().expect("a method")],
            addresses: Vec::new(),
        };
        call.hearing.grants = GateGrants { clock: true, random: true, http: vec![http] };
        let made = again("tests/gates/released/1.0.0.wasm", &[&call]);
        let [RetriedCall::Made { answer, not_said, .. }] = made.as_slice() else {
            panic!("{made:?}")
        };
        assert_eq!(*answer, GateAnswer::Pass);
        let of_others = |what: &&String| what.contains("answer") || what.contains("chance");
        assert_eq!(not_said.iter().filter(of_others).collect::<Vec<_>>(), [""; 0]);
    }
}
