//! Names and files of targets: what has to be kept up to date, and what came of it.
//!
//! What the resolver finds changes which endpoints a registered target stands for, or what the
//! file's list of a group is; it is nobody's registration, so nothing of it is saved as one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::core::model::{Target, TargetGroupName, TargetName};
use crate::core::rollout::Actor;
use crate::resolve::Wanted;

use super::draft::{About, EntryKind, entry};
use super::{Refusal, World};

impl World {
    /// Has every name that is registered resolved, and every file of targets read.
    pub(super) fn watch_names(&mut self) {
        let names: BTreeSet<TargetName> = self
            .targets_of_services()
            .filter(|target| target.address.is_of_dns())
            .map(|target| target.address.clone())
            .collect();
        self.kept.live.keep_only(&names);
        let (spec, files) = (self.config.resolver.clone(), self.config.targets_files.clone());
        self.resolver.watch(Wanted { spec, names, files });
    }

    /// Waits a moment for names that have no address, so that the first requests find targets.
    pub(super) async fn hear_names(&mut self) {
        if self.lacks_addresses() {
            self.resolver.first_answers(PATIENCE).await;
        }
        self.take_news();
    }

    /// Whether a target of a service is a name without an address.
    fn lacks_addresses(&self) -> bool {
        self.targets_of_services()
            .any(|target| self.kept.live.resolved().of(&target.address).is_empty())
    }

    /// What is registered in the groups of services.
    fn targets_of_services(&self) -> impl Iterator<Item = &Target> {
        let groups = self.config.services.values().flat_map(|spec| &spec.target_groups);
        let groups = groups.filter_map(move |name| self.groups.get(name));
        groups.flat_map(|group| &group.record.targets)
    }

    /// Takes what the resolver found, and publishes if that makes a difference.
    pub(super) fn take_news(&mut self) {
        let mut differs = false;
        if let Some(news) = self.resolver.news() {
            self.lists.hear(news.lists);
            for (name, addresses) in &news.answers {
                differs |= self.kept.live.resolve(name, addresses);
            }
        }
        differs |= self.take_lists();
        if differs {
            self.register_targets();
            self.publish();
        }
    }

    /// Tries every list that waits; gives whether a group has other targets by that.
    fn take_lists(&mut self) -> bool {
        let mut differs = false;
        for (group, mut waiting) in self.lists.take_waiting() {
            match self.take_list(&group, &waiting.list.targets) {
                Ok(is_another) => {
                    differs |= is_another;
                    self.lists.took(group, waiting.list.number);
                }
                Err(refusal) => {
                    if waiting.is_to_be_told(&refusal) {
                        tracing::error!(%group, %refusal, "a file's targets wait to be used");
                    }
                    self.lists.keep(group, waiting);
                }
            }
        }
        differs
    }

    /// Takes a file's list as what the configuration declares of a group; gives whether the group
    /// has other targets by that. One that is refused can be tried again.
    fn take_list(&mut self, name: &TargetGroupName, targets: &[Target]) -> Result<bool, Refusal> {
        let declared = self.config.target_groups.get(name);
        let Some(declared) = declared.filter(|declared| declared.targets() != targets) else {
            return Ok(false);
        };
        let listed = declared.with_targets(targets.to_vec())?;
        match self.groups.get(name) {
            // What is being saved was made of the list before, and would replace this one.
            Some(group) if group.busy => return Err(Refusal::Busy(format!("target group {name}"))),
            Some(group) if !group.record.registered => {
                self.check_in_use(name, &group.record, targets, None)?;
            }
            Some(_) | None => {}
        }
        Arc::make_mut(&mut self.config).target_groups.insert(name.clone(), listed);
        let Some(group) = self.groups.get_mut(name) else { return Ok(false) };
        if group.record.registered {
            tracing::warn!(group = %name, "targets_file: ignored: registered at run time");
            return Ok(false);
        }
        group.record.targets = targets.to_vec();
        tracing::info!(group = %name, targets = targets.len(), "a file lists other targets");
        let mut services = self.config.services.values();
        let service = services.find(|spec| spec.target_groups.contains(name));
        let service = service.map(|spec| spec.name.clone());
        let file = self.config.targets_files.get(name).map(|file| file.display().to_string());
        let detail = json!({ "target_group": name, "targets": targets, "file": file });
        let about = About { service, rollout: None };
        let by = Actor::tidegate();
        let kind = EntryKind::TargetsRegistered;
        self.note(entry(kind, about, &detail, (&by, None), self.now.wall));
        Ok(true)
    }
}

/// How long a start waits for names.
const PATIENCE: Duration = Duration::from_secs(5);
