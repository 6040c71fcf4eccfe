//! Using another configuration without touching run-time state.
//!
//! A configuration that takes away what an active rollout runs on is refused whole; everything else
//! applies from the next table, and to rollouts from the next one on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::config::Config;
use crate::core::model::{AlarmSource, ListenerSpec, PrometheusName, TargetGroup};
use crate::core::rollout::{BoundGate, Spec, WatchedAlarm};
use crate::resolve::ListNumber;

use super::draft::{About, EntryKind, entry};
use super::group::Group;
use super::service::ServiceState;
use super::{Refusal, ReloadReport, Reply, Request, World};

impl World {
    pub(super) fn reload(
        &mut self,
        request: &Request,
        config: &Arc<Config>,
        read: ListNumber,
    ) -> Result<Reply, Refusal> {
        self.nothing_is_being_saved()?;
        let config = self.with_younger_lists(config, read);
        self.check_reload(&config)?;
        let mut ignored = self.reload_groups(&config);
        ignored.extend(self.postponed(&config));
        let before = std::mem::replace(&mut self.config, Arc::clone(&config));
        let (old, new) = (&before.targets_files, &config.targets_files);
        self.lists.reloaded(read, |group| old.get(group) == new.get(group));
        self.recorder.pressure().choose(config.overload.memory_limit);
        self.reload_services();
        self.forget_gate_states();
        self.configure_alarms();
        self.register_targets();
        self.publish();
        let detail = json!({ "generation": self.generation, "ignored": ignored });
        let by = (&request.actor, request.reason.as_ref());
        let kind = EntryKind::ConfigReloaded;
        self.note(entry(kind, About::default(), &detail, by, self.now.wall));
        Ok(Reply::Reloaded(ReloadReport { generation: self.generation, ignored }))
    }

    /// Counts a reload that came as far as here, whether or not somebody still waits for its answer.
    pub(super) fn count_reload(&self, is_applied: bool) {
        let reloads = self.recorder.reloads();
        if is_applied {
            reloads.applied(self.now.wall);
        } else {
            reloads.refused();
        }
    }

    /// A configuration with what its files of targets gave since they were read for it: it waited
    /// for DNS and gates, and they do not change again because of that.
    fn with_younger_lists(&self, config: &Arc<Config>, read: ListNumber) -> Arc<Config> {
        let mut config = Arc::clone(config);
        let mut younger: Vec<TargetGroup> = Vec::new();
        for (name, file) in &config.targets_files {
            let is_same = self.config.targets_files.get(name) == Some(file);
            if is_same && self.lists.has_younger(name, read) {
                younger.extend(self.config.target_groups.get(name).cloned());
            }
        }
        for group in younger {
            let name = group.name().clone();
            Arc::make_mut(&mut config).target_groups.insert(name, group);
        }
        config
    }

    /// Makes the alarms those of the configuration, and those that rollouts were created with.
    pub(super) fn configure_alarms(&mut self) {
        let specs = self.rollouts.values().map(|active| Arc::clone(active.rollout.spec()));
        let active: BTreeMap<_, _> = specs.map(|spec| (spec.service.clone(), spec)).collect();
        self.alarms.configure(&self.config, &active);
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
            .flat_map(|active| missing_for(active.rollout.spec(), config, &self.config))
            .collect();
        against.extend(changed_sockets(&self.config.listeners, &config.listeners));
        against.extend(
            fixed_at_start(&self.config, config)
                .map(|key| format!("{key} changes only with a restart")),
        );
        for spec in config.services.values() {
            let blue = self.services.get(&spec.name).map(|state| &state.record.blue);
            if let Some(blue) = blue.filter(|blue| !spec.target_groups.contains(blue)) {
                let name = &spec.name;
                against.push(format!("target group {blue} is blue in service {name}"));
            }
        }
        for (name, declared) in &config.target_groups {
            let Some(group) = self.groups.get(name).filter(|group| !group.record.registered) else {
                continue;
            };
            if let Err(refusal) = self.check_in_use(name, &group.record, declared.targets(), None) {
                against.push(format!("target_groups.{name}.targets: {refusal}"));
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

/// What of the listeners differs and is open for as long as the process runs: all but their rules.
fn changed_sockets(before: &[ListenerSpec], after: &[ListenerSpec]) -> Vec<String> {
    let with_a_start = "with a restart or an upgrade";
    let mut changed = Vec::new();
    for (at, new) in after.iter().enumerate() {
        let Some(old) = before.iter().find(|old| old.name == new.name) else {
            let name = &new.name;
            changed.push(format!("listeners[{at}]: listener {name} comes {with_a_start}"));
            continue;
        };
        changed.extend(
            [
                ("address", old.address == new.address),
                ("protocol", old.protocol == new.protocol),
                ("tls", old.tls == new.tls),
                ("proxy_protocol", old.proxy_protocol == new.proxy_protocol),
                ("trusted_proxies", old.trusted_proxies == new.trusted_proxies),
                ("limits", old.limits == new.limits),
            ]
            .into_iter()
            .filter(|(_, same)| !same)
            .map(|(key, _)| format!("listeners[{at}].{key} changes only {with_a_start}")),
        );
    }
    let gone = before.iter().filter(|old| !after.iter().any(|new| new.name == old.name));
    changed.extend(gone.map(|old| format!("listeners: listener {} goes {with_a_start}", old.name)));
    changed
}

/// The keys whose values differ and are read by a start alone.
fn fixed_at_start(before: &Config, after: &Config) -> impl Iterator<Item = &'static str> {
    let (old, new) = (&before.admin, &after.admin);
    [
        ("admin.address", old.address == new.address),
        ("admin.metrics_address", old.metrics_address == new.metrics_address),
        ("admin.token_file", old.token_file == new.token_file),
        ("store", before.store == after.store),
        ("access_log", before.access_log == after.access_log),
    ]
    .into_iter()
    .filter_map(|(key, same)| (!same).then_some(key))
}

/// What an active rollout runs on and a configuration does not have.
fn missing_for(spec: &Spec, config: &Config, before: &Config) -> Vec<String> {
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
    let in_use = |what: String| format!("{what} is in use by rollout {id}");
    missing.extend(
        missing_alarms(spec, config, Some(before))
            .map(|alarm| in_use(format!("alarm {}", alarm.name))),
    );
    missing.extend(
        missing_servers(spec, config).map(|server| in_use(format!("Prometheus server {server}"))),
    );
    missing.extend(
        missing_gates(spec, config).map(|gate| in_use(format!("gate {}", gate.usage.gate))),
    );
    missing
}

/// What an active rollout was created with and a start cannot give it. Its alarms it has itself.
pub(super) fn lost_for(spec: &Spec, config: &Config) -> Vec<String> {
    let alarms = missing_alarms(spec, config, None).filter(|alarm| alarm.source.is_none());
    let alarms = alarms.map(|alarm| format!("alarm {}", alarm.name));
    let gates = missing_gates(spec, config).map(|gate| format!("gate {}", gate.usage.gate));
    alarms.chain(gates).collect()
}

/// The alarms of a rollout that are not declared, or that its service lists no more. What it did
/// not list before either judges this one rollout alone.
fn missing_alarms<'a>(
    spec: &'a Spec,
    config: &'a Config,
    before: Option<&'a Config>,
) -> impl Iterator<Item = &'a WatchedAlarm> {
    spec.alarms.iter().filter(move |alarm| {
        let was_listed = before.is_none_or(|before| lists(before, spec, alarm));
        !config.alarms.contains_key(&alarm.name) || (was_listed && !lists(config, spec, alarm))
    })
}

/// Whether the service of a rollout lists an alarm.
fn lists(config: &Config, spec: &Spec, alarm: &WatchedAlarm) -> bool {
    let service = config.services.get(&spec.service);
    service.is_some_and(|service| service.alarms.contains(&alarm.name))
}

/// The Prometheus servers that the alarms of a rollout ask and a configuration does not have.
fn missing_servers<'a>(
    spec: &'a Spec,
    config: &'a Config,
) -> impl Iterator<Item = &'a PrometheusName> {
    let servers = spec.alarms.iter().filter_map(|alarm| match &alarm.source {
        Some(AlarmSource::Prometheus { server, .. }) => Some(server),
        Some(
            AlarmSource::Own { .. } | AlarmSource::Pushed { .. } | AlarmSource::Alertmanager { .. },
        )
        | None => None,
    });
    servers.filter(move |server| !config.prometheus.contains_key(*server))
}

fn missing_gates<'a>(spec: &'a Spec, config: &'a Config) -> impl Iterator<Item = &'a BoundGate> {
    spec.gates.iter().filter(move |gate| {
        let declared = config.gates.get(&gate.usage.gate);
        let kept = config.kept_gates.get(&gate.usage.gate);
        declared.is_none_or(|declared| declared.sha256 != gate.digest)
            && !kept.is_some_and(|kept| kept.contains(&gate.digest))
    })
}
