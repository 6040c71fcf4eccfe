//! The rollout of a simulation: the real machine in a world where everything else goes well.
//!
//! The store confirms every save at once, there are no gates and no alarms, all targets are
//! healthy, and a person approves whatever waits for an approval. So what decides is the
//! comparison, and the strategy with its bakes and what its steps ask for.

use std::collections::VecDeque;

use crate::core::model::{GroupHealth, MonoTime, Now, Span, WallTime};
use crate::core::rollout::{
    Actor, Command, Effect, Event, Evidence, Observation, Rollout, Spec, Verb,
};

use super::objective::Broken;

/// A rollout under way.
#[derive(Clone, Debug)]
pub(super) struct Release {
    rollout: Rollout,
    now: Now,
}

impl Release {
    /// A rollout that was created at the time zero of the simulation.
    pub(super) fn start(spec: Spec) -> Self {
        let now = now(Span::ZERO);
        let (rollout, effects) = Rollout::create(spec, now);
        let mut release = Self { rollout, now };
        release.work_off(saves(&effects).collect());
        release
    }

    /// Somebody looks, this long after the start.
    pub(super) fn look(&mut self, at: Span, scored_green: u64, evidence: Evidence, broken: Broken) {
        self.now = now(at);
        let healthy = GroupHealth { targets: 1, healthy: 1, unknown: 0 };
        let seen = Observation {
            green: healthy,
            blue: healthy,
            alarms: Vec::new(),
            scored_green,
            evidence,
            slo_breach: broken.slo_breach,
            freezes: broken.freezes,
        };
        self.work_off(VecDeque::from([Event::Observed(seen)]));
        if self.rollout.state().approval().is_some() {
            let actor = Actor { name: "simulation".to_owned(), origin: "simulation".to_owned() };
            let command = Command { verb: Verb::Approve, actor, reason: None };
            self.work_off(VecDeque::from([Event::Commanded(command)]));
        }
    }

    /// The rollout as it is.
    pub(super) fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.rollout.state().ending().is_some()
    }

    fn work_off(&mut self, mut waiting: VecDeque<Event>) {
        while let Some(event) = waiting.pop_front() {
            let (next, effects) = self.rollout.clone().handle(event, self.now);
            self.rollout = next;
            waiting.extend(saves(&effects));
        }
    }
}

/// The answers of a store that never fails.
fn saves(effects: &[Effect]) -> impl Iterator<Item = Event> + '_ {
    effects.iter().filter_map(|effect| match effect {
        Effect::Save { seq } => Some(Event::Saved { seq: *seq }),
        Effect::Expose(_)
        | Effect::SwapRoles
        | Effect::RunGate(_)
        | Effect::Record { .. }
        | Effect::Notify(_) => None,
    })
}

/// Both clocks, this long after the start.
fn now(at: Span) -> Now {
    Now { wall: WallTime::from_ms(at.ms()), mono: MonoTime::from_ms(at.ms()) }
}
