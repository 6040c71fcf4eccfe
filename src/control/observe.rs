//! Looking: what each tick shows of the services, given to the rollouts as an observation.

use std::sync::Arc;

use crate::core::analysis::Counts;
use crate::core::model::{RolloutId, Side};
use crate::core::rollout::{Actor, Event, Evidence, Observation};

use super::World;
use super::draft::{About, EntryKind, entry};

impl World {
    /// One look: alarms are judged, every rollout is shown what can be seen.
    pub(super) fn tick(&mut self) {
        self.recorder.tick(self.now.mono);
        self.take_news();
        self.refill_retries();
        self.judge_alarms();
        self.watch_targets();
        let sampled =
            self.rollouts.values().filter(|active| !active.rollout.spec().gates.is_empty());
        let sampled = sampled.map(|active| &active.rollout.spec().service);
        self.windows.sample(self.now.mono, &self.recorder, sampled);
        // Before the look: what it shows is then no older than what was decided.
        let settled = self.settled_rollouts();
        let probed = self.unsettled && self.prober.all_decided() && self.resolver.all_asked();
        self.look();
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
        let recorder = Arc::clone(&self.recorder);
        let changed = self.alarms.judge(self.now.mono, self.now.wall, &recorder);
        let by = Actor::tidegate();
        for change in changed {
            tracing::info!(
                service = %change.service, alarm = %change.alarm,
                from = %change.from, to = %change.to, "alarm changed"
            );
            let detail = serde_json::json!({
                "alarm": change.alarm, "from": change.from, "to": change.to,
            });
            let about = About::service(&change.service);
            self.note(entry(EntryKind::AlarmChanged, about, &detail, (&by, None), self.now.wall));
            self.changed = true;
        }
    }

    /// Adds what green's meter counted since the last look to a rollout's counters; gives what the
    /// meter counted in all.
    pub(super) fn count(&mut self, id: &RolloutId) -> Option<Counts> {
        let active = self.rollouts.get_mut(id)?;
        let service = active.rollout.spec().service.clone();
        let green = self.recorder.present(&service, Side::Green);
        let before = active.running.tally.leaked();
        active.running.add(green.clone());
        let leaked = active.running.tally.leaked().saturating_sub(before);
        self.kept.totals.entry(service).or_default().leaked += leaked;
        Some(green)
    }

    fn observation(&mut self, id: &RolloutId) -> Option<Observation> {
        let scored_green = self.count(id)?.scored();
        let spec = Arc::clone(self.rollouts.get(id)?.rollout.spec());
        let state = |alarm| self.alarms.watched_state(&spec.service, alarm, self.now.wall);
        let alarms = spec.alarms.iter().map(|alarm| (alarm.name.clone(), state(alarm)));
        Some(Observation {
            green: self.kept.live.health(&spec.green),
            blue: self.kept.live.health(&spec.blue),
            alarms: alarms.collect(),
            scored_green,
            evidence: Evidence::Unavailable,
            slo_breach: None,
        })
    }
}
