//! Using another configuration without touching run-time state.
//!
//! A configuration that takes away what an active rollout runs on is refused whole; everything else
//! applies from the next table, and to rollouts from the next one on.

use std::sync::Arc;

use serde_json::json;

use crate::config::Config;
use crate::core::model::{ListenerName, TargetGroupName};
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
        self.check_reload(config)?;
        let ignored = self.reload_groups(config);
        self.config = Arc::clone(config);
        self.reload_services();
        self.alarms.configure(config);
        self.register_targets();
        self.publish();
        let detail = json!({ "generation": self.generation, "ignored": ignored });
        let by = (&request.actor, request.reason.as_ref());
        let kind = EntryKind::ConfigReloaded;
        self.note(entry(kind, About::default(), &detail, by, self.now.wall));
        Ok(Reply::Reloaded(ReloadReport { generation: self.generation, ignored }))
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
        let mut groups = std::collections::BTreeMap::new();
        for (name, declared) in &config.target_groups {
            let before = self.groups.remove(name).map(|group| group.record);
            if let Some(note) = not_counted(name, declared, before.as_ref(), &self.config) {
                ignored.push(note);
            }
            groups.insert(name.clone(), Group::restored(declared, before));
        }
        self.groups = groups;
        ignored
    }

    fn reload_services(&mut self) {
        let mut before = std::mem::take(&mut self.services);
        for spec in self.config.services.values() {
            let state = before.remove(&spec.name).unwrap_or_else(|| ServiceState {
                record: ServiceState::fresh(spec),
                exposure: crate::core::model::Exposure::default(),
                active: None,
                busy: false,
            });
            self.services.insert(spec.name.clone(), state);
        }
    }
}

fn not_counted(
    name: &TargetGroupName,
    declared: &crate::core::model::TargetGroup,
    before: Option<&super::record::GroupRecord>,
    old: &Config,
) -> Option<String> {
    let registered = before.is_some_and(|record| record.registered);
    let edited = old.target_groups.get(name).is_some_and(|old| old.targets() != declared.targets());
    (registered && edited).then(|| {
        format!("target_groups.{name}.targets: ignored: registered at run time (to use the file's: tidegate target-group reset {name})")
    })
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
