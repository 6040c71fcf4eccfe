//! Remainders: what was in flight when a rollout ended.
//!
//! A rollout ends without waiting for the requests that green has: a stream may last for as long as
//! the drain lets it. So its tally goes on after its end, on the meter of its turn, until nothing
//! is in flight any more or it was waited long enough; what is not known then is missing, and
//! counted as that. The record becomes the final one, and the ledger, in which nothing is ever
//! changed, gets an entry more if it was told something else at the end.

use crate::core::analysis::Counts;
use crate::core::ledger::Draft;
use crate::core::model::{MonoTime, RolloutId, ServiceName, Span, WallTime};
use crate::core::rollout::{Actor, Rollout};
use crate::store::Transaction;
use crate::telemetry::Turn;

use super::draft::{About, EntryKind, entry};
use super::record::{RolloutRecord, key, text};
use super::tally::Running;
use super::world::Active;
use super::{AnalysisView, Tally, World};

/// What is left of a rollout that is over.
#[derive(Debug)]
pub(super) struct Remainder {
    rollout: Rollout,
    running: Running,
    /// `None` where nothing was compared.
    analysis: Option<AnalysisView>,
    /// When it ended.
    ended: WallTime,
    /// From when on it is waited.
    since: MonoTime,
    /// How long it is waited at most.
    limit: Span,
}

/// How long it is waited at least: a request may have read the last table, and not have begun.
const LEAST: Span = Span::from_secs(1);
/// How much longer it is waited than everything may last: what is cut then has to end.
const GRACE: Span = Span::from_secs(5);

impl Remainder {
    /// Its tally as it goes on.
    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    fn is_of(&self, service: &ServiceName, turn: Turn) -> bool {
        self.rollout.spec().service == *service && self.running.turn() == turn
    }

    fn is_over(&self, now: MonoTime) -> bool {
        let waited = now.since(self.since);
        waited >= self.limit || (waited >= LEAST && self.running.tally.in_flight == 0)
    }

    fn record(&self) -> String {
        text(&RolloutRecord::Rollout {
            rollout: Box::new(self.rollout.clone()),
            tally: self.running.tally,
            ended: Some(self.ended),
            analysis: self.analysis.clone().map(Box::new),
            evidence: None,
        })
    }

    /// The ledger's entry of what it came to.
    fn told(&mut self, now: WallTime) -> Draft {
        let spec = self.rollout.spec();
        let about = About { service: Some(spec.service.clone()), rollout: Some(spec.id.clone()) };
        let detail = self.running.tell();
        entry(EntryKind::RequestsCounted, about, &detail, (&Actor::tidegate(), None), now)
    }
}

impl World {
    /// Takes the tally of a rollout further that is over.
    pub(super) fn keep_remainder(&mut self, active: Active) {
        let spec = active.rollout.spec();
        let id = spec.id.clone();
        let drained = self.config.services.get(&spec.service).map(|service| service.drain.timeout);
        let longest = self.longest_answer(spec).max(drained.unwrap_or_default());
        let remainder = Remainder {
            analysis: active.analysis(self.now.mono),
            rollout: active.rollout,
            running: active.running,
            ended: active.ended.unwrap_or(self.now.wall),
            since: self.now.mono,
            limit: longest.saturating_add(GRACE),
        };
        self.kept.remainders.insert(id, remainder);
    }

    /// Counts what the requests of rollouts came to that are over.
    pub(super) fn count_remainders(&mut self) {
        let ids: Vec<RolloutId> = self.kept.remainders.keys().cloned().collect();
        for id in &ids {
            self.count_remainder(id);
            let left = self.kept.remainders.get(id);
            if left.is_some_and(|left| left.is_over(self.now.mono)) {
                self.finish_remainder(id);
            }
        }
    }

    fn count_remainder(&mut self, id: &RolloutId) {
        let kept = &mut *self.kept;
        let Some(left) = kept.remainders.get_mut(id) else {
            return;
        };
        let service = left.rollout.spec().service.clone();
        let before = left.running.tally;
        left.running.add(self.recorder.green_in(&service, left.running.turn()));
        let after = left.running.tally;
        if after != before {
            kept.totals.entry(service).or_default().count_growth(before, after);
            self.history.restate(id, after);
            self.changed = true;
        }
    }

    /// Waits no longer, and says what there is to say.
    fn finish_remainder(&mut self, id: &RolloutId) {
        let Some(mut left) = self.kept.remainders.remove(id) else {
            return;
        };
        left.running.tally.give_up();
        // One that is not in the history any more has no record either.
        if self.history.restate(id, left.running.tally) && left.running.has_news() {
            let told = left.told(self.now.wall);
            let puts = vec![(key("rollout", id.as_str()), left.record())];
            let transaction = Transaction { puts, entries: vec![told], ..Transaction::default() };
            self.outbox.keep(None, transaction);
            self.changed = true;
        }
    }

    /// Saves what was counted of rollouts that are over, before the writer ends: the next one of
    /// this process counts on, and that of another one says what is missing.
    pub(super) fn close_remainders(&mut self) {
        let ids: Vec<RolloutId> = self.kept.remainders.keys().cloned().collect();
        for id in &ids {
            self.count_remainder(id);
            let left = self.kept.remainders.get(id);
            if let Some(left) = left.filter(|left| left.running.has_news()) {
                let puts = vec![(key("rollout", id.as_str()), left.record())];
                self.outbox.keep(None, Transaction { puts, ..Transaction::default() });
            }
        }
    }

    /// What an earlier life has left of a rollout that is over: gives what its requests came to.
    /// What was in flight in another process is missing, and told as that.
    pub(super) fn restore_remainder(
        &self,
        rollout: &Rollout,
        tally: Tally,
        ended: WallTime,
        analysis: Option<&AnalysisView>,
    ) -> Tally {
        let id = &rollout.spec().id;
        if let Some(left) = self.kept.remainders.get(id) {
            return left.running.tally;
        }
        let running = Running::restore(tally, Turn::default(), Counts::default());
        let restored = running.tally;
        if running.has_news() {
            let (rollout, analysis) = (rollout.clone(), analysis.cloned());
            let (since, limit) = (self.now.mono, Span::ZERO);
            let mut left = Remainder { rollout, running, analysis, ended, since, limit };
            let entries = vec![left.told(self.now.wall)];
            let puts = vec![(key("rollout", id.as_str()), left.record())];
            self.outbox.keep(None, Transaction { puts, entries, ..Transaction::default() });
        }
        restored
    }

    /// Gives green a meter of its own from the next table on. What is left of a rollout that had
    /// the same one, many turns ago, is waited for no longer.
    pub(super) fn begin_turn(&mut self, service: &ServiceName) {
        self.recorder.begin_turn(service);
        let turn = self.recorder.turn(service);
        let again = self.kept.remainders.iter().filter(|(_, left)| left.is_of(service, turn));
        let again: Vec<RolloutId> = again.map(|(id, _)| id.clone()).collect();
        for id in &again {
            self.count_remainder(id);
            self.finish_remainder(id);
        }
    }

    /// What green is given from the next table on belongs to no rollout.
    pub(super) fn part_from_last(&mut self, service: &ServiceName) {
        let turn = self.recorder.turn(service);
        if self.kept.remainders.values().any(|left| left.is_of(service, turn)) {
            self.begin_turn(service);
        }
    }
}
