//! Roles by hand: making a green that has all the traffic blue, and going back.

use serde_json::json;

use crate::core::model::{Exposure, ServiceName, Split, Weight};
use crate::store::Transaction;

use super::super::change::After;
use super::super::draft::{About, EntryKind, entry};
use super::super::record::{key, text};
use super::super::{Refusal, Reply, Request, RoleChange, World};
use super::Done;

impl World {
    pub(super) fn change_roles(
        &mut self,
        request: &Request,
        name: &ServiceName,
        change: RoleChange,
    ) -> Result<Done, Refusal> {
        let state = self.service_for(request, name)?;
        self.no_rollout(name)?;
        self.not_busy(name)?;
        let spec =
            self.config.services.get(name).ok_or_else(|| Refusal::NoService(name.clone()))?;
        let other = state.green(spec).clone();
        let green = state.exposure.split.green();
        let kind = match change {
            RoleChange::Swap => {
                if green < Weight::FULL {
                    return Err(Refusal::SplitNotFull { service: name.clone(), green });
                }
                EntryKind::RolesSwapped
            }
            RoleChange::Revert => {
                self.check_revert(name, green)?;
                EntryKind::Reverted
            }
        };
        let mut record = state.record.clone();
        let detail = json!({ "from": record.blue, "to": other });
        record.set(record.with_blue(&other));
        let by = (&request.actor, request.reason.as_ref());
        let draft = entry(kind, About::service(name), &detail, by, self.now.wall);
        let transaction = Transaction {
            puts: vec![(key("service", name.as_str()), text(&record))],
            entries: vec![draft],
            ..Transaction::default()
        };
        let after = After::Roles { service: name.clone() };
        Ok(Done::Saving(Box::new((transaction, after))))
    }

    /// Going back needs somewhere to go: a previous revision whose targets are registered and
    /// healthy.
    fn check_revert(&self, name: &ServiceName, green: Weight) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::NothingToRevert { service: name.clone(), why });
        let Some((spec, state)) = self.config.services.get(name).zip(self.services.get(name))
        else {
            return Err(Refusal::NoService(name.clone()));
        };
        if green > Weight::ZERO {
            return Err(Refusal::SplitNotZero { service: name.clone(), green });
        }
        let previous = state.green(spec);
        let health = self.kept.live.health(previous);
        let floor = spec.policies.health_floor.blue;
        if health.targets == 0 {
            return refuse(format!("target group {previous} has no targets"));
        }
        if !state.record.other_served {
            return refuse(format!("target group {previous} does not run what served before"));
        }
        if !health.reaches(floor) {
            let (healthy, targets) = (health.healthy, health.targets);
            return refuse(format!("{healthy} of {targets} targets of {previous} are healthy"));
        }
        Ok(())
    }

    pub(super) fn roles_saved(&mut self, name: &ServiceName) -> Result<Reply, Refusal> {
        let other = self
            .config
            .services
            .get(name)
            .zip(self.services.get(name))
            .map(|(spec, state)| state.green(spec).clone());
        if let Some((state, other)) = self.services.get_mut(name).zip(other) {
            state.record.set(state.record.with_blue(&other));
            state.exposure = Exposure { split: Split::ALL_BLUE, ..state.exposure };
            self.publish();
            self.alarms.begin_anew(name);
        }
        self.service_reply(name, true)
    }
}
