//! Uploaded gates, as far as they concern the configuration in force.

use std::sync::Arc;

use serde_json::json;

use super::Done;
use crate::control::draft::{About, EntryKind, entry};
use crate::control::{Refusal, Reply, Request, World};
use crate::core::model::{GateName, GateSpec, ServiceSpec};

impl World {
    /// Creates rollouts with another component of a gate from now on.
    pub(super) fn use_gate(
        &mut self,
        request: &Request,
        spec: &GateSpec,
        detail: &str,
    ) -> Result<Done, Refusal> {
        let name = &spec.name;
        if !self.config.uploaded_gates.contains_key(name) {
            return Err(Refusal::NoGate(name.clone()));
        }
        let config = Arc::make_mut(&mut self.config);
        config.gates.insert(name.clone(), spec.clone());
        config.kept_gates.entry(name.clone()).or_default().insert(spec.sha256);
        let detail: serde_json::Value = serde_json::from_str(detail).unwrap_or_default();
        let by = (&request.actor, request.reason.as_ref());
        self.note(entry(EntryKind::GatePushed, About::default(), &detail, by, self.now.wall));
        Ok(Done::Answered(Reply::GateChanged))
    }

    /// Forgets the components of a gate, unless something needs them.
    pub(super) fn drop_gate(
        &mut self,
        request: &Request,
        gate: &GateName,
    ) -> Result<Done, Refusal> {
        if !self.config.uploaded_gates.contains_key(gate) {
            return Err(Refusal::NoGate(gate.clone()));
        }
        let asks = |spec: &&ServiceSpec| spec.gates.iter().any(|usage| usage.gate == *gate);
        if let Some(service) = self.config.services.values().find(asks) {
            return Err(Refusal::GateInUse(format!("service {} asks gate {gate}", service.name)));
        }
        let mut active = self.rollouts.values().map(|active| active.rollout.spec());
        let asks = active.find(|spec| spec.gates.iter().any(|bound| bound.usage.gate == *gate));
        if let Some(spec) = asks {
            return Err(Refusal::GateInUse(format!("rollout {} asks gate {gate}", spec.id)));
        }
        let config = Arc::make_mut(&mut self.config);
        config.gates.remove(gate);
        config.kept_gates.remove(gate);
        let detail = json!({ "gate": gate });
        let by = (&request.actor, request.reason.as_ref());
        self.note(entry(EntryKind::GateRemoved, About::default(), &detail, by, self.now.wall));
        Ok(Done::Answered(Reply::GateChanged))
    }

    /// A gate that a service asks and that has no component yet; `None` if there is none. A rollout
    /// that is created without it would not be held by it either.
    pub(super) fn missing_gate(&self, spec: &ServiceSpec) -> Option<GateName> {
        let mut asked = spec.gates.iter().map(|usage| &usage.gate);
        asked.find(|gate| !self.config.gates.contains_key(*gate)).cloned()
    }
}
