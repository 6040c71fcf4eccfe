//! Settling: when a rollout from before the start has seen enough of its own world to be judged.
//!
//! Enough are an answer of DNS about every name, checks that have decided about every target of its
//! two groups, and a first judgement of each of its alarms on numbers: an alarm that cannot say
//! anything yet is not silent. What another service waits for is no reason to look away from this
//! one.

use crate::core::model::{RolloutId, TargetName};
use crate::core::rollout::Event;

use super::World;
use super::world::Active;

impl World {
    /// The rollouts that have settled and do not know it yet.
    pub(super) fn settled_rollouts(&self) -> Vec<RolloutId> {
        let settled = self.rollouts.iter().filter(|(_, active)| self.has_settled(active));
        settled.map(|(id, _)| id.clone()).collect()
    }

    /// Tells rollouts that they have settled.
    pub(super) fn settle(&mut self, settled: &[RolloutId]) {
        for id in settled {
            if let Some(active) = self.rollouts.get_mut(id) {
                active.unsettled = false;
            }
            self.feed(id, Event::Settled);
            self.changed = true;
        }
    }

    /// Whether DNS said something about a name, or there is nothing to ask.
    fn has_been_asked(&self, name: &TargetName) -> bool {
        !name.is_of_dns() || self.resolver.knows(name) || self.resolver.failure(name).is_some()
    }

    fn has_settled(&self, active: &Active) -> bool {
        let spec = active.rollout.spec();
        let mut targets =
            [&spec.blue, &spec.green].into_iter().flat_map(|g| self.kept.live.targets(g));
        let groups = [&spec.blue, &spec.green].into_iter().filter_map(|g| self.groups.get(g));
        let mut names = groups.flat_map(|group| &group.record.targets).map(|t| &t.address);
        active.unsettled
            && names.all(|name| self.has_been_asked(name))
            && self.alarms.have_judged(spec)
            && targets.all(|target| self.prober.is_decided(target))
    }
}
