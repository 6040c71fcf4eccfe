//! Registering targets.

use serde_json::json;

use crate::core::model::{Revision, ServiceName, Target, TargetGroup, TargetGroupName, Weight};
use crate::store::Transaction;

use super::super::change::After;
use super::super::draft::{About, EntryKind, entry};
use super::super::group::Group;
use super::super::record::{GroupRecord, ServiceRecord, key, text};
use super::super::{GroupRef, Refusal, Reply, Request, World};
use super::Done;

impl World {
    pub(super) fn set_targets(
        &mut self,
        request: &Request,
        group: &GroupRef,
        targets: &[Target],
        revision: Option<&Revision>,
    ) -> Result<Done, Refusal> {
        let name = self.group_name(group)?;
        TargetGroup::new(name.clone(), targets.to_vec())?;
        let before = self.free_group(request, &name)?.record.clone();
        self.check_in_use(&name, &before, targets, revision)?;
        let record = GroupRecord {
            targets: targets.to_vec(),
            revision: revision.cloned().or(before.revision),
            registered: true,
        };
        self.save_targets(request, EntryKind::TargetsRegistered, name, record)
    }

    pub(super) fn reset_targets(
        &mut self,
        request: &Request,
        name: &TargetGroupName,
    ) -> Result<Done, Refusal> {
        let before = self.free_group(request, name)?.record.clone();
        let declared =
            self.config.target_groups.get(name).ok_or_else(|| Refusal::NoGroup(name.clone()))?;
        let mut record = Group::seeded(declared).record;
        record.revision = before.revision.clone();
        self.check_in_use(name, &before, &record.targets, None)?;
        self.save_targets(request, EntryKind::TargetsReset, name.clone(), record)
    }

    fn save_targets(
        &self,
        request: &Request,
        kind: EntryKind,
        group: TargetGroupName,
        record: GroupRecord,
    ) -> Result<Done, Refusal> {
        let detail = json!({
            "target_group": group, "targets": record.targets, "revision": record.revision,
        });
        let about = About { service: self.service_of(&group).cloned(), rollout: None };
        let by = (&request.actor, request.reason.as_ref());
        let draft = entry(kind, about, &detail, by, self.now.wall);
        let mut transaction = Transaction { entries: vec![draft], ..Transaction::default() };
        Self::put_group(&group, &record, &mut transaction);
        if let Some((service, changed)) = self.way_back_closed(&group, &record) {
            transaction.puts.push((key("service", service.as_str()), text(&changed)));
        }
        let after = After::Targets { group, record };
        Ok(Done::Saving(Box::new((transaction, after))))
    }

    /// The record of the service whose way back these targets close: its other group is given
    /// another revision, or keeps no target.
    fn way_back_closed(
        &self,
        name: &TargetGroupName,
        record: &GroupRecord,
    ) -> Option<(ServiceName, ServiceRecord)> {
        let service = self.service_of(name)?;
        let state = self.services.get(service).filter(|state| state.record.blue != *name)?;
        let before = &self.groups.get(name)?.record;
        let stays = record.targets.iter().any(|target| before.targets.contains(target));
        if record.revision == before.revision && stays {
            return None;
        }
        let mut changed = state.record.clone();
        changed.set(changed.without_way_back());
        Some((service.clone(), changed))
    }

    fn group_name(&self, group: &GroupRef) -> Result<TargetGroupName, Refusal> {
        match group {
            GroupRef::Named(name) => Ok(name.clone()),
            GroupRef::GreenOf(service) => {
                let spec = self.config.services.get(service);
                spec.zip(self.services.get(service))
                    .map(|(spec, state)| state.green(spec).clone())
                    .ok_or_else(|| Refusal::NoService(service.clone()))
            }
        }
    }

    /// The group, if it is there and neither it nor its service is being changed.
    fn free_group(&self, request: &Request, name: &TargetGroupName) -> Result<&Group, Refusal> {
        let declared = self.config.target_groups.get(name).and_then(|_| self.groups.get(name));
        let group = declared.ok_or_else(|| Refusal::NoGroup(name.clone()))?;
        match self.service_of(name) {
            Some(service) => {
                self.check_version(request, service)?;
                self.not_busy(service)?;
            }
            None if group.busy => return Err(Refusal::Busy(format!("target group {name}"))),
            None => {}
        }
        Ok(group)
    }

    pub(super) fn service_of(&self, group: &TargetGroupName) -> Option<&ServiceName> {
        let mut services = self.config.services.values();
        services.find(|spec| spec.target_groups.contains(group)).map(|spec| &spec.name)
    }

    /// Once green has had weight its targets change one by one, and its revision not at all. A group
    /// that serves keeps a target.
    pub(in super::super) fn check_in_use(
        &self,
        name: &TargetGroupName,
        before: &GroupRecord,
        targets: &[Target],
        revision: Option<&Revision>,
    ) -> Result<(), Refusal> {
        let rollout = self.service_of(name).and_then(|service| self.active_of(service));
        let Some(rollout) = rollout.filter(|rollout| rollout.spec().green == *name) else {
            let emptied = targets.is_empty() && !before.targets.is_empty();
            return match self.served_by(name).filter(|_| emptied) {
                Some(service) => {
                    Err(Refusal::GroupServes { group: name.clone(), service: service.clone() })
                }
                None => Ok(()),
            };
        };
        let refuse = |why: &str| {
            let active = rollout.spec().id.clone();
            Err(Refusal::GreenInUse { active, why: why.to_owned() })
        };
        if revision.is_some_and(|revision| *revision != rollout.spec().green_revision) {
            return refuse("its revision cannot change during a rollout");
        }
        let stays = targets.iter().any(|target| before.targets.contains(target));
        // Green may be about to get weight: what is being saved then was decided on these targets.
        if rollout.had_traffic() && !stays {
            return refuse("none of its targets would stay");
        }
        Ok(())
    }

    /// The service that a group serves: as its blue, or with weight as its green.
    fn served_by(&self, name: &TargetGroupName) -> Option<&ServiceName> {
        let service = self.service_of(name)?;
        let state = self.services.get(service)?;
        let has_weight = state.exposure.split.green() > Weight::ZERO;
        (state.record.blue == *name || has_weight).then_some(service)
    }

    pub(super) fn targets_saved(&mut self, name: TargetGroupName, record: GroupRecord) -> Reply {
        let targets = record.targets.clone();
        if let Some((service, changed)) = self.way_back_closed(&name, &record)
            && let Some(state) = self.services.get_mut(&service)
        {
            state.record = changed;
        }
        if let Some(group) = self.groups.get_mut(&name) {
            group.record = record;
        }
        self.register_targets();
        self.publish();
        // A rollout that is about to raise green sees the new ones before it does.
        self.look();
        Reply::Targets { group: name, targets }
    }
}
