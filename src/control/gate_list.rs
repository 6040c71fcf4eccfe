//! Every gate at a glance: whether it can be asked, what it may use, and how much of it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::core::model::{GateGrants, GateLimits, GateName, GateReadiness, Sha256};
use crate::gate::{GateIndex, LoadedGate};

use super::uploads::blocking;
use super::{Gates, Handle, Refusal, View};

/// A gate as a list has it.
#[derive(Clone, Debug)]
pub struct GateSummary {
    /// Its name.
    pub gate: GateName,
    /// The component that rollouts are created with; `None` before the first upload.
    pub present: Option<Sha256>,
    /// Whether that can be asked.
    pub readiness: GateReadiness,
    /// Whether its components are uploaded; the file names that of any other gate.
    pub uploaded: bool,
    /// How many components that were uploaded are kept.
    pub versions: usize,
    /// What it may use of the world outside.
    pub grants: GateGrants,
    /// What its calls may use.
    pub limits: GateLimits,
}

impl Gates {
    /// What was uploaded, by gate. Blocks.
    fn uploaded(&self) -> Result<GateIndex, Refusal> {
        let index = self.library.as_ref().map(|library| library.index()).transpose();
        index.map(Option::unwrap_or_default).map_err(|error| Refusal::Gate(error.to_string()))
    }

    /// Whether each component that is loaded can be asked.
    fn readiness(&self) -> BTreeMap<(GateName, Sha256), GateReadiness> {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(host) = host else { return BTreeMap::new() };
        let of = |loaded: LoadedGate| {
            let readiness = if host.is_open(&loaded.name, loaded.digest) {
                GateReadiness::CircuitOpen
            } else {
                GateReadiness::Ready
            };
            ((loaded.name, loaded.digest), readiness)
        };
        host.list().into_iter().map(of).collect()
    }
}

impl View {
    /// Every declared gate, by name. Blocks.
    fn gate_summaries(&self, gates: Option<&Gates>) -> Result<Vec<GateSummary>, Refusal> {
        let index = gates.map(Gates::uploaded).transpose()?.unwrap_or_default();
        let loaded = gates.map(Gates::readiness).unwrap_or_default();
        let config = self.config.as_deref();
        let declared = config.map(|config| &config.uploaded_gates);
        let mut found: BTreeMap<GateName, Option<Sha256>> =
            declared.into_iter().flatten().map(|(name, _)| (name.clone(), None)).collect();
        found.extend(self.gates.iter().map(|(name, digest)| (name.clone(), Some(*digest))));
        let summary = |(gate, present): (GateName, Option<Sha256>)| {
            let uploaded = declared.and_then(|declared| declared.get(&gate));
            let spec = config.and_then(|config| config.gates.get(&gate));
            let (grants, limits) = match (uploaded, spec) {
                (Some(uploaded), _) => (uploaded.grants.clone(), uploaded.limits),
                (None, Some(spec)) => (spec.grants.clone(), spec.limits),
                (None, None) => Default::default(),
            };
            let readiness = present.map_or(GateReadiness::NoComponent, |digest| {
                let found = loaded.get(&(gate.clone(), digest)).copied();
                found.unwrap_or(GateReadiness::NotLoaded)
            });
            let versions = index.get(&gate).filter(|_| uploaded.is_some());
            let versions = versions.map_or(0, |versions| versions.kept.len());
            let uploaded = uploaded.is_some();
            GateSummary { gate, present, readiness, uploaded, versions, grants, limits }
        };
        Ok(found.into_iter().map(summary).collect())
    }
}

impl Handle {
    /// Every declared gate, by name.
    ///
    /// # Errors
    /// The index of uploads cannot be read.
    pub async fn list_gates(&self) -> Result<Vec<GateSummary>, Refusal> {
        let (view, gates) = (self.view(), self.gates.clone());
        blocking(move || view.gate_summaries(gates.as_deref())).await?
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::core::model::Span;
    use crate::core::rollout::Actor;
    use crate::gate::GateVersion;
    use crate::telemetry::Windows;

    const NAMED: &str = "plugins/dist/minimum-traffic-c.wasm";

    /// A configuration with a gate that the file names, and one whose component is uploaded.
    fn config(root: &Path) -> Config {
        let digest = Sha256::of(&std::fs::read(root.join(NAMED)).expect("committed"));
        let text = format!(
            "listeners: [{{ name: public, address: '127.0.0.1:0', rules: [{{ service: shop }}] }}]
target_groups: {{ a: {{ targets: ['127.0.0.1:9001'] }}, b: {{}} }}
services: {{ shop: {{ target_groups: [a, b] }} }}
gates:
  traffic: {{ component: {NAMED}, sha256: {digest}, limits: {{ deadline: 2s }} }}
  own: {{ uploaded: true, grants: {{ http: [{{ host: a.example }}] }} }}
"
        );
        Config::parse(&text, root).expect("no mistakes")
    }

    fn summaries(gates: &Gates, config: &Config) -> Vec<GateSummary> {
        let present = config.gates.values().map(|spec| (spec.name.clone(), spec.sha256));
        let view = View {
            gates: present.collect(),
            config: Some(Arc::new(config.clone())),
            ..View::default()
        };
        view.gate_summaries(Some(gates)).expect("read")
    }

    #[test]
    fn a_gate_is_listed_before_it_has_a_component_and_as_it_is_afterwards() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().expect("a folder");
        let gates = Gates::new(Clock::start(), Arc::new(Windows::default()), None);
        let gates = gates.with_uploads(Some(&folder.path().join("uploads"))).expect("a folder");
        let mut config = config(root);
        gates.merge(&mut config).expect("merged");
        let [own, traffic] = &summaries(&gates, &config)[..] else { panic!("two gates") };
        assert_eq!((own.gate.as_str(), own.present, own.versions), ("own", None, 0));
        assert_eq!((own.readiness, own.uploaded), (GateReadiness::NoComponent, true));
        assert_eq!(own.limits.deadline, Span::from_secs(5), "it may ask others");
        assert_eq!(own.grants.http[0].host.to_string(), "a.example");
        assert_eq!((traffic.gate.as_str(), traffic.uploaded), ("traffic", false));
        assert_eq!(traffic.readiness, GateReadiness::NotLoaded);

        let library = gates.library.as_ref().expect("there");
        let bytes = std::fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed");
        let version = GateVersion {
            uploaded: gates.clock.wall(),
            by: Actor::tidegate().name,
            signed_by: None,
            title: "error-budget".to_owned(),
            version: "1.0.0".to_owned(),
            bytes: bytes.len() as u64,
        };
        let digest = library.add_component(&bytes).expect("kept");
        library.put(&"own".parse().expect("valid"), digest, version).expect("kept");
        gates.merge(&mut config).expect("merged");
        gates.prepare(&config).expect("prepared");
        let [own, traffic] = &summaries(&gates, &config)[..] else { panic!("two gates") };
        assert_eq!((own.present, own.versions), (Some(digest), 1));
        assert_eq!(own.readiness, GateReadiness::Ready);
        assert_eq!((traffic.readiness, traffic.versions), (GateReadiness::Ready, 0));
        assert_eq!(traffic.limits.deadline, Span::from_secs(2));
    }
}
