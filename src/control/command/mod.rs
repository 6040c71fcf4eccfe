//! Carrying out requests: one file for what is asked of splits, rollouts, targets, roles, alarms,
//! gates.
//!
//! Whatever can put more risk on users is saved first and performed when the store has it; whatever
//! takes risk away is performed first.

mod alarm;
mod gate;
mod hook;
mod roles;
mod saved;
mod split;
mod start;
mod targets;
mod verb;

use crate::core::model::ServiceName;
use crate::store::Transaction;

use super::change::{After, ReplyTo, Waiter};
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
        if matches!(request.command, Command::Reload { .. }) {
            self.count_reload(done.is_ok());
        }
        match done {
            Ok(Done::Answered(answer)) => self.answer(reply, Ok(answer)),
            Ok(Done::WithSave(id, seq)) => self.changes.wait(id, seq, reply),
            Ok(Done::Saving(change)) => {
                let (transaction, after) = *change;
                let id = self.changes.next_id();
                if self.outbox.ask(id, transaction) {
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
            Command::HearAlerts { alerts } => self.hear_alerts(request, alerts),
            Command::Reload { config, read } => {
                self.reload(request, config, *read).map(Done::Answered)
            }
            Command::UseGate { spec, detail } => self.use_gate(request, spec, detail),
            Command::DropGate { gate } => self.drop_gate(request, gate),
        }
    }

    /// Changes need a store that can be trusted.
    fn check_store(&self) -> Result<(), Refusal> {
        match &self.store {
            StoreState::Good | StoreState::Failing(_) => Ok(()),
            StoreState::Unreadable(why) => Err(Refusal::StoreUnreadable(why.clone())),
        }
    }

    /// The service, if it is there, in the version that the sender saw.
    fn service_for(&self, request: &Request, name: &ServiceName) -> Result<&ServiceState, Refusal> {
        self.check_version(request, name)?;
        let declared = self.config.services.get(name).and_then(|_| self.services.get(name));
        declared.ok_or_else(|| Refusal::NoService(name.clone()))
    }

    /// Refuses where the sender saw another version of the service.
    fn check_version(&self, request: &Request, name: &ServiceName) -> Result<(), Refusal> {
        let found = self.services.get(name).map(|state| state.record.version);
        match (request.if_match, found) {
            (Some(expected), Some(found)) if expected != found => {
                Err(Refusal::VersionMismatch { expected, found })
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Refuses where another change of the service, or of a group of it, is being saved.
    fn not_busy(&self, name: &ServiceName) -> Result<(), Refusal> {
        if self.services.get(name).is_some_and(|state| state.busy) {
            return Err(Refusal::Busy(format!("service {name}")));
        }
        let mut groups = self.config.services.get(name).into_iter().flat_map(|s| &s.target_groups);
        match groups.find(|group| self.groups.get(*group).is_some_and(|group| group.busy)) {
            Some(group) => Err(Refusal::Busy(format!("target group {group}"))),
            None => Ok(()),
        }
    }

    /// Refuses where a rollout is active.
    fn no_rollout(&self, name: &ServiceName) -> Result<(), Refusal> {
        match self.services.get(name).and_then(|state| state.active.clone()) {
            None => Ok(()),
            Some(active) => Err(Refusal::RolloutActive { service: name.clone(), active }),
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
