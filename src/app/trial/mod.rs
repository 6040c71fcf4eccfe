//! A trial of a gate: its component runs in a host of its own, which pretends one written situation
//! after the other. Nothing is contacted, and no clock but the one that measures calls is read.

mod pretended;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use self::pretended::Pretended;
use crate::clock::Clock;
use crate::config::{GateCases, Situation};
use crate::core::model::{GateName, GateSpec, GateUse, OnGateError, Sha256, Span};
use crate::core::rollout::{GateAnswer, GateCall, GateState as _};
use crate::gate::{CallCost, GateHost, GateHostParts, KeptState, LoadedGate, MemoryState};

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
    let Stage { host, gate, .. } = stage;
    host.shutdown();
    let LoadedGate { title, version, digest, .. } = gate;
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

/// A host with the gate and a world that pretends.
struct Stage {
    host: GateHost,
    spec: GateSpec,
    gate: LoadedGate,
    world: Arc<Pretended>,
    state: Arc<MemoryState>,
}

impl Stage {
    fn set(file: &Path, cases: &GateCases, cache: Option<&Path>) -> Result<Self, String> {
        let in_file = |error: std::io::Error| format!("{}: {error}", file.display());
        let bytes = fs::read(file).map_err(in_file)?;
        let world = Arc::new(Pretended::default());
        let state = Arc::new(MemoryState::default());
        let start = |cache: Option<&Path>| {
            GateHost::start(GateHostParts {
                clock: Clock::start(),
                telemetry: world.clone(),
                state: state.clone(),
                cache: cache.map(Path::to_owned),
                outside: world.clone(),
            })
        };
        // A cache that cannot be used is no reason not to try a gate: it is compiled anew.
        let host = start(cache).or_else(|_| start(None)).map_err(|error| error.to_string())?;
        let spec = GateSpec {
            name: name(file),
            component: file.to_string_lossy().into_owned(),
            sha256: Sha256::of(&bytes),
            limits: cases.limits,
            grants: cases.grants.clone(),
        };
        match host.load(&spec, Path::new("")) {
            Ok(gate) => Ok(Self { host, spec, gate, world, state }),
            Err(error) => {
                host.shutdown();
                Err(format!("{}: {error}", file.display()))
            }
        }
    }

    /// Asks the gate in a situation.
    fn play(&self, situation: &Situation) -> Result<TriedCase, String> {
        let (service, gate) = (situation.service.clone(), self.gate.name.clone());
        let values = situation.state.clone();
        self.state.restore(vec![KeptState { service, gate, values }]);
        self.world.begin(situation);
        let (sender, receiver) = channel();
        // The receiver is waiting below; it cannot have gone.
        let reply = move |answer| {
            let _ = sender.send(answer);
        };
        self.host.ask(self.call(situation), situation.evidence.clone(), reply);
        let answer = receiver.recv().map_err(|_| "the gate host gave up".to_owned())?;
        if matches!(answer, GateAnswer::Error { .. }) {
            // Errors of one case must not make the host leave the gate alone in the next.
            self.host.unload(&self.gate.name, self.gate.digest);
            let loaded = self.host.load(&self.spec, Path::new(""));
            loaded.map_err(|error| error.to_string())?;
        }
        let heard = self.world.end();
        Ok(TriedCase {
            answer,
            log: heard.log,
            requests: heard.requests,
            unanswered: heard.unanswered,
            not_said: heard.not_said.into_iter().collect(),
            state: self.kept(situation),
            cost: heard.cost,
        })
    }

    fn call(&self, situation: &Situation) -> GateCall {
        GateCall {
            rollout: situation.rollout.clone(),
            service: situation.service.clone(),
            gate: GateUse {
                gate: self.gate.name.clone(),
                at: vec![situation.stage],
                params: situation.params.clone(),
                on_error: OnGateError::Hold,
                every: Span::from_secs(10),
                mode: situation.mode,
                on_timeout: None,
            },
            digest: self.gate.digest,
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

    fn kept(&self, situation: &Situation) -> BTreeMap<String, String> {
        let (service, gate) = (&situation.service, &self.gate.name);
        let value = |key: String| Some((self.state.value(service, gate, &key)?, key));
        let kept = self.state.keys(service, gate).into_iter().filter_map(value);
        kept.map(|(value, key)| (key, value)).collect()
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
