//! The writer's way to the gate host: started with the first gate, every verdict counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::config::Config;
use crate::core::model::{GateName, ServiceName};
use crate::core::rollout::{
    GateAnswer, GateCall, GateErrorKind, GateEvidence, GateHearing, TelemetryView,
};
use crate::gate::{
    GATE_TIMES_US, GateHost, GateHostParts, GateRecord, KeptState, Library, MemoryState, Network,
};
use crate::telemetry::{GateCallsGauge, GateGauge, GateGauges};

use super::{AskGates, GateReply};

/// The gates of a configuration.
pub struct Gates {
    pub(super) clock: Clock,
    telemetry: Arc<dyn TelemetryView>,
    cache: Option<PathBuf>,
    state: Arc<MemoryState>,
    /// `None` until a configuration has a gate.
    pub(super) host: Mutex<Option<Arc<GateHost>>>,
    calls: Arc<Mutex<BTreeMap<(GateName, &'static str), u64>>>,
    errors: Arc<Mutex<BTreeMap<(GateName, GateErrorKind), u64>>>,
    /// What was uploaded; `None` where nothing can be.
    pub(super) library: Option<Library>,
    /// Held by whoever has a whole component in memory to give it to somebody.
    pub(super) giving: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Gates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gates").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Gates {
    /// No gates yet. `cache` is a folder of our own for compiled components; `None` compiles anew
    /// at each start.
    #[must_use]
    pub fn new(clock: Clock, telemetry: Arc<dyn TelemetryView>, cache: Option<PathBuf>) -> Self {
        Self {
            clock,
            telemetry,
            cache,
            state: Arc::default(),
            host: Mutex::default(),
            calls: Arc::default(),
            errors: Arc::default(),
            library: None,
            giving: tokio::sync::Mutex::default(),
        }
    }

    /// The same with what was uploaded in this folder of our own; `None` takes no uploads.
    ///
    /// # Errors
    /// A sentence if the folder cannot be used.
    pub fn with_uploads(mut self, folder: Option<&Path>) -> Result<Self, String> {
        let opened = folder.map(Library::open).transpose();
        self.library = opened.map_err(|error| format!("uploaded gates: {error}"))?;
        Ok(self)
    }

    /// Loads every gate of a configuration and checks every use's parameters. Blocks.
    ///
    /// # Errors
    /// A sentence for each gate that cannot be used, with its key path.
    pub fn prepare(&self, config: &Config) -> Result<(), String> {
        if config.gates.is_empty() && config.kept_gates.is_empty() {
            return Ok(());
        }
        let host = self.started()?;
        let mut mistakes = Vec::new();
        let mut loaded = BTreeMap::new();
        for spec in config.gates.values() {
            match host.load(spec, &config.base_dir) {
                Ok(_) => {
                    loaded.insert(&spec.name, spec.sha256);
                }
                Err(error) => mistakes.push(format!("gates.{}: {error}", spec.name)),
            }
        }
        for service in config.services.values() {
            for (place, usage) in service.gates.iter().enumerate() {
                // The parameters of a gate that cannot be loaded are nobody's mistake yet.
                let digest = loaded.get(&usage.gate);
                let checked = digest.map(|digest| host.check_params(*digest, &usage.params));
                if let Some(Err(error)) = checked {
                    let at = format!("services.{}.gates[{place}].params", service.name);
                    mistakes.push(format!("{at}: {error}"));
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes.join("\n"));
        }
        self.load_kept(&host, config, |gate, digest| loaded.get(gate) == Some(&digest));
        Ok(())
    }

    pub(super) fn started(&self) -> Result<Arc<GateHost>, String> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = host.as_ref() {
            return Ok(Arc::clone(host));
        }
        let parts = GateHostParts {
            clock: self.clock,
            telemetry: Arc::clone(&self.telemetry),
            state: self.state.clone(),
            cache: self.cache.clone(),
            outside: Arc::new(Network::new(self.clock)),
        };
        let started = Arc::new(GateHost::start(parts).map_err(|error| error.to_string())?);
        *host = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Ends the host; later questions are answered as unavailable. Blocks.
    pub fn shutdown(&self) {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(host) = host.and_then(Arc::into_inner) {
            host.shutdown();
        }
    }
}

impl AskGates for Gates {
    fn ask(&self, call: GateCall, evidence: Option<GateEvidence>, reply: GateReply) {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (calls, name) = (Arc::clone(&self.calls), call.gate.gate.clone());
        let errors = Arc::clone(&self.errors);
        let counted = move |answer: GateAnswer, hearing: Option<Box<GateHearing>>| {
            if let GateAnswer::Error { kind, .. } = &answer {
                let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                *errors.entry((name.clone(), *kind)).or_default() += 1;
            }
            let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
            *calls.entry((name, verdict(&answer))).or_default() += 1;
            drop(calls);
            reply(answer, hearing);
        };
        match host {
            Some(host) => host.hear(call, evidence, counted),
            None => {
                let text = "no gate is loaded".to_owned();
                counted(GateAnswer::Error { kind: GateErrorKind::Unavailable, text }, None);
            }
        }
    }

    fn calls(&self) -> Vec<GateCallsGauge> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge = |((gate, verdict), calls): (&(GateName, &'static str), &u64)| GateCallsGauge {
            gate: gate.clone(),
            verdict,
            calls: *calls,
        };
        calls.iter().map(gauge).collect()
    }

    fn take_changed_states(&self, most: usize) -> Vec<KeptState> {
        self.state.take_changed(most)
    }

    fn restore_states(&self, saved: Vec<KeptState>) {
        self.state.restore(saved);
    }

    fn retain_states(&self, is_kept: &dyn Fn(&ServiceName, &GateName) -> bool) -> usize {
        self.state.retain(is_kept)
    }

    fn gauges(&self) -> GateGauges {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(host) = host else { return GateGauges::default() };
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge = |record: GateRecord| GateGauge {
            errors: errors
                .iter()
                .filter(|((gate, _), _)| *gate == record.gate)
                .map(|((_, kind), errors)| (kind.as_str(), *errors))
                .collect(),
            times: GATE_TIMES_US.into_iter().zip(record.times).collect(),
            calls: record.calls,
            total_us: record.total_us,
            is_open: record.is_open,
            gate: record.gate,
        };
        let gates = host.records().into_iter().map(gauge).collect();
        GateGauges { gates, compilations: host.compilations() }
    }
}

fn verdict(answer: &GateAnswer) -> &'static str {
    match answer {
        GateAnswer::Pass => "pass",
        GateAnswer::Fail { .. } => "fail",
        GateAnswer::Hold { .. } => "hold",
        GateAnswer::Error { .. } => "error",
    }
}
