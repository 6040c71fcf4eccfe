//! Looking: what each tick shows of the services, given to the rollouts as an observation.

use std::sync::Arc;

use crate::core::model::RolloutId;
use crate::core::rollout::{Actor, Event, Observation};

use super::World;
use super::comparing::Comparing;
use super::draft::{About, EntryKind, entry};

impl World {
    /// One look: alarms are judged, every rollout is shown what can be seen.
    pub(super) fn tick(&mut self) {
        // First of all: a verdict against green waits for nothing.
        self.compare();
        self.recorder.tick(self.now.mono);
        self.take_news();
        self.refill_retries();
        self.judge_alarms();
        self.watch_targets();
        self.watch_burns();
        let sampled =
            self.rollouts.values().filter(|active| !active.rollout.spec().gates.is_empty());
        let sampled = sampled.map(|active| &active.rollout.spec().service);
        self.windows.sample(self.now.mono, &self.recorder, sampled);
        // Before the look: what it shows is then no older than what was decided.
        let settled = self.settled_rollouts();
        let probed = self.unsettled && self.prober.all_decided() && self.resolver.all_asked();
        self.look();
        self.count_remainders();
        self.settle(&settled);
        if probed {
            self.unsettled = false;
            self.changed = true;
        }
        for waiter in self.changes.overdue() {
            self.answer_waiter(waiter, false);
        }
        self.changes.tell_slow(self.now.mono);
    }

    /// Shows every rollout what can be seen now.
    pub(super) fn look(&mut self) {
        let ids: Vec<RolloutId> = self.rollouts.keys().cloned().collect();
        for id in &ids {
            if let Some(observation) = self.observation(id) {
                self.feed(id, Event::Observed(observation));
            }
        }
    }

    fn judge_alarms(&mut self) {
        self.ask_questions();
        let (recorder, asker) = (Arc::clone(&self.recorder), Arc::clone(&self.asker));
        let changed = self.alarms.judge(self.now.mono, self.now.wall, &recorder, &asker);
        let by = Actor::tidegate();
        for change in changed {
            tracing::info!(
                service = %change.service, alarm = %change.alarm,
                from = %change.from, to = %change.to, "alarm changed"
            );
            let detail = serde_json::json!({
                "alarm": change.alarm, "from": change.from, "to": change.to,
            });
            let why = change.why.as_ref();
            let about = About::service(&change.service);
            self.note(entry(EntryKind::AlarmChanged, about, &detail, (&by, why), self.now.wall));
            self.changed = true;
        }
    }

    /// What can be seen now of the world of a rollout; `None` if there is no such rollout.
    pub(super) fn observation(&mut self, id: &RolloutId) -> Option<Observation> {
        let scored_green = self.count(id)?.scored();
        let active = self.rollouts.get_mut(id)?;
        let spec = Arc::clone(active.rollout.spec());
        let (now, weight) = (self.now.mono, active.rollout.weight());
        let assess = |comparing: &Comparing| comparing.assess(now, weight);
        let assessment = active.comparing.as_ref().map(assess).unwrap_or_default();
        if let Some(comparing) = &mut active.comparing {
            for news in comparing.news(&assessment.freezes) {
                tracing::error!(rollout = %id, news, "the weight is held");
            }
        }
        let state = |alarm| self.alarms.watched_state(&spec.service, alarm, self.now.wall);
        let alarms = spec.alarms.iter().map(|alarm| (alarm.name.clone(), state(alarm)));
        Some(Observation {
            green: self.kept.live.health(&spec.green),
            blue: self.kept.live.health(&spec.blue),
            alarms: alarms.collect(),
            scored_green,
            evidence: assessment.evidence,
            slo_breach: assessment.slo_breach,
            freezes: assessment.freezes,
        })
    }
}
