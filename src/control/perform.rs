//! Performing: what a rollout wants done, in its order.

use std::sync::Arc;

use crate::core::model::{Exposure, GateStage};
use crate::core::model::{RolloutId, Sha256, Split};
use crate::core::rollout::{
    Actor, Effect, Event, Fact, GateAnswer, GateCall, GateHearing, Notice, Outcome, Rollout, State,
};
use crate::gate::{GateCalls, WrittenCall};
use crate::store::Transaction;

use super::call_log::KeptCall;
use super::comparing::Comparing;
use super::draft::{About, EntryKind, entry, fact};
use super::record::{GroupRecord, RollbackRecord, RolloutRecord, ServiceRecord, key, text};
use super::world::Active;
use super::{EvidenceWriter, Message, World};

impl World {
    /// Gives a rollout an event, and performs what follows.
    pub(super) fn feed(&mut self, id: &RolloutId, event: Event) {
        let Some(active) = self.rollouts.get_mut(id) else {
            return;
        };
        let (next, effects) = active.rollout.clone().handle(event, self.now);
        let fell = matches!(next.state(), State::RolledBack(_)) || next.regression().is_some();
        active.rollout = next;
        if active.rollout.state().ending().is_some() {
            active.ended.get_or_insert(self.now.wall);
        }
        if fell {
            // Before the table is swapped.
            self.verdict_fell(id);
        }
        self.perform(id, effects);
        self.retire_if_over(id);
    }

    /// Performs effects in their order; none of them waits.
    pub(super) fn perform(&mut self, id: &RolloutId, effects: Vec<Effect>) {
        for effect in effects {
            self.changed = true;
            match effect {
                Effect::Expose(exposure) => self.expose(id, exposure),
                Effect::SwapRoles => self.swap_roles(id),
                Effect::Save { seq } => self.save(id, Some(seq)),
                Effect::RunGate(call) => self.ask_gate(*call),
                Effect::Record { fact: happened, actor, reason } => {
                    if matches!(happened, Fact::Ended { .. }) {
                        self.tell_counts(id);
                    }
                    let now = self.now.wall;
                    if let Some(active) = self.rollouts.get_mut(id) {
                        let about = About {
                            service: Some(active.rollout.spec().service.clone()),
                            rollout: Some(id.clone()),
                        };
                        active.drafts.push(fact(&happened, about, actor, reason, now));
                    }
                }
                Effect::Notify(notice) => notify(id, &notice),
            }
        }
    }

    /// Puts what the requests of a rollout that ends came to into its ledger, if it had any; what
    /// is in flight is told when it is over.
    fn tell_counts(&mut self, id: &RolloutId) {
        self.count(id);
        let Some(active) = self.rollouts.get_mut(id) else {
            return;
        };
        if !active.rollout.had_traffic() {
            return;
        }
        let detail = active.running.tell();
        let service = Some(active.rollout.spec().service.clone());
        let about = About { service, rollout: Some(id.clone()) };
        let by = Actor::tidegate();
        let kind = EntryKind::RequestsCounted;
        active.drafts.push(entry(kind, about, &detail, (&by, None), self.now.wall));
    }

    fn expose(&mut self, id: &RolloutId, exposure: Exposure) {
        let active = self.rollouts.get(id);
        let service = active.map(|active| active.rollout.spec().service.clone());
        let stays = active.is_some_and(|active| {
            let is_over = matches!(active.rollout.state(), State::Stopped(_));
            is_over && active.running.turn() == self.recorder.turn(&active.rollout.spec().service)
        });
        if let Some(service) = service.as_ref().filter(|_| stays) {
            // Green keeps its weight: what it is given with that is not the rollout's.
            self.begin_turn(service);
        }
        if let Some(state) = service.and_then(|service| self.services.get_mut(&service)) {
            state.exposure = exposure;
            self.publish();
            // Only now: what is drawn at a weight is counted in a cohort of that weight.
            self.open_cohort(id);
        }
    }

    fn swap_roles(&mut self, id: &RolloutId) {
        let Some(spec) = self.rollouts.get(id).map(|active| Arc::clone(active.rollout.spec()))
        else {
            return;
        };
        if let Some(state) = self.services.get_mut(&spec.service) {
            state.record.set(state.record.with_blue(&spec.green));
            state.exposure =
                Exposure { split: Split::ALL_BLUE, salt: spec.salt, green_exists: false };
            self.publish();
            self.alarms.begin_anew(&spec.service);
        }
    }

    /// Saves a rollout as it is, with its service and its facts, in one transaction; `seq` is the
    /// number of the save, `None` if nobody waits for it.
    pub(super) fn save(&mut self, id: &RolloutId, seq: Option<u64>) {
        let Some(active) = self.rollouts.get_mut(id) else {
            return;
        };
        let entries = std::mem::take(&mut active.drafts);
        let mut transaction = Transaction { entries, ..Transaction::default() };
        self.put_rollout(id, &mut transaction);
        self.outbox.keep(seq.map(|seq| (id.clone(), seq)), transaction);
    }

    /// Adds the records of a rollout to a transaction.
    pub(super) fn put_rollout(&mut self, id: &RolloutId, transaction: &mut Transaction) {
        self.count(id);
        let Some(active) = self.rollouts.get(id) else {
            return;
        };
        let rollout = &active.rollout;
        let spec = rollout.spec();
        let record = RolloutRecord::Rollout {
            rollout: Box::new(rollout.clone()),
            tally: active.running.tally,
            ended: active.ended,
            analysis: active.analysis(self.now.mono).map(Box::new),
            // What is over is not gone on with.
            evidence: match rollout.state().ending() {
                Some(_) => None,
                None => active.comparing.as_ref().and_then(Comparing::saved).map(Box::new),
            },
        };
        transaction.puts.push((key("rollout", id.as_str()), text(&record)));
        self.kept.counted.insert(id.clone(), active.running.clone());
        if let State::RolledBack(ending) = rollout.state() {
            let rollback = RollbackRecord {
                id: spec.rollback_id.clone(),
                of: id.clone(),
                service: spec.service.clone(),
                from: spec.green_revision.clone(),
                to: spec.blue_revision.clone(),
                cause: ending.cause.clone(),
                at: active.ended.unwrap_or(self.now.wall),
            };
            let key = key("rollout", rollback.id.as_str());
            transaction.puts.push((key, text(&RolloutRecord::Rollback(rollback))));
        }
        if let Some(state) = self.services.get_mut(&spec.service) {
            let split = Split::with_green(rollout.weight());
            let record = state.record.without_way_back();
            state.record.set(ServiceRecord { salt: spec.salt, split, ..record });
            let mut saved = state.record.clone();
            if let State::Succeeded(_) = rollout.state() {
                // The roles change hands with the end of the rollout, in one transaction.
                saved.set(saved.with_blue(&spec.green));
            }
            transaction.puts.push((key("service", spec.service.as_str()), text(&saved)));
        }
    }

    /// Adds the record of a group to a transaction.
    pub(super) fn put_group(
        name: &crate::core::model::TargetGroupName,
        record: &GroupRecord,
        transaction: &mut Transaction,
    ) {
        transaction.puts.push((key("target-group", name.as_str()), text(record)));
    }

    fn ask_gate(&self, call: GateCall) {
        let inbox = self.inbox.clone();
        let (asked, record) = (call.clone(), self.evidence.clone());
        let active = self.rollouts.get(&call.rollout);
        let evidence = active.and_then(|active| active.analysis(self.now.mono));
        self.gates.ask(
            call,
            evidence.map(Into::into),
            Box::new(move |answer, hearing| {
                let digest = hearing.map(|hearing| keep_call(&record, *hearing, &answer));
                let message = Message::Gate { call: Box::new(asked), answer, digest };
                if inbox.try_send(message).is_err() {
                    // The machine asks again when an answer does not come.
                    tracing::warn!("a gate's answer was lost: the writer is too busy or gone");
                }
            }),
        );
    }

    /// Takes a gate's answer, with the digest of what it was told.
    pub(super) fn gate_answered(
        &mut self,
        call: GateCall,
        answer: GateAnswer,
        digest: Option<Sha256>,
    ) {
        match call.stage {
            GateStage::OnRollback | GateStage::AfterRollback => {
                let about = About { service: Some(call.service), rollout: Some(call.rollout) };
                let detail = serde_json::json!({
                    "gate": call.gate.gate, "stage": call.stage,
                    "attempt": call.attempt, "answer": answer, "call": digest,
                });
                let by = Actor::tidegate();
                let wall = self.now.wall;
                self.note(entry(EntryKind::GateAnswered, about, &detail, (&by, None), wall));
            }
            GateStage::BeforeInstall
            | GateStage::AfterInstall
            | GateStage::AfterAllowTestTraffic
            | GateStage::BeforeAllowTraffic
            | GateStage::AfterAllowTraffic
            | GateStage::BeforeStep
            | GateStage::DuringStep => {
                let gate = call.gate.gate;
                let attempt = call.attempt;
                let event = Event::GateAnswered { gate, attempt, answer, call: digest };
                self.feed(&call.rollout, event);
            }
        }
    }

    /// Puts an entry into the ledger that nobody waits for.
    pub(super) fn note(&self, draft: crate::core::ledger::Draft) {
        let transaction = Transaction { entries: vec![draft], ..Transaction::default() };
        self.outbox.keep(None, transaction);
    }

    /// Frees the service of a rollout that is over and saved.
    fn retire_if_over(&mut self, id: &RolloutId) {
        let settled = |active: &Active| {
            active.rollout.state().ending().is_some_and(|ending| ending.settles_with.is_none())
        };
        if !self.rollouts.get(id).is_some_and(settled) {
            return;
        }
        self.count(id);
        let Some(active) = self.rollouts.remove(id) else {
            return;
        };
        self.kept.counted.remove(id);
        let spec = Arc::clone(active.rollout.spec());
        if let Some(state) = self.services.get_mut(&spec.service) {
            state.active = None;
        }
        self.apply_postponed(&spec.service);
        self.configure_alarms();
        let totals = self.kept.totals.entry(spec.service.clone()).or_default();
        totals.count_end(active.rollout.state().name());
        let view = super::snapshot::of_rollout(&active, self.now.mono);
        let rollback = super::snapshot::of_rollback(&view, &active.rollout);
        let mut gone = self.history.add(Arc::new(view), self.now.wall);
        if let Some(rollback) = rollback {
            gone.extend(self.history.add(Arc::new(rollback), self.now.wall));
        }
        if !gone.is_empty() {
            self.forget(&gone);
        }
        if active.rollout.had_traffic() {
            self.keep_remainder(active);
        }
        self.changed = true;
    }

    /// Removes rollouts that are too old, and the idempotency keys that stand for them.
    fn forget(&mut self, gone: &[RolloutId]) {
        let repeatable = self.repeatable.extract_if(.., |_, known| gone.contains(&known.rollout));
        let scopes = repeatable.map(|(scope, _)| key("idempotency", &scope.to_string()));
        let mut deletes: Vec<_> = scopes.collect();
        deletes.extend(gone.iter().map(|id| key("rollout", id.as_str())));
        self.outbox.keep(None, Transaction { deletes, ..Transaction::default() });
        self.evidence.remove(gone);
    }

    /// The active rollout of a service.
    pub(super) fn active_of(&self, service: &crate::core::model::ServiceName) -> Option<&Rollout> {
        let id = self.services.get(service)?.active.as_ref()?;
        self.rollouts.get(id).map(|active| &active.rollout)
    }
}

/// Has a call of a gate kept, on the gates' own thread; gives the digest of what it was told.
fn keep_call(record: &EvidenceWriter, hearing: GateHearing, answer: &GateAnswer) -> Sha256 {
    let (rollout, gate) = (hearing.call.rollout.clone(), hearing.call.gate.gate.clone());
    let of = (gate, hearing.call.stage, hearing.call.step);
    let WrittenCall { line, digest } = GateCalls::write(hearing, answer);
    match line {
        Some(line) => record.keep_call(&rollout, KeptCall { of, answer: answer.clone(), line }),
        None => tracing::warn!(%rollout, "a call of a gate is too long to be kept"),
    }
    digest
}

fn notify(id: &RolloutId, notice: &Notice) {
    match notice {
        Notice::Regression { cause } => tracing::warn!(rollout = %id, %cause, "regression"),
        Notice::BlueCannotTakeTraffic { cause } => {
            tracing::error!(rollout = %id, %cause, "regression, but blue cannot take the traffic");
        }
        Notice::ApprovalWanted { timeout } => {
            tracing::info!(rollout = %id, %timeout, "an approval is wanted");
        }
        Notice::Ended { outcome, cause } => {
            let cause = cause.as_ref().map(ToString::to_string).unwrap_or_default();
            match outcome {
                Outcome::Succeeded => tracing::info!(rollout = %id, "succeeded"),
                Outcome::RolledBack => tracing::warn!(rollout = %id, cause, "rolled back"),
                Outcome::Stopped => tracing::warn!(rollout = %id, cause, "stopped"),
                Outcome::Failed => tracing::warn!(rollout = %id, cause, "failed"),
            }
        }
    }
}
