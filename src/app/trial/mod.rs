//! A trial of a gate: its component runs in a host of its own, which pretends one written situation
//! after the other, or says again what was said in calls that were taken down. Nothing is contacted,
//! and no clock but the one that measures calls is read.

mod desk;
mod pretended;
mod remembered;
mod retrial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::retrial::{Retrial, RetriedCall, try_gate_again};

use self::desk::Desk;
use self::pretended::Pretended;
use crate::config::{GateCases, Situation};
use crate::core::model::{GateName, GateUse, OnGateError, Sha256, Span};
use crate::core::rollout::{GateAnswer, GateCall, GateState as _};
use crate::gate::{CallCost, KeptState, LoadedGate};

/// A gate that was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the component calls itself.
    pub title: String,
    /// Its own version.
    pub version: String,
    /// Its digest.
    pub sha256: Sha256,
    /// What came of each case, in their order.
    pub cases: Vec<TriedCase>,
}

/// What came of a situation.
#[derive(Clone, Debug)]
pub struct TriedCase {
    /// The answer.
    pub answer: GateAnswer,
    /// What it logged: the level, a colon and the text of each line.
    pub log: Vec<String>,
    /// The requests that it sent: method, URL and body of each.
    pub requests: Vec<String>,
    /// Those of them that the situation has no answer for.
    pub unanswered: Vec<String>,
    /// What it asked the telemetry for that the situation does not say, and got none of.
    pub not_said: Vec<String>,
    /// What it keeps.
    pub state: BTreeMap<String, String>,
    /// What the call took; nothing if it was never made.
    pub cost: CallCost,
}

/// Tries the gate in a file. Blocks.
///
/// # Errors
/// Why the file is no gate, or none that may do what it wants to do.
pub fn try_gate(file: &Path, cases: &GateCases) -> Result<Trial, String> {
    try_with(file, cases, user_cache().as_deref())
}

/// The same with a folder where compiled gates are kept.
fn try_with(file: &Path, cases: &GateCases, cache: Option<&Path>) -> Result<Trial, String> {
    let stage = Stage::set(file, cases, cache)?;
    let tried: Result<Vec<_>, String> =
        cases.cases.iter().map(|case| stage.play(&case.situation)).collect();
    let LoadedGate { title, version, digest, .. } = stage.desk.clear();
    Ok(Trial { title, version, sha256: digest, cases: tried? })
}

/// Where compiled gates of this user are kept from one trial to the next; `None` if it is not said
/// where.
fn user_cache() -> Option<PathBuf> {
    // The tests of this crate leave nothing behind.
    if cfg!(test) {
        return None;
    }
    let named = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    folder.filter(|folder| folder.is_dir()).map(|folder| folder.join("tidegate-gates"))
}

/// The gate on its desk, and a world that pretends.
struct Stage {
    desk: Desk,
    world: Arc<Pretended>,
}

impl Stage {
    fn set(file: &Path, cases: &GateCases, cache: Option<&Path>) -> Result<Self, String> {
        let world = Arc::new(Pretended::default());
        let terms = (cases.limits, cases.grants.clone());
        let desk = Desk::set((file, name(file)), terms, &world, cache)?;
        Ok(Self { desk, world })
    }

    /// Asks the gate in a situation.
    fn play(&self, situation: &Situation) -> Result<TriedCase, String> {
        let (service, gate) = (situation.service.clone(), self.desk.gate.name.clone());
        let values = situation.state.clone();
        self.desk.state.restore(vec![KeptState { service, gate, values }]);
        self.world.begin(situation);
        let answer = self.desk.ask(self.call(situation), situation.evidence.clone())?;
        let heard = self.world.end();
        Ok(TriedCase {
            answer,
            log: heard.log,
            requests: heard.requests,
            unanswered: heard.unanswered,
            not_said: heard.not_said.into_iter().collect(),
            state: self.desk.state.values(&situation.service, &self.desk.gate.name),
            cost: heard.cost,
        })
    }

    fn call(&self, situation: &Situation) -> GateCall {
        GateCall {
            rollout: situation.rollout.clone(),
            service: situation.service.clone(),
            gate: GateUse {
                gate: self.desk.gate.name.clone(),
                at: vec![situation.stage],
                params: situation.params.clone(),
                on_error: OnGateError::Hold,
                every: Span::from_secs(10),
                mode: situation.mode,
                on_timeout: None,
            },
            digest: self.desk.gate.digest,
            stage: situation.stage,
            step: situation.step,
            attempt: situation.attempt,
            blue_revision: situation.blue_revision.clone(),
            green_revision: situation.green_revision.clone(),
            weight: situation.weight,
            next_weight: situation.next_weight.unwrap_or(situation.weight),
            elapsed: situation.elapsed,
        }
    }
}

/// The name of the file without its ending, or another where that is no name.
fn name(file: &Path) -> GateName {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let named = stem.and_then(|stem| stem.parse().ok());
    named.unwrap_or_else(|| "gate".parse().expect("a name"))
}

#[cfg(test)]
mod tests;
