//! A host with one gate, in a world that pretends.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use crate::clock::Clock;
use crate::core::model::{GateGrants, GateLimits, GateName, GateSpec, Sha256};
use crate::core::rollout::{GateAnswer, GateCall, GateEvidence, TelemetryView};
use crate::gate::{GateHost, GateHostParts, LoadedGate, MemoryState, Outside};

/// The host and the gate.
pub(super) struct Desk {
    host: GateHost,
    spec: GateSpec,
    pub(super) gate: LoadedGate,
    pub(super) state: Arc<MemoryState>,
}

impl Desk {
    /// Starts a host and loads the gate in a file, under a name and on these terms.
    pub(super) fn set<W: TelemetryView + Outside + 'static>(
        (file, name): (&Path, GateName),
        (limits, grants): (GateLimits, GateGrants),
        world: &Arc<W>,
        cache: Option<&Path>,
    ) -> Result<Self, String> {
        let in_file = |error: std::io::Error| format!("{}: {error}", file.display());
        let bytes = fs::read(file).map_err(in_file)?;
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
        let component = file.to_string_lossy().into_owned();
        let spec = GateSpec { name, component, sha256: Sha256::of(&bytes), limits, grants };
        match host.load(&spec, Path::new("")) {
            Ok(gate) => Ok(Self { host, spec, gate, state }),
            Err(error) => {
                host.shutdown();
                Err(format!("{}: {error}", file.display()))
            }
        }
    }

    /// Has the gate go on on other terms, if they are others.
    pub(super) fn change_terms(
        &mut self,
        limits: GateLimits,
        grants: &GateGrants,
    ) -> Result<(), String> {
        if self.spec.limits == limits && self.spec.grants == *grants {
            return Ok(());
        }
        self.spec.limits = limits;
        self.spec.grants = grants.clone();
        self.load()
    }

    /// Asks the gate, and waits for its answer.
    pub(super) fn ask(
        &self,
        call: GateCall,
        evidence: Option<GateEvidence>,
    ) -> Result<GateAnswer, String> {
        let (sender, receiver) = channel();
        // The receiver is waiting below; it cannot have gone.
        let reply = move |answer| {
            let _ = sender.send(answer);
        };
        self.host.ask(call, evidence, reply);
        let answer = receiver.recv().map_err(|_| "the gate host gave up".to_owned())?;
        if matches!(answer, GateAnswer::Error { .. }) {
            // Errors of one call must not make the host leave the gate alone in the next.
            self.host.unload(&self.gate.name, self.gate.digest);
            self.load()?;
        }
        Ok(answer)
    }

    /// Ends the host; gives what was tried.
    pub(super) fn clear(self) -> LoadedGate {
        self.host.shutdown();
        self.gate
    }

    fn load(&self) -> Result<(), String> {
        let loaded = self.host.load(&self.spec, Path::new(""));
        loaded.map(|_| ()).map_err(|error| format!("{}: {error}", self.spec.component))
    }
}
