//! What becomes of a change when the store has answered.

use serde_json::json;

use crate::core::rollout::Actor;
use crate::store::{StoreError, Transaction};

use super::super::change::After;
use super::super::draft::{About, EntryKind, entry};
use super::super::record::{key, text};
use super::super::{Refusal, Reply, World};

impl World {
    /// A change was saved: it takes effect.
    pub(in super::super) fn change_saved(&mut self, id: u64) {
        let Some(pending) = self.changes.take(id) else {
            return;
        };
        self.set_busy(&pending.after, false);
        let answer = self.take_effect(pending.after);
        if let Some(reply) = pending.reply {
            self.answer(reply, answer);
        }
    }

    /// A change failed: nothing happens, and what the store may have of it is taken out again.
    pub(in super::super) fn change_failed(&mut self, id: u64, error: StoreError) {
        let Some(pending) = self.changes.take(id) else {
            return;
        };
        self.set_busy(&pending.after, false);
        if may_have_been_made(&error) {
            self.undo(&pending.after, &error);
        }
        if let Some(reply) = pending.reply {
            self.answer(reply, Err(Refusal::Store(error)));
        }
    }

    /// A change was not even tried: nothing happens.
    pub(in super::super) fn change_skipped(&mut self, id: u64, error: StoreError) {
        let Some(pending) = self.changes.take(id) else {
            return;
        };
        self.set_busy(&pending.after, false);
        if let Some(reply) = pending.reply {
            self.answer(reply, Err(Refusal::Store(error)));
        }
    }

    fn take_effect(&mut self, after: After) -> Result<Reply, Refusal> {
        match after {
            After::Split { service, split } => self.split_saved(&service, split),
            After::Roles { service } => self.roles_saved(&service),
            After::Start(start) => self.start_saved(*start),
            After::Targets { group, record } => Ok(self.targets_saved(group, record)),
        }
    }

    /// Saves what is true instead of a change that was not made.
    fn undo(&mut self, after: &After, error: &StoreError) {
        let mut transaction = Transaction::default();
        let mut groups = Vec::new();
        let about = match after {
            After::Split { service, .. } | After::Roles { service } => {
                let record = self.services.get(service).map(|state| text(&state.record));
                let key = key("service", service.as_str());
                transaction.puts.extend(record.map(|record| (key, record)));
                About::service(service)
            }
            After::Targets { group, .. } => {
                groups.push(group);
                About { service: self.service_of(group).cloned(), rollout: None }
            }
            After::Start(start) => {
                let spec = start.rollout.spec();
                groups.push(&spec.green);
                transaction.deletes.push(key("rollout", spec.id.as_str()));
                let scope = start.repeatable.as_ref().map(|(scope, _)| scope.to_string());
                transaction.deletes.extend(scope.map(|scope| key("idempotency", &scope)));
                About { service: Some(spec.service.clone()), rollout: Some(spec.id.clone()) }
            }
        };
        for name in groups {
            if let Some(group) = self.groups.get(name) {
                Self::put_group(name, &group.record, &mut transaction);
            }
        }
        let detail = json!({ "error": error.to_string() });
        let by = Actor::tidegate();
        let draft = entry(EntryKind::ChangeUndone, about, &detail, (&by, None), self.now.wall);
        transaction.entries.push(draft);
        self.outbox.keep(None, transaction);
    }

    pub(super) fn set_busy(&mut self, after: &After, busy: bool) {
        let service = match after {
            After::Split { service, .. } | After::Roles { service } => Some(service),
            After::Start(start) => Some(&start.rollout.spec().service),
            After::Targets { group, .. } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.busy = busy;
                }
                None
            }
        };
        if let Some(state) = service.and_then(|service| self.services.get_mut(service)) {
            state.busy = busy;
        }
    }
}

/// Whether a commit that ended so may have been made all the same.
fn may_have_been_made(error: &StoreError) -> bool {
    match error {
        StoreError::Io { .. } | StoreError::Unavailable => true,
        StoreError::Conflict { .. }
        | StoreError::TooLarge { .. }
        | StoreError::Locked { .. }
        | StoreError::Newer { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Full => false,
    }
}
