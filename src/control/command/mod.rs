//! Carrying out requests: one file for what is asked of splits, rollouts, targets, roles, alarms.
//!
//! Whatever can put more risk on users is saved first and performed when the store has it; whatever
//! takes risk away is performed first.

mod alarm;
mod roles;
mod split;
mod start;
mod targets;
mod verb;

use crate::core::model::ServiceName;
use crate::store::Transaction;

use super::change::{After, ReplyTo, Waiter};
use super::outbox::Purpose;
use super::service::ServiceState;
use super::{Command, Refusal, Reply, Request, StoreState, World};

/// What became of a request.
enum Done {
    /// It is answered now.
    Answered(Reply),
    /// It is answered when this change is saved.
    Saving(Box<(Transaction, After)>),
    /// It is answered in a moment, with a rollout's save.
    WithSave(crate::core::model::RolloutId, u64),
}

impl World {
    /// Carries out a request, and answers it now or when the store has it.
    pub(super) fn request(&mut self, request: &Request, reply: ReplyTo) {
        let done = self.check_store().and_then(|()| self.dispatch(request));
        match done {
            Ok(Done::Answered(answer)) => self.answer(reply, Ok(answer)),
            Ok(Done::WithSave(id, seq)) => self.changes.wait(id, seq, reply, self.now.mono),
            Ok(Done::Saving(change)) => {
                let (transaction, after) = *change;
                let id = self.changes.next_id();
                if self.outbox.push(Purpose::Change { id }, transaction) {
                    self.set_busy(&after, true);
                    self.changes.add(id, after, reply, self.now.mono);
                } else {
                    self.answer(reply, Err(Refusal::Busy("the store".to_owned())));
                }
            }
            Err(refusal) => self.answer(reply, Err(refusal)),
        }
        self.changed = true;
    }

    fn dispatch(&mut self, request: &Request) -> Result<Done, Refusal> {
        match &request.command {
            Command::SetSplit { service, green } => self.set_split(request, service, *green),
            Command::Roles { service, change } => self.change_roles(request, service, *change),
            Command::StartRollout(start) => self.start_rollout(request, start),
            Command::Rollout { id, verb } => self.tell_rollout(request, id, *verb),
            Command::SetTargets { group, targets, revision } => {
                self.set_targets(request, group, targets, revision.as_ref())
            }
            Command::ResetTargets { group } => self.reset_targets(request, group),
            Command::PushAlarm { alarm, state } => self.push_alarm(request, alarm, *state),
            Command::Reload { config } => self.reload(request, config).map(Done::Answered),
        }
    }

    /// Changes need a store that can be trusted.
    fn check_store(&self) -> Result<(), Refusal> {
        match &self.store {
            StoreState::Good | StoreState::Failing(_) => Ok(()),
            StoreState::Unreadable(why) => Err(Refusal::StoreUnreadable(why.clone())),
        }
    }

    /// The service, if it is there, in the version that the sender saw, and free to change.
    fn service_for(&self, request: &Request, name: &ServiceName) -> Result<&ServiceState, Refusal> {
        let state = self.services.get(name).ok_or_else(|| Refusal::NoService(name.clone()))?;
        match request.if_match {
            Some(expected) if expected != state.record.version => {
                Err(Refusal::VersionMismatch { expected, found: state.record.version })
            }
            Some(_) | None if state.busy => Err(Refusal::Busy(format!("service {name}"))),
            Some(_) | None => Ok(state),
        }
    }

    /// Refuses where a rollout is active.
    fn no_rollout(&self, name: &ServiceName) -> Result<(), Refusal> {
        match self.services.get(name).and_then(|state| state.active.clone()) {
            None => Ok(()),
            Some(active) => Err(Refusal::RolloutActive { service: name.clone(), active }),
        }
    }

    /// A change was saved: it takes effect.
    pub(super) fn change_saved(&mut self, id: u64) {
        let Some(pending) = self.changes.take(id) else {
            return;
        };
        self.set_busy(&pending.after, false);
        let answer = self.take_effect(pending.after);
        if let Some(reply) = pending.reply {
            self.answer(reply, answer);
        }
    }

    /// A change was not saved: nothing happened.
    pub(super) fn change_failed(&mut self, id: u64, error: crate::store::StoreError) {
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
            After::Targets { group, targets, revision, registered } => {
                Ok(self.targets_saved(group, targets, revision, registered))
            }
        }
    }

    fn set_busy(&mut self, after: &After, busy: bool) {
        let service = match after {
            After::Split { service, .. } | After::Roles { service } => Some(service.clone()),
            After::Start(start) => Some(start.rollout.spec().service.clone()),
            After::Targets { group, .. } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.busy = busy;
                }
                None
            }
        };
        if let Some(state) = service.and_then(|service| self.services.get_mut(&service)) {
            state.busy = busy;
        }
    }

    /// Answers who waited for a rollout's save.
    pub(super) fn answer_waiter(&mut self, waiter: Waiter, persisted: bool) {
        let answer = self.rollout_reply(&waiter.rollout, persisted);
        self.answer(waiter.reply, answer);
    }

    /// Sends an answer; the view shows the change before the author can look for it.
    pub(super) fn answer(&mut self, reply: ReplyTo, answer: Result<Reply, Refusal>) {
        self.answers.push((reply, answer));
    }

    /// A service as it is now, for an answer.
    fn service_reply(&self, name: &ServiceName, persisted: bool) -> Result<Reply, Refusal> {
        let spec = self.config.services.get(name);
        match spec.zip(self.services.get(name)) {
            Some((spec, state)) => {
                let service = Box::new(self.service_view(spec, state));
                Ok(Reply::Service { service, persisted })
            }
            None => Err(Refusal::NoService(name.clone())),
        }
    }
}
