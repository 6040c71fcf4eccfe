//! Resuming: rollouts of earlier lives, put back where they were, and told of the start.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::analysis::comparison::Saved;
use crate::core::analysis::replay::Cause;
use crate::core::model::{RolloutId, ServiceSpec, WallTime};
use crate::core::rollout::{Actor, Command, Event, Hold, Rollout, Spec, Verb};

use super::comparing::Comparing;
use super::past::Past;
use super::record::RolloutRecord;
use super::reload::lost_for;
use super::snapshot::{of_machine, of_rollback_record};
use super::tally::Running;
use super::world::Active;
use super::{AnalysisView, RecoverError, RolloutView, Tally, World};

impl World {
    /// Puts back those that have not ended, and makes the history of the others.
    ///
    /// # Errors
    /// The configuration no longer has what one of them moves.
    pub(super) fn restore_rollouts(
        &mut self,
        records: Vec<RolloutRecord>,
        past: &Past,
    ) -> Result<(), RecoverError> {
        let mut ended = Vec::new();
        let mut rollbacks = Vec::new();
        for record in records {
            match record {
                RolloutRecord::Rollback(rollback) => rollbacks.push(rollback),
                RolloutRecord::Rollout {
                    rollout, tally, ended: None, evidence, analysis, ..
                } => {
                    let id = rollout.spec().id.clone();
                    self.restore_active(*rollout, tally, past)?;
                    let evidence = evidence.map(|evidence| *evidence);
                    self.restore_comparison(&id, evidence, analysis.map(|analysis| *analysis));
                }
                RolloutRecord::Rollout { rollout, tally, ended: Some(at), analysis, .. } => {
                    ended.push((at, rollout, tally, analysis.map(|analysis| *analysis)));
                }
            }
        }
        // The newest first: what came before it was over when it began.
        ended.sort_by_key(|(at, rollout, ..)| std::cmp::Reverse((*at, rollout.spec().id.clone())));
        let mut seen = BTreeSet::new();
        let mut views = Vec::new();
        for (at, rollout, told, analysis) in ended {
            let service = &rollout.spec().service;
            let newest = seen.insert(service.clone());
            if newest && rollout.has_gates_to_ask() && self.may_restore(rollout.spec()) {
                rollbacks.retain(|rollback| rollback.of != rollout.spec().id);
                let id = rollout.spec().id.clone();
                self.restore_ended(*rollout, told, at, past)?;
                if let Some(active) = self.rollouts.get_mut(&id) {
                    active.analysis = analysis;
                }
            } else {
                let tally = self.restore_remainder(&rollout, told, at, analysis.as_ref());
                let view = of_machine(&rollout, tally, Some(at));
                views.push(Arc::new(RolloutView { analysis, ..view }));
            }
        }
        views.extend(rollbacks.iter().map(|rollback| Arc::new(of_rollback_record(rollback))));
        self.history.restore(views);
        // Another process may have ended some in the meantime.
        self.kept.counted.retain(|id, _| self.rollouts.contains_key(id));
        self.kept.remainders.retain(|id, _| !self.rollouts.contains_key(id));
        Ok(())
    }

    /// Puts back a rollout that ended without what follows the record of that; both then go to the
    /// history together.
    fn restore_ended(
        &mut self,
        rollout: Rollout,
        tally: Tally,
        at: WallTime,
        past: &Past,
    ) -> Result<(), RecoverError> {
        let id = rollout.spec().id.clone();
        self.restore_active(rollout, tally, past)?;
        if let Some(active) = self.rollouts.get_mut(&id) {
            active.ended = Some(at);
        }
        Ok(())
    }

    /// Whether the service of a rollout is there with its groups, and has no other rollout.
    fn may_restore(&self, spec: &Spec) -> bool {
        let declared = self.config.services.get(&spec.service);
        let state = self.services.get(&spec.service);
        declared.is_some_and(|declared| has_groups(declared, spec))
            && state.is_some_and(|state| state.active.is_none())
    }

    /// Puts a rollout back; the first table already says of green what it may.
    fn restore_active(
        &mut self,
        rollout: Rollout,
        tally: Tally,
        past: &Past,
    ) -> Result<(), RecoverError> {
        let spec = Arc::clone(rollout.spec());
        let fits = |declared: &ServiceSpec| has_groups(declared, &spec);
        let state = self.services.get_mut(&spec.service);
        let declared = self.config.services.get(&spec.service).filter(|declared| fits(declared));
        let Some((state, _)) = state.zip(declared) else {
            return Err(RecoverError::RolloutWithoutService {
                rollout: spec.id.clone(),
                service: spec.service.clone(),
                blue: spec.blue.clone(),
                green: spec.green.clone(),
            });
        };
        state.active = Some(spec.id.clone());
        // Green exists for the first table already: a file that says otherwise means a rollback.
        state.exposure = past.in_force(&spec.service, &spec.blue, rollout.exposure());
        let counted = self.kept.counted.get(&spec.id).cloned();
        let left = self.kept.remainders.get(&spec.id).map(|left| left.running().clone());
        let mut running = counted.or(left).unwrap_or_else(|| {
            let turn = self.recorder.turn(&spec.service);
            Running::restore(tally, turn, self.recorder.green_in(&spec.service, turn))
        });
        running.catch_up(tally);
        let active = Active { unsettled: true, ..Active::new(rollout, running) };
        self.rollouts.insert(spec.id.clone(), active);
        Ok(())
    }

    /// Lets a rollout's comparison go on from what was saved of it.
    fn restore_comparison(
        &mut self,
        id: &RolloutId,
        evidence: Option<Saved>,
        analysis: Option<AnalysisView>,
    ) {
        let Some(rollout) = self.rollouts.get(id).map(|active| &active.rollout) else {
            return;
        };
        let (spec, had_traffic) = (Arc::clone(rollout.spec()), rollout.had_traffic());
        let longest = self.longest_answer(&spec);
        let past = (evidence.clone(), had_traffic);
        let mut comparing = Comparing::restore(&spec, longest, past, self.now.mono);
        if let Some((comparing, earlier)) = comparing.as_mut().zip(analysis) {
            comparing.recall(earlier);
        }
        if let Some(active) = self.rollouts.get_mut(id) {
            active.comparing = comparing;
        }
        self.keep_evidence(id, Cause::Restart, evidence);
    }

    /// Tells every rollout that the process started, and what is served.
    pub(super) fn resume_rollouts(&mut self) {
        let active = self.rollouts.values().map(|active| active.rollout.spec());
        let served = active.filter_map(|spec| {
            let state = self.services.get(&spec.service)?;
            Some((spec.id.clone(), state.exposure))
        });
        for (id, in_force) in served.collect::<Vec<_>>() {
            self.feed(&id, Event::Restored { in_force });
            self.pause_what_lost_something(&id);
        }
    }

    /// A rollout that cannot have what it was created with waits for a person.
    fn pause_what_lost_something(&mut self, id: &RolloutId) {
        let Some(active) = self.rollouts.get(id) else {
            return;
        };
        let lost = lost_for(active.rollout.spec(), &self.config);
        let over = active.rollout.state().ending().is_some();
        let paused = active.rollout.holds().iter().any(|hold| matches!(hold, Hold::Paused { .. }));
        if lost.is_empty() || over || paused {
            return;
        }
        let lost = lost.join(", ");
        tracing::error!(rollout = %id, lost, "paused: the configuration no longer has this");
        let reason =
            Some(format!("the configuration no longer has what it was created with: {lost}"));
        let command = Command { verb: Verb::Pause, actor: Actor::tidegate(), reason };
        self.feed(id, Event::Commanded(command));
    }
}

fn has_groups(declared: &ServiceSpec, spec: &Spec) -> bool {
    [&spec.blue, &spec.green].into_iter().all(|group| declared.target_groups.contains(group))
}
