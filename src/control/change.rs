//! Changes that are saved before they take effect, and answers that wait for a save.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::core::model::{
    MonoTime, RolloutId, ServiceName, Sha256, Span, Split, Target, TargetGroupName,
};
use crate::core::rollout::{Effect, Rollout};

use super::record::{GroupRecord, IdempotencyRecord};
use super::{Refusal, Reply};

/// Where an answer goes.
pub(super) type ReplyTo = oneshot::Sender<Result<Reply, Refusal>>;

/// What a change does once it is saved.
#[derive(Debug)]
pub(super) enum After {
    /// Sets a split.
    Split { service: ServiceName, split: Split },
    /// Gives the other group the role of blue.
    Roles { service: ServiceName },
    /// Begins a rollout, and registers green's targets with it.
    Start(Box<Start>),
    /// Sets a group's targets.
    Targets { group: TargetGroupName, record: GroupRecord },
}

/// A rollout that is being saved for the first time.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) rollout: Rollout,
    pub(super) effects: Vec<Effect>,
    pub(super) targets: Option<Vec<Target>>,
    pub(super) repeatable: Option<(Sha256, IdempotencyRecord)>,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) after: After,
    /// `None` once it was answered that the store is slow.
    pub(super) reply: Option<ReplyTo>,
    since: MonoTime,
}

/// An answer that waits a moment for a rollout's save.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) rollout: RolloutId,
    pub(super) seq: u64,
    pub(super) reply: ReplyTo,
}

/// Everything that waits for the store.
#[derive(Debug, Default)]
pub(super) struct Changes {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    waiters: Vec<Waiter>,
}

/// How long an author waits for the store before hearing that it is slow.
const PATIENCE: Span = Span::from_secs(10);

impl Changes {
    /// The number of the next change.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn add(&mut self, id: u64, after: After, reply: ReplyTo, now: MonoTime) {
        self.pending.insert(id, Pending { after, reply: Some(reply), since: now });
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Pending> {
        self.pending.remove(&id)
    }

    /// Takes out the change of a service's split or roles that is being saved.
    pub(super) fn withdraw(&mut self, name: &ServiceName) -> Option<Pending> {
        let by_hand = |(id, pending): (&u64, &Pending)| match &pending.after {
            After::Split { service, .. } | After::Roles { service } if service == name => Some(*id),
            After::Split { .. } | After::Roles { .. } | After::Start(_) | After::Targets { .. } => {
                None
            }
        };
        let id = self.pending.iter().find_map(by_hand)?;
        self.take(id)
    }

    /// Has an answer wait for a rollout's save.
    pub(super) fn wait(&mut self, rollout: RolloutId, seq: u64, reply: ReplyTo) {
        self.waiters.push(Waiter { rollout, seq, reply });
    }

    /// The answers whose save is durable.
    pub(super) fn saved(&mut self, rollout: &RolloutId, seq: u64) -> Vec<Waiter> {
        let done = |waiter: &mut Waiter| waiter.rollout == *rollout && waiter.seq <= seq;
        self.waiters.extract_if(.., done).collect()
    }

    /// The answers that wait longer than to the next look: their authors hear that it is done and
    /// not saved yet.
    pub(super) fn overdue(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiters)
    }

    /// Tells the authors of changes that the store is slow.
    pub(super) fn tell_slow(&mut self, now: MonoTime) {
        for pending in self.pending.values_mut() {
            if now.since(pending.since) >= PATIENCE
                && let Some(reply) = pending.reply.take()
            {
                // An author who went away needs no answer.
                let _ = reply.send(Err(Refusal::StoreSlow));
            }
        }
    }
}
