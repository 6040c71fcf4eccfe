//! Commands to a rollout.

use std::sync::Arc;

use crate::core::model::RolloutId;
use crate::core::rollout::{self, Event, Verb};

use super::super::snapshot::of_rollout;
use super::super::{Refusal, Reply, Request, RolloutView, World};
use super::Done;

impl World {
    pub(super) fn tell_rollout(
        &mut self,
        request: &Request,
        id: &RolloutId,
        verb: Verb,
    ) -> Result<Done, Refusal> {
        let command =
            rollout::Command { verb, actor: request.actor.clone(), reason: request.reason.clone() };
        let Some(active) = self.rollouts.get(id) else {
            let over = self.history.iter().find(|view| view.id == *id);
            return Err(match over {
                Some(view) => rollout::Refusal::Over { state: view.state }.into(),
                None => Refusal::NoRollout(id.clone()),
            });
        };
        let service = &active.rollout.spec().service;
        self.check_version(request, service)?;
        active.rollout.permits(&command)?;
        // First what holds by itself: what the command does then looks at what is left.
        self.accept_freezes(id, verb);
        self.feed(id, Event::Commanded(command));
        let seq = self.rollouts.get(id).map(|active| active.rollout.seq());
        match seq {
            Some(seq) => Ok(Done::WithSave(id.clone(), seq)),
            None => self.rollout_reply(id, true).map(Done::Answered),
        }
    }

    /// A rollout as it is now, for an answer.
    pub(super) fn rollout_reply(&self, id: &RolloutId, persisted: bool) -> Result<Reply, Refusal> {
        let rollout = self.rollout_view(id)?;
        Ok(Reply::Rollout { rollout, persisted })
    }

    /// A rollout as it is now, whether it runs or is over.
    pub(super) fn rollout_view(&self, id: &RolloutId) -> Result<Arc<RolloutView>, Refusal> {
        let active =
            self.rollouts.get(id).map(|active| Arc::new(of_rollout(active, self.now.mono)));
        let ended = || self.history.iter().find(|view| view.id == *id).cloned();
        active.or_else(ended).ok_or_else(|| Refusal::NoRollout(id.clone()))
    }
}
