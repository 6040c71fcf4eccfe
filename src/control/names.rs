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

use super::World;
use super::draft::{About, EntryKind, entry};

impl World {
    /// Has every name that is registered resolved, and every file of targets read.
    pub(super) fn watch_names(&mut self) {
        let groups = self.config.services.values().flat_map(|spec| &spec.target_groups);
        let listed = groups.filter_map(|name| self.groups.get(name));
        let names: BTreeSet<TargetName> = listed
            .flat_map(|group| &group.record.targets)
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
        let groups = self.config.services.values().flat_map(|spec| &spec.target_groups);
        let listed = groups.filter_map(|name| self.groups.get(name));
        let mut targets = listed.flat_map(|group| &group.record.targets);
        targets.any(|target| self.kept.live.resolved().of(&target.address).is_empty())
    }

    /// Takes what the resolver found, and publishes if that makes a difference.
    pub(super) fn take_news(&mut self) {
        let Some(news) = self.resolver.news() else { return };
        let mut differs = false;
        for (group, targets) in news.lists {
            differs |= self.take_list(&group, targets);
        }
        for (name, addresses) in &news.answers {
            differs |= self.kept.live.resolve(name, addresses);
        }
        if differs {
            self.register_targets();
            self.publish();
        }
    }

    /// Takes a file's list as what the configuration declares of a group; gives whether the group
    /// has other targets by that.
    fn take_list(&mut self, name: &TargetGroupName, targets: Vec<Target>) -> bool {
        let declared = self.config.target_groups.get(name);
        let Some(declared) = declared.filter(|declared| declared.targets() != targets) else {
            return false;
        };
        let listed = match declared.with_targets(targets) {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(group = %name, %error, "a file's targets cannot be used");
                return false;
            }
        };
        let targets = listed.targets().to_vec();
        if let Some(group) = self.groups.get(name).filter(|group| !group.record.registered)
            && let Err(refusal) = self.check_in_use(name, &group.record, &targets, None)
        {
            tracing::error!(group = %name, %refusal, "a file's targets are not used: reload later");
            return false;
        }
        Arc::make_mut(&mut self.config).target_groups.insert(name.clone(), listed);
        let Some(group) = self.groups.get_mut(name) else { return false };
        if group.record.registered {
            tracing::warn!(group = %name, "targets_file: ignored: registered at run time");
            return false;
        }
        group.record.targets.clone_from(&targets);
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
        true
    }
}

/// How long a start waits for names.
const PATIENCE: Duration = Duration::from_secs(5);
