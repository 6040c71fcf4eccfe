//! Comparing in the writer's turn: evaluations, what follows of them at once, and cohorts.
//!
//! Evaluations come first in a tick, and a verdict against green is given to its rollout before
//! anything else is looked at: the rollout swaps the table, then everything else is done.

use std::sync::Arc;

use crate::core::analysis::Counts;
use crate::core::model::{MonoTime, RolloutId, Span};
use crate::core::rollout::{Actor, Event, Spec, Verb};

use super::draft::{About, EntryKind, entry};
use super::world::Active;
use super::{AnalysisView, World};

/// What calls for an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// Its time has come; what is settled is folded afterwards.
    Tick,
    /// A request failed on green.
    Failure,
}

impl World {
    /// Evaluates every comparison, acts on what it finds, and opens the next cohorts.
    pub(super) fn compare(&mut self) {
        let ids: Vec<RolloutId> = self.rollouts.keys().cloned().collect();
        for id in &ids {
            self.evaluate(id, Occasion::Tick);
        }
        for id in &ids {
            self.open_cohort(id);
        }
        self.keep_latencies();
    }

    /// Evaluates a comparison in which green failed since the last time.
    pub(super) fn evaluate_failure(&mut self, id: &RolloutId) {
        self.evaluate(id, Occasion::Failure);
    }

    fn evaluate(&mut self, id: &RolloutId, occasion: Occasion) {
        let Some(active) = self.rollouts.get_mut(id) else {
            return;
        };
        if active.rollout.state().ending().is_some() {
            return;
        }
        let targets = self.kept.live.targets(&active.rollout.spec().green).count();
        let Some(comparing) = &mut active.comparing else {
            return;
        };
        let now = self.now.mono;
        let crossed = match occasion {
            Occasion::Tick => {
                let crossed = comparing.evaluate(now, targets);
                comparing.fold();
                crossed
            }
            Occasion::Failure => comparing.evaluate_failure(now, targets),
        };
        if crossed {
            // The entry goes with the save that follows the swap.
            let weight = active.rollout.weight();
            let detail = serde_json::json!({
                "crossing": comparing.crossing(), "analysis": comparing.view(now, weight),
            });
            let service = Some(active.rollout.spec().service.clone());
            let about = About { service, rollout: Some(id.clone()) };
            let by = Actor::tidegate();
            let kind = EntryKind::EvidenceCrossed;
            active.drafts.push(entry(kind, about, &detail, (&by, None), self.now.wall));
            self.verdict_fell(id);
            if let Some(seen) = self.observation(id) {
                self.feed(id, Event::Observed(seen));
            }
        } else {
            self.eject_suspect(id);
        }
    }

    /// Opens the next cohort of a rollout's comparison, if it is time or the weight changed: after
    /// the table says so.
    pub(super) fn open_cohort(&mut self, id: &RolloutId) {
        let Some(active) = self.rollouts.get_mut(id) else {
            return;
        };
        let spec = Arc::clone(active.rollout.spec());
        let step = active.rollout.step();
        let (Some(comparing), None) = (&mut active.comparing, active.rollout.state().ending())
        else {
            return;
        };
        let Some(state) = self.services.get(&spec.service) else {
            return;
        };
        let weight = state.exposure.split.green();
        let now = self.now.mono;
        let table = self.table.load();
        let live = table.services.get(&spec.service).map(|route| &*route.live);
        let warming = self.kept.live.targets(&spec.green).any(|target| target.is_warming());
        let latencies = &mut self.kept.latencies;
        let compared = comparing.spec();
        let renew = || latencies.next_epoch(&spec.service, &compared, live, now);
        comparing.open(now, step, weight, warming, renew);
    }

    /// What a person took upon themselves no longer holds the weight.
    pub(super) fn accept_freezes(&mut self, id: &RolloutId, verb: Verb) {
        let accepts = match verb {
            Verb::Resume { override_regression } => override_regression,
            Verb::Promote { force } => force,
            Verb::Abort | Verb::Stop | Verb::Pause | Verb::Approve | Verb::Reject => false,
        };
        let now = self.now.mono;
        let Some(active) = self.rollouts.get_mut(id).filter(|_| accepts) else {
            return;
        };
        let weight = active.rollout.weight();
        if let Some(comparing) = &mut active.comparing {
            comparing.accept(now, weight);
        }
        self.count(id);
        if let Some(active) = self.rollouts.get_mut(id) {
            active.running.accept();
        }
    }

    /// A verdict against green fell, whoever said it: what green is sent from now on is counted
    /// apart.
    pub(super) fn verdict_fell(&mut self, id: &RolloutId) {
        self.count(id);
        if let Some(active) = self.rollouts.get_mut(id) {
            active.running.verdict_fell();
        }
    }

    /// How long a request of a rollout's service may take until its answer begins.
    pub(super) fn longest_answer(&self, spec: &Spec) -> Span {
        let service = self.config.services.get(&spec.service);
        let timeouts = service.map(|service| service.timeouts).unwrap_or_default();
        timeouts.connect.saturating_add(timeouts.write).saturating_add(timeouts.read)
    }

    /// Adds up what a rollout's requests came to since the last look; gives what green's meter
    /// counted in all.
    pub(super) fn count(&mut self, id: &RolloutId) -> Option<Counts> {
        let active = self.rollouts.get_mut(id)?;
        let service = &active.rollout.spec().service;
        let green = self.recorder.green_in(service, active.running.turn());
        let before = active.running.tally;
        active.running.add(green.clone());
        let totals = self.kept.totals.entry(service.clone()).or_default();
        totals.count_growth(before, active.running.tally);
        Some(green)
    }
}

impl Active {
    /// Its comparison as others see it; `None` if nothing is or was compared.
    pub(super) fn analysis(&self, now: MonoTime) -> Option<AnalysisView> {
        let present = self.comparing.as_ref();
        let view = present.map(|comparing| comparing.view(now, self.rollout.weight()));
        view.or_else(|| self.analysis.clone())
    }
}
