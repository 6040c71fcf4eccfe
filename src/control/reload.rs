//! Using another configuration without touching run-time state.
//!
//! A configuration that takes away what an active rollout runs on is refused whole; everything else
//! applies from the next table, and to rollouts from the next one on.

use std::sync::Arc;

use serde_json::json;

use crate::config::Config;
use crate::core::model::{ListenerName, ServiceName, TargetGroup};
use crate::core::rollout::Spec;

use super::draft::{About, EntryKind, entry};
use super::group::Group;
use super::service::ServiceState;
use super::{Refusal, ReloadReport, Reply, Request, World};

impl World {
    pub(super) fn reload(
        &mut self,
        request: &Request,
        config: &Arc<Config>,
    ) -> Result<Reply, Refusal> {
        self.nothing_is_being_saved()?;
        self.check_reload(config)?;
        let ignored = self.reload_groups(config);
        self.config = Arc::clone(config);
        self.reload_services();
        let in_use =
            |name: &ServiceName| self.services.get(name).is_some_and(|s| s.active.is_some());
        self.alarms.configure(config, in_use);
        self.register_targets();
        self.publish();
        let detail = json!({ "generation": self.generation, "ignored": ignored });
        let by = (&request.actor, request.reason.as_ref());
        let kind = EntryKind::ConfigReloaded;
        self.note(entry(kind, About::default(), &detail, by, self.now.wall));
        Ok(Reply::Reloaded(ReloadReport { generation: self.generation, ignored }))
    }

    /// What a change will do once it is saved was decided on the present configuration.
    fn nothing_is_being_saved(&self) -> Result<(), Refusal> {
        let service = self.services.iter().find(|(_, state)| state.busy);
        let group = self.groups.iter().find(|(_, group)| group.busy);
        let service = service.map(|(name, _)| format!("service {name}"));
        match service.or_else(|| group.map(|(name, _)| format!("target group {name}"))) {
            Some(what) => Err(Refusal::Busy(what)),
            None => Ok(()),
        }
    }

    fn check_reload(&self, config: &Config) -> Result<(), Refusal> {
        let mut against: Vec<String> = self
            .rollouts
            .values()
            .flat_map(|active| missing_for(active.rollout.spec(), config))
            .collect();
        let addresses = |config: &Config| -> Vec<(ListenerName, std::net::SocketAddr)> {
            let mut all: Vec<_> =
                config.listeners.iter().map(|l| (l.name.clone(), l.address)).collect();
            all.sort();
            all
        };
        if addresses(config) != addresses(&self.config) {
            against.push("listeners and their addresses change only with a restart".to_owned());
        }
        if config.access_log != self.config.access_log {
            against.push("access_log changes only with a restart".to_owned());
        }
        for spec in config.services.values() {
            let blue = self.services.get(&spec.name).map(|state| &state.record.blue);
            if let Some(blue) = blue.filter(|blue| !spec.target_groups.contains(blue)) {
                let name = &spec.name;
                against.push(format!("target group {blue} is blue in service {name}"));
            }
        }
        if against.is_empty() { Ok(()) } else { Err(Refusal::Reload(against.join("; "))) }
    }

    /// Takes the file's lists of targets where nobody registered any; gives what does not count.
    fn reload_groups(&mut self, config: &Config) -> Vec<String> {
        let mut ignored = Vec::new();
        for (name, declared) in &config.target_groups {
            match self.groups.get_mut(name) {
                Some(group) if group.record.registered => {
                    let old = self.config.target_groups.get(name).map(TargetGroup::targets);
                    if old.unwrap_or(&group.record.targets) != declared.targets() {
                        ignored.push(format!(
                            "target_groups.{name}.targets: ignored: registered at run time (to \
                             use the file's: tidegate target-group reset {name})"
                        ));
                    }
                }
                Some(group) => group.record.targets = declared.targets().to_vec(),
                None => {
                    self.groups.insert(name.clone(), Group::seeded(declared));
                }
            }
        }
        ignored
    }

    fn reload_services(&mut self) {
        for spec in self.config.services.values() {
            let fresh = || ServiceState::fresh(spec);
            self.services.entry(spec.name.clone()).or_insert_with(fresh);
        }
    }
}

/// What an active rollout runs on and a configuration does not have.
fn missing_for(spec: &Spec, config: &Config) -> Vec<String> {
    let (id, name) = (&spec.id, &spec.service);
    let Some(service) = config.services.get(name) else {
        return vec![format!("service {name} is in use by rollout {id}")];
    };
    let mut missing = Vec::new();
    for group in [&spec.blue, &spec.green] {
        if !service.target_groups.contains(group) {
            missing.push(format!("target group {group} is in use by rollout {id}"));
        }
    }
    for alarm in &spec.alarms {
        let kept = config.alarms.contains_key(&alarm.name) && service.alarms.contains(&alarm.name);
        if !kept {
            missing.push(format!("alarm {} is in use by rollout {id}", alarm.name));
        }
    }
    for gate in &spec.gates {
        let name = &gate.usage.gate;
        if config.gates.get(name).is_none_or(|declared| declared.sha256 != gate.digest) {
            missing.push(format!("gate {name} is in use by rollout {id}"));
        }
    }
    missing
}
