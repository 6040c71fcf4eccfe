//! Uploaded gates: taking a component in, putting what was taken into a configuration, and letting go
//! of what nobody asks any more.
//!
//! An upload changes the one gate it is for, and no rollout: those that run go on asking the
//! component that they were created with, which is kept for as long as one of them does.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use serde_json::json;

use crate::config::Config;
use crate::core::model::{GateKey, GateName, GateSpec, Sha256, UploadedGate};
use crate::core::rollout::Actor;
use crate::gate::{
    GateError, GateHost, GateVersion, GateVersions, LoadedGate, read_component, signer,
};

use super::{Command, EvidenceReader, Gates, Handle, Refusal, Reply, Request};

/// A component to be taken in.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The gate that it is for.
    pub gate: GateName,
    /// The file.
    pub component: Vec<u8>,
    /// The signature of these bytes; `None` if there is none.
    pub signature: Option<Vec<u8>>,
}

/// A gate as it can be seen.
#[derive(Clone, Debug)]
pub struct GateView {
    /// Its name.
    pub gate: GateName,
    /// The component that rollouts are created with; `None` before the first upload.
    pub present: Option<Sha256>,
    /// What was uploaded; `None` if nothing was, or the file names the component.
    pub versions: Option<GateVersions>,
    /// What the present component says of itself; `None` if it is not loaded.
    pub loaded: Option<LoadedGate>,
}

impl Gates {
    /// Puts what was uploaded into a configuration that declares it. Blocks.
    ///
    /// # Errors
    /// A sentence if the index of uploads cannot be read.
    pub fn merge(&self, config: &mut Config) -> Result<(), String> {
        let Some(library) = &self.library else { return Ok(()) };
        let index = library.index().map_err(|error| format!("uploaded gates: {error}"))?;
        config.kept_gates.clear();
        for declared in config.uploaded_gates.values() {
            let name = &declared.name;
            config.gates.remove(name);
            let Some(versions) = index.get(name) else { continue };
            config.kept_gates.insert(name.clone(), versions.kept.keys().copied().collect());
            let wanted = declared.sha256.unwrap_or(versions.latest);
            let Some(version) = versions.kept.get(&wanted) else { continue };
            let keys = &config.gate_keys;
            if keys.is_empty() || version.signed_by.is_some_and(|key| keys.contains(&key)) {
                let spec = declared.with(self.component(wanted), wanted);
                config.gates.insert(name.clone(), spec);
            } else {
                tracing::warn!(gate = %name, "not used: no key of gate_keys signed what was uploaded");
            }
        }
        Ok(())
    }

    /// Has a configuration that was read some time ago go with what was uploaded since. Blocks.
    ///
    /// # Errors
    /// A sentence if the index of uploads cannot be read.
    pub fn catch_up(&self, config: &mut Arc<Config>) -> Result<(), String> {
        if config.uploaded_gates.is_empty() {
            return Ok(());
        }
        self.merge(Arc::make_mut(config))?;
        if !config.kept_gates.is_empty() {
            let host = self.started()?;
            let loaded = host.list();
            self.load_kept(&host, config, |gate, digest| {
                loaded.iter().any(|there| there.name == *gate && there.digest == digest)
            });
        }
        Ok(())
    }

    /// Loads the components of uploaded gates that are not done yet: earlier ones, which rollouts
    /// may still ask. They get the limits and grants that the gate has now, and one that imports
    /// what is not granted any more is not asked again.
    pub(super) fn load_kept(
        &self,
        host: &GateHost,
        config: &Config,
        is_done: impl Fn(&GateName, Sha256) -> bool,
    ) {
        for (gate, kept) in &config.kept_gates {
            let Some(declared) = config.uploaded_gates.get(gate) else { continue };
            for digest in kept {
                if is_done(gate, *digest) {
                    continue;
                }
                let spec = declared.with(self.component(*digest), *digest);
                let Err(error) = host.load(&spec, &config.base_dir) else { continue };
                tracing::warn!(%gate, %digest, %error, "an uploaded component is not loaded");
                if matches!(error, GateError::Contract { .. }) {
                    host.unload(gate, *digest);
                }
            }
        }
    }

    /// Where a component lies; in no folder where nothing can be uploaded.
    fn component(&self, digest: Sha256) -> String {
        let path = self.library.as_ref().map(|library| library.component(digest));
        path.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Takes a component in: it is loaded and its gate's latest then. Blocks.
    fn take(
        &self,
        config: &Config,
        upload: Upload,
        actor: &Actor,
    ) -> Result<(GateSpec, GateVersion), Refusal> {
        let refused = Refusal::Gate;
        let failed = |error: io::Error| Refusal::Gate(format!("it cannot be kept: {error}"));
        let declared = declared(config, &upload.gate)?;
        let library = self.library.as_ref().ok_or_else(|| {
            refused("nothing can be uploaded with a store in memory: set store.path".to_owned())
        })?;
        let digest = Sha256::of(&upload.component);
        if let Some(pinned) = declared.sha256.filter(|pinned| *pinned != digest) {
            let gate = &upload.gate;
            let text = format!("it hashes to {digest}, gates.{gate}.sha256 is {pinned}");
            return Err(refused(text));
        }
        let signed_by = signed_by(config, &upload).map_err(refused)?;
        let was_there = library.component(digest).exists();
        library.add_component(&upload.component).map_err(failed)?;
        let Upload { gate, component, .. } = upload;
        let bytes = component.len() as u64;
        // It is read again where it lies now: two of them need not be in memory.
        drop(component);
        let spec = declared.with(self.component(digest), digest);
        let loaded = self.try_out(config, &spec).inspect_err(|_| {
            if !was_there {
                library.clear_leftovers();
            }
        })?;
        let version = GateVersion {
            uploaded: self.clock.wall(),
            by: actor.name.clone(),
            signed_by,
            title: loaded.title,
            version: loaded.version,
            bytes,
        };
        if let Err(error) = library.put(&gate, digest, version.clone()) {
            if !was_there {
                library.clear_leftovers();
                self.unload(&gate, &[digest]);
            }
            return Err(failed(error));
        }
        Ok((spec, version))
    }

    /// Loads a component and checks the parameters that services give it; one that does not pass is
    /// not loaded afterwards, unless it was before.
    fn try_out(&self, config: &Config, spec: &GateSpec) -> Result<LoadedGate, Refusal> {
        let host = self.started().map_err(Refusal::Gate)?;
        let is_it = |gate: &LoadedGate| gate.name == spec.name && gate.digest == spec.sha256;
        let was_loaded = host.list().iter().any(is_it);
        let loaded = host.load(spec, &config.base_dir);
        let loaded = loaded.map_err(|error| Refusal::Gate(error.to_string()))?;
        let mut mistakes = Vec::new();
        for service in config.services.values() {
            for (place, usage) in service.gates.iter().enumerate() {
                if usage.gate != spec.name {
                    continue;
                }
                if let Err(error) = host.check_params(spec.sha256, &usage.params) {
                    let at = format!("services.{}.gates[{place}].params", service.name);
                    mistakes.push(format!("{at}: {error}"));
                }
            }
        }
        if mistakes.is_empty() {
            return Ok(loaded);
        }
        if !was_loaded {
            host.unload(&spec.name, spec.sha256);
        }
        Err(Refusal::Gate(mistakes.join("; ")))
    }

    /// Lets go of the components of a gate that nobody asks any more. Blocks.
    fn prune(&self, gate: &GateName, in_use: &BTreeSet<Sha256>) {
        let Some(library) = &self.library else { return };
        match library.prune(gate, in_use) {
            Ok(gone) => self.unload(gate, &gone),
            Err(error) => tracing::warn!(%gate, %error, "earlier components are not removed"),
        }
    }

    /// Forgets a gate. Blocks.
    fn forget(&self, gate: &GateName) -> Result<(), Refusal> {
        let Some(library) = &self.library else { return Ok(()) };
        let gone = library.remove(gate).map_err(|error| Refusal::Gate(error.to_string()))?;
        self.unload(gate, &gone);
        Ok(())
    }

    fn unload(&self, gate: &GateName, digests: &[Sha256]) {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(host) = host else { return };
        for digest in digests {
            host.unload(gate, *digest);
        }
    }

    /// A gate of a configuration. Blocks.
    fn see(&self, config: &Config, gate: &GateName) -> Result<GateView, Refusal> {
        if !config.gates.contains_key(gate) && !config.uploaded_gates.contains_key(gate) {
            return Err(Refusal::NoGate(gate.clone()));
        }
        let index = self.library.as_ref().map(|library| library.index()).transpose();
        let index = index.map_err(|error| Refusal::Gate(error.to_string()))?;
        let present = config.gates.get(gate).map(|spec| spec.sha256);
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = host.map(|host| host.list()).unwrap_or_default();
        Ok(GateView {
            gate: gate.clone(),
            present,
            versions: index.and_then(|mut index| index.remove(gate)),
            loaded: all.into_iter().find(|g| g.name == *gate && Some(g.digest) == present),
        })
    }
}

impl Gates {
    /// Finds a component of a gate, the present one if none is named; `None` if it is not kept.
    /// Blocks.
    fn find(
        &self,
        config: &Config,
        gate: &GateName,
        wanted: Option<Sha256>,
    ) -> Result<Option<(PathBuf, Sha256)>, Refusal> {
        let present = config.gates.get(gate);
        if present.is_none() && !config.uploaded_gates.contains_key(gate) {
            return Err(Refusal::NoGate(gate.clone()));
        }
        let Some(digest) = wanted.or(present.map(|spec| spec.sha256)) else { return Ok(None) };
        let path = match present.filter(|spec| spec.sha256 == digest) {
            Some(spec) => Some(config.base_dir.join(&spec.component)),
            None => self.kept(gate, digest)?,
        };
        Ok(path.map(|path| (path, digest)))
    }

    /// The file of an uploaded component, if it is kept. Blocks.
    fn kept(&self, gate: &GateName, digest: Sha256) -> Result<Option<PathBuf>, Refusal> {
        let Some(library) = &self.library else { return Ok(None) };
        let index = library.index().map_err(|error| Refusal::Gate(error.to_string()))?;
        let is_kept = index.get(gate).is_some_and(|found| found.kept.contains_key(&digest));
        Ok(is_kept.then(|| library.component(digest)))
    }
}

/// How a gate is declared, if its component is uploaded.
fn declared<'a>(config: &'a Config, gate: &GateName) -> Result<&'a UploadedGate, Refusal> {
    if config.gates.contains_key(gate) && !config.uploaded_gates.contains_key(gate) {
        return Err(Refusal::GateInUse(format!("the file names the component of gate {gate}")));
    }
    config.uploaded_gates.get(gate).ok_or_else(|| Refusal::NoGate(gate.clone()))
}

/// The key that signed an upload; `None` where nothing must be signed.
fn signed_by(config: &Config, upload: &Upload) -> Result<Option<GateKey>, String> {
    match (&upload.signature, config.gate_keys.as_slice()) {
        (None, []) => Ok(None),
        (Some(_), []) => Err("it is signed, and there is no key in gate_keys".to_owned()),
        (None, _) => Err("it must be signed by a key in gate_keys".to_owned()),
        (Some(signature), keys) => signer(keys, &upload.component, signature)
            .map(Some)
            .ok_or_else(|| "its signature is of none of the keys in gate_keys".to_owned()),
    }
}

impl Handle {
    /// Takes in a component, for the rollouts that start from now on; one at a time, and none while
    /// the configuration is reloaded.
    ///
    /// # Errors
    /// The reason why it was not taken; nothing was changed then.
    pub async fn push_gate(
        &self,
        upload: Upload,
        actor: Actor,
        reason: Option<String>,
    ) -> Result<GateView, Refusal> {
        let alone = Arc::clone(&self.reloading)
            .try_lock_owned()
            .map_err(|_| Refusal::Busy("the configuration or a gate".to_owned()))?;
        let handle = self.clone();
        // Whoever waits may go: what has begun comes to its end, and nothing else begins before.
        let taking = tokio::spawn(async move {
            let _alone = alone;
            handle.take_gate(upload, actor, reason).await
        });
        taking.await.map_err(|error| Refusal::Gate(format!("a fault of the host: {error}")))?
    }

    async fn take_gate(
        &self,
        upload: Upload,
        actor: Actor,
        reason: Option<String>,
    ) -> Result<GateView, Refusal> {
        let (gates, gate) = (self.gates()?, upload.gate.clone());
        let (taking, config, by) = (Arc::clone(&gates), self.config()?, actor.clone());
        let (spec, version) = blocking(move || taking.take(&config, upload, &by)).await??;
        let detail = json!({
            "gate": gate, "sha256": spec.sha256, "title": version.title,
            "version": version.version, "signed_by": version.signed_by,
        });
        let command = Command::UseGate { spec, detail: detail.to_string() };
        self.send(Request { command, actor, reason, if_match: None }).await?;
        // Whatever started before this was answered asks what is found here.
        let in_use = self.asked_by_rollouts(&gate);
        let (pruning, pruned) = (Arc::clone(&gates), gate.clone());
        blocking(move || pruning.prune(&pruned, &in_use)).await?;
        self.see_gate(&gate).await
    }

    /// Forgets a gate that was uploaded.
    ///
    /// # Errors
    /// It is in use, or was never uploaded; nothing was changed then.
    pub async fn remove_gate(
        &self,
        gate: GateName,
        actor: Actor,
        reason: Option<String>,
    ) -> Result<Reply, Refusal> {
        let alone = Arc::clone(&self.reloading)
            .try_lock_owned()
            .map_err(|_| Refusal::Busy("the configuration or a gate".to_owned()))?;
        let handle = self.clone();
        // As with an upload: it is not left half done, which a restart would take back.
        let removing = tokio::spawn(async move {
            let _alone = alone;
            handle.drop_gate(gate, actor, reason).await
        });
        removing.await.map_err(|error| Refusal::Gate(format!("a fault of the host: {error}")))?
    }

    async fn drop_gate(
        &self,
        gate: GateName,
        actor: Actor,
        reason: Option<String>,
    ) -> Result<Reply, Refusal> {
        let (gates, config) = (self.gates()?, self.config()?);
        declared(&config, &gate)?;
        let command = Command::DropGate { gate: gate.clone() };
        let reply = self.send(Request { command, actor, reason, if_match: None }).await?;
        blocking(move || gates.forget(&gate)).await??;
        Ok(reply)
    }

    /// A gate with its components.
    ///
    /// # Errors
    /// There is no such gate.
    pub async fn see_gate(&self, gate: &GateName) -> Result<GateView, Refusal> {
        let (gates, config, gate) = (self.gates()?, self.config()?, gate.clone());
        blocking(move || gates.see(&config, &gate)).await?
    }

    /// A component of a gate, the present one if none is named; `None` if it is not kept.
    ///
    /// # Errors
    /// There is no such gate, or its file cannot be read.
    pub async fn gate_component(
        &self,
        gate: &GateName,
        wanted: Option<Sha256>,
    ) -> Result<Option<EvidenceReader>, Refusal> {
        let (gates, config, gate) = (self.gates()?, self.config()?, gate.clone());
        let looking = Arc::clone(&gates);
        // Looked at as a whole, one at a time, and given in pieces: readers may be slow, and many.
        let _alone = gates.giving.lock().await;
        blocking(move || {
            let Some((path, digest)) = looking.find(&config, &gate, wanted)? else {
                return Ok(None);
            };
            read_component(&path, digest).map_err(|error| Refusal::Gate(error.to_string()))?;
            let opened = File::open(&path).and_then(EvidenceReader::of);
            opened.map(Some).map_err(|error| Refusal::Gate(error.to_string()))
        })
        .await?
    }

    fn gates(&self) -> Result<Arc<Gates>, Refusal> {
        self.gates.clone().ok_or(Refusal::ShuttingDown)
    }

    fn config(&self) -> Result<Arc<Config>, Refusal> {
        self.view().config.clone().ok_or(Refusal::ShuttingDown)
    }

    /// The components of a gate that rollouts go on asking.
    fn asked_by_rollouts(&self, gate: &GateName) -> BTreeSet<Sha256> {
        let view = self.view();
        let active = view.rollouts.values().filter(|rollout| !rollout.state.is_terminal());
        let bound = active.filter_map(|rollout| rollout.spec.as_ref()).flat_map(|spec| &spec.gates);
        bound.filter(|bound| bound.usage.gate == *gate).map(|bound| bound.digest).collect()
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::Gate(format!("a fault of the host: {error}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Clock;
    use crate::gate::Library;
    use crate::telemetry::Windows;

    struct Bench {
        gates: Gates,
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn start() -> Self {
            let folder = tempfile::tempdir().expect("a directory");
            let gates = Gates::new(Clock::start(), Arc::new(Windows::default()), None);
            let gates = gates.with_uploads(Some(&folder.path().join("uploads"))).expect("a folder");
            Self { gates, folder }
        }

        fn take(&self, config: &Config, component: &[u8]) -> Result<Sha256, String> {
            self.take_signed(config, component, None)
        }

        fn take_signed(
            &self,
            config: &Config,
            component: &[u8],
            signature: Option<Vec<u8>>,
        ) -> Result<Sha256, String> {
            let upload = Upload { gate: budget(), component: component.to_vec(), signature };
            let taken = self.gates.take(config, upload, &Actor::tidegate());
            taken.map(|(spec, _)| spec.sha256).map_err(|refusal| refusal.to_string())
        }

        fn files(&self) -> usize {
            let files = std::fs::read_dir(self.folder.path().join("uploads")).expect("a folder");
            files
                .filter(|file| file.as_ref().is_ok_and(|file| file.file_name() != "index.json"))
                .count()
        }
    }

    fn budget() -> GateName {
        "budget".parse().expect("valid")
    }

    /// A configuration that has the gate uploaded, with more keys for it, and these parameters.
    fn config(keys: &str, params: &str) -> Config {
        let text = format!(
            "listeners: [{{ name: public, address: '127.0.0.1:0', rules: [{{ service: shop }}] }}]
target_groups: {{ a: {{ targets: ['127.0.0.1:9001'] }}, b: {{}} }}
services:
  shop:
    target_groups: [a, b]
    gates: [{{ gate: budget, at: [before-step], params: {params} }}]
gates: {{ budget: {{ uploaded: true, limits: {{ deadline: 2s }}{keys} }} }}
"
        );
        Config::parse(&text, Path::new("")).expect("no mistakes")
    }

    fn good() -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed")
    }

    /// The same component with a section at its end that says nothing.
    fn newer() -> Vec<u8> {
        [good(), vec![0, 2, 1, b'x']].concat()
    }

    #[test]
    fn an_upload_is_for_new_rollouts_and_what_is_in_use_is_kept() {
        let bench = Bench::start();
        let mut config = config("", "{ slo: 99.9 }");
        bench.gates.merge(&mut config).expect("merged");
        assert!(config.gates.is_empty(), "nothing was uploaded");
        let old = bench.take(&config, &good()).expect("taken");
        bench.gates.merge(&mut config).expect("merged");
        assert_eq!(config.gates[&budget()].sha256, old);
        let new = bench.take(&config, &newer()).expect("taken");
        bench.gates.merge(&mut config).expect("merged");
        assert_eq!(config.gates[&budget()].sha256, new);
        assert_eq!(config.kept_gates[&budget()], BTreeSet::from([old, new]));
        let loaded = || {
            let view = bench.gates.see(&config, &budget()).expect("seen");
            assert_eq!(view.loaded.expect("loaded").digest, new);
            view.versions.expect("uploaded").kept.into_keys().collect::<BTreeSet<_>>()
        };
        bench.gates.prune(&budget(), &BTreeSet::from([old]));
        assert_eq!(loaded(), BTreeSet::from([old, new]));
        let read = |wanted| {
            let found = bench.gates.find(&config, &budget(), wanted).expect("looked for");
            found.map(|(path, digest)| read_component(&path, digest).expect("whole"))
        };
        assert_eq!(read(None), Some(newer()));
        assert_eq!(read(Some(old)), Some(good()));
        assert_eq!(read(Some(Sha256::of(b"another"))), None);
        bench.gates.prune(&budget(), &BTreeSet::new());
        assert_eq!(loaded(), BTreeSet::from([new]));
        bench.gates.forget(&budget()).expect("forgotten");
        assert_eq!(bench.files(), 0);
    }

    #[test]
    fn after_a_restart_every_kept_component_is_loaded() {
        let bench = Bench::start();
        let mut config = config("", "{ slo: 99.9 }");
        let old = bench.take(&config, &good()).expect("taken");
        let new = bench.take(&config, &newer()).expect("taken");
        let again = Gates::new(Clock::start(), Arc::new(Windows::default()), None);
        let uploads = bench.folder.path().join("uploads");
        let again = again.with_uploads(Some(&uploads)).expect("a folder");
        again.merge(&mut config).expect("merged");
        again.prepare(&config).expect("prepared");
        let host = again.started().expect("it runs");
        let digests: BTreeSet<Sha256> = host.list().iter().map(|gate| gate.digest).collect();
        assert_eq!(digests, BTreeSet::from([old, new]));
    }

    #[test]
    fn an_upload_for_which_there_is_no_room_leaves_nothing_behind() {
        let bench = Bench::start();
        let config = config("", "{ slo: 99.9 }");
        let taken = bench.take(&config, &good()).expect("taken");
        let library = bench.gates.library.as_ref().expect("a folder");
        let version = library.index().expect("read")[&budget()].kept[&taken].clone();
        for i in 1..Library::VERSIONS {
            let digest = library.add_component(i.to_string().as_bytes()).expect("written");
            library.put(&budget(), digest, version.clone()).expect("kept");
        }
        let refused = bench.take(&config, &newer()).expect_err("no room");
        assert!(refused.contains("20 versions"), "{refused}");
        assert_eq!(bench.files(), Library::VERSIONS);
        let host = bench.gates.started().expect("it runs");
        let loaded: Vec<Sha256> = host.list().iter().map(|gate| gate.digest).collect();
        assert_eq!(loaded, [taken]);
    }

    /// A component that imports all that the contract has.
    fn curious() -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read(root.join("tests/gates/released/1.0.0.wasm")).expect("committed")
    }

    #[test]
    fn an_uploaded_component_has_the_grants_of_its_gate_for_as_long_as_the_file_gives_them() {
        let bench = Bench::start();
        let all = ", grants: { clock: true, random: true, http: [{ host: a.example }] }";
        let mut strict = config("", "{ slo: 99.9 }");
        let mut generous = config(all, "{ slo: 99.9 }");
        let refused = bench.take(&strict, &curious()).expect_err("it imports a clock");
        assert!(refused.contains("is not granted"), "{refused}");
        let old = bench.take(&generous, &curious()).expect("taken");
        let new = bench.take(&generous, &good()).expect("taken");
        let loaded = |config: &mut Config| {
            bench.gates.merge(config).expect("merged");
            bench.gates.prepare(config).expect("prepared");
            let host = bench.gates.started().expect("it runs");
            host.list().iter().map(|gate| gate.digest).collect::<BTreeSet<Sha256>>()
        };
        assert_eq!(loaded(&mut generous), BTreeSet::from([old, new]));
        assert_eq!(loaded(&mut strict), BTreeSet::from([new]), "the other one lost its grants");
    }

    #[test]
    fn a_component_that_does_not_pass_leaves_nothing_behind() {
        let bench = Bench::start();
        let refuses = |config: &Config, component: &[u8], expected: &str| {
            let refusal = bench.take(config, component).expect_err(expected);
            assert!(refusal.contains(expected), "{refusal}\ndoes not contain\n{expected}");
            assert_eq!(bench.files(), 0, "{expected}");
        };
        let free = config("", "{ slo: 99.9 }");
        refuses(&free, b"#!/bin/sh", "not a WebAssembly file");
        refuses(&free, b"\0asm\x01\0\0\0", "a core module, not a component");
        refuses(&free, &good()[..30_000], "cut off or damaged");
        let pin = format!(", sha256: {}", Sha256::of(b"another"));
        refuses(&config(&pin, "{ slo: 99.9 }"), &good(), "gates.budget.sha256 is");
        let odd = config("", "{ slo: 100 }");
        refuses(&odd, &good(), "services.shop.gates[0].params: ");
        let mut signed = free.clone();
        signed.gate_keys = vec!["ab".repeat(32).parse().expect("a key")];
        refuses(&signed, &good(), "it must be signed");
        let other = bench.take_signed(&signed, &good(), Some(vec![0; 64])).expect_err("not signed");
        assert!(other.contains("of none of the keys"), "{other}");
        let mut unknown = free;
        unknown.uploaded_gates.clear();
        refuses(&unknown, &good(), "there is no gate budget");
    }
}
