//! Burn rates: how fast each side of a service uses up the failures that its objective permits.
//!
//! Blue is watched whether there is a rollout or not, so that a rollout begins with its past; green
//! from the beginning of its rollout on, and if it becomes blue its past goes with it. A page means
//! that the side breaks its objective, and its rollout does what the table of section 6.3 says. A
//! ticket is told and holds nothing. Nothing of it is within the bound on false rollbacks.
//!
//! The windows are the process's: a restart begins them anew.

use std::sync::Arc;

use crate::core::analysis::{BurnChange, BurnWatch, Burning, Urgency};
use crate::core::model::{
    MonoTime, Objective, RolloutId, ServiceName, Side, Span, TargetGroupName,
};
use crate::core::rollout::Actor;
use crate::telemetry::BurnRateGauge;

use super::World;
use super::draft::{About, EntryKind, entry};

/// The burn rates of a service.
#[derive(Debug)]
pub(super) struct Burns {
    objective: Objective,
    blue: Watched,
    /// `None` without a rollout.
    green: Option<(RolloutId, Watched)>,
    /// `None` before the first look.
    looked: Option<MonoTime>,
}

/// The watch of a side, and the group that has the role.
#[derive(Debug)]
struct Watched {
    group: TargetGroupName,
    watch: BurnWatch,
}

/// Failures and requests of a side so far.
type Counted = (u64, u64);

/// How often burn rates are looked at.
const INTERVAL: Span = Span::from_secs(1);

impl Burns {
    fn new(objective: Objective, blue: &TargetGroupName, counted: Counted) -> Self {
        let blue = Watched::new(objective, blue, counted);
        Self { objective, blue, green: None, looked: None }
    }

    /// Whether a second went by; then it counts as looked at.
    fn is_due(&mut self, now: MonoTime) -> bool {
        let due = self.looked.is_none_or(|looked| now.since(looked) >= INTERVAL);
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// Follows the roles: who is blue now, and the rollout with its green.
    fn turn(
        &mut self,
        blue: &TargetGroupName,
        rollout: Option<&(RolloutId, TargetGroupName)>,
        counted: impl Fn(Side) -> Counted,
    ) {
        if self.blue.group != *blue {
            let promoted = self.green.take().map(|(_, green)| green);
            self.blue = match promoted.filter(|green| green.group == *blue) {
                Some(mut promoted) => {
                    promoted.watch.rebase(counted(Side::Blue));
                    promoted
                }
                None => Watched::new(self.objective, blue, counted(Side::Blue)),
            };
        }
        let present = self.green.as_ref().map(|(id, _)| id);
        if present != rollout.map(|(id, _)| id) {
            self.green = rollout.map(|(id, group)| {
                (id.clone(), Watched::new(self.objective, group, counted(Side::Green)))
            });
        }
    }

    fn look(
        &mut self,
        now: MonoTime,
        counted: impl Fn(Side) -> Counted,
    ) -> Vec<(Side, BurnChange, Burning)> {
        let green = self.green.as_mut().map(|(_, green)| (Side::Green, green));
        let sides = [(Side::Blue, &mut self.blue)].into_iter().chain(green);
        let changes = sides.filter_map(|(side, watched)| {
            let change = watched.watch.look(now, counted(side))?;
            Some((side, change, watched.watch.seen()))
        });
        changes.collect()
    }

    /// Green's and blue's as of the last look.
    fn seen(&self) -> [Burning; 2] {
        let green = self.green.as_ref().map(|(_, green)| green.watch.seen());
        [green.unwrap_or_default(), self.blue.watch.seen()]
    }
}

impl Watched {
    fn new(objective: Objective, group: &TargetGroupName, counted: Counted) -> Self {
        Self { group: group.clone(), watch: BurnWatch::new(objective.share(), counted) }
    }
}

impl World {
    /// Looks at the burn rates of every service with an objective, shows them to their rollouts,
    /// and tells of what changed.
    pub(super) fn watch_burns(&mut self) {
        let config = Arc::clone(&self.config);
        let has_objective =
            |name: &ServiceName| config.services.get(name).is_some_and(|spec| spec.slo.is_some());
        self.kept.burns.retain(|name, _| has_objective(name));
        for spec in config.services.values() {
            if let Some(objective) = spec.slo {
                self.watch_burns_of(&spec.name, objective);
            }
        }
    }

    fn watch_burns_of(&mut self, service: &ServiceName, objective: Objective) {
        let now = self.now.mono;
        let Some(state) = self.services.get(service) else {
            return;
        };
        let blue = state.record.blue.clone();
        let active = state.active.as_ref().and_then(|id| self.rollouts.get(id));
        let active = active.filter(|active| active.rollout.state().ending().is_none());
        let rollout = active.map(|active| {
            let spec = active.rollout.spec();
            (spec.id.clone(), spec.green.clone())
        });
        let recorder = Arc::clone(&self.recorder);
        let counted = |side: Side| {
            let counts = recorder.present(service, side);
            (counts.failed(), counts.scored())
        };
        let new = || Burns::new(objective, &blue, counted(Side::Blue));
        let burns = self.kept.burns.entry(service.clone()).or_insert_with(new);
        if burns.objective != objective {
            *burns = new();
        }
        // At once: what a side is sent first is watched, too.
        burns.turn(&blue, rollout.as_ref(), counted);
        if !burns.is_due(now) {
            return;
        }
        let changes = burns.look(now, counted);
        let seen = burns.seen();
        let id = rollout.map(|(id, _)| id);
        let active = id.as_ref().and_then(|id| self.rollouts.get_mut(id));
        if let Some(comparing) = active.and_then(|active| active.comparing.as_mut()) {
            comparing.burn(seen, now);
        }
        for (side, change, seen) in changes {
            self.tell_burn((service, objective, id.as_ref()), side, change, &seen);
        }
    }

    fn tell_burn(
        &mut self,
        (service, objective, rollout): (&ServiceName, Objective, Option<&RolloutId>),
        side: Side,
        change: BurnChange,
        seen: &Burning,
    ) {
        let [from, to] =
            [change.from, change.to].map(|level| level.map_or("within", Urgency::as_str));
        tracing::warn!(%service, %objective, %side, from, to, "burn rate changed");
        let rates: serde_json::Map<String, serde_json::Value> = BurnWatch::WINDOWS
            .iter()
            .zip(seen.over)
            .filter_map(|((window, _), rate)| Some(((*window).to_owned(), rate?.into())))
            .collect();
        let detail = serde_json::json!({
            "side": side, "slo": objective, "from": from, "to": to, "rates": rates,
        });
        let about = About { service: Some(service.clone()), rollout: rollout.cloned() };
        let by = Actor::tidegate();
        self.note(entry(EntryKind::BurnChanged, about, &detail, (&by, None), self.now.wall));
        self.changed = true;
    }

    /// Every burn rate that is known.
    pub(super) fn burn_rates(&self) -> Vec<BurnRateGauge> {
        let mut gauges = Vec::new();
        for (service, burns) in &self.kept.burns {
            let [green, blue] = burns.seen();
            for (side, seen) in [(Side::Green, green), (Side::Blue, blue)] {
                for ((window, _), rate) in BurnWatch::WINDOWS.iter().zip(seen.over) {
                    gauges.extend(rate.map(|rate| BurnRateGauge {
                        service: service.clone(),
                        side,
                        window,
                        rate,
                    }));
                }
            }
        }
        gauges
    }
}
