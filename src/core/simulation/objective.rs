//! The objective in a simulation: both sides' burn rates and absolute processes, and what they call
//! for.
//!
//! Blue has an hour's past at its usual rate, as it has in a process that runs; without one, a few
//! failures at the beginning would be a high rate.

use crate::core::analysis::comparison::Comparator;
use crate::core::analysis::{Action, BurnWatch, Findings, OnSharedDegradation, RollbackReason};
use crate::core::model::{MonoTime, Objective, Side, Span, Weight};
use crate::core::rollout::Hold;

use super::minute::SideCount;
use super::scenario::Scenario;

/// What the objective calls for.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// Why the traffic goes back; `None` if it does not.
    pub(super) slo_breach: Option<String>,
    /// Why the weight is held.
    pub(super) freezes: Vec<Hold>,
}

/// Both sides under an objective.
#[derive(Debug)]
pub(super) struct ObjectiveWatch {
    objective: Objective,
    on_shared: OnSharedDegradation,
    green: BurnWatch,
    blue: BurnWatch,
}

impl ObjectiveWatch {
    /// The watch of a scenario; `None` without an objective.
    pub(super) fn of(scenario: &Scenario) -> Option<Self> {
        let objective = scenario.judging.slo?;
        let mut blue = BurnWatch::new(objective.share(), (0, 0));
        let failing = scenario.blue_errors.probability();
        for second in (0..PAST.ms() / 1_000).step_by(60) {
            let requests = scenario.traffic.in_ms(1_000 * second);
            let failed = (requests as f64 * failing) as u64;
            blue.look(MonoTime::from_ms(1_000 * second), (failed, requests));
        }
        blue.rebase((0, 0));
        Some(Self {
            objective,
            on_shared: scenario.judging.on_shared_degradation.into(),
            green: BurnWatch::new(objective.share(), (0, 0)),
            blue,
        })
    }

    /// Looks at what was counted of green and of blue, this long after the start.
    pub(super) fn look(
        &mut self,
        at: Span,
        (green, blue): (SideCount, SideCount),
        comparator: &Comparator,
    ) -> Broken {
        let now = MonoTime::from_ms(at.saturating_add(PAST).ms());
        self.green.look(now, (green.failed, green.requests));
        self.blue.look(now, (blue.failed, blue.requests));
        let weight = comparator.newest().map_or(Weight::ZERO, |newest| newest.weight);
        let alarms = |side| comparator.absolute_alarm(side).is_some();
        let findings = Findings {
            green_is_worse: comparator.crossed().is_some(),
            green_alarms: alarms(Side::Green) || self.green.seen().pages(),
            blue_alarms: alarms(Side::Blue) || self.blue.seen().pages(),
            nobody_to_compare_with: weight == Weight::FULL,
        };
        let mut broken = Broken::default();
        let told = |words: &str| format!("{words} (the objective is {})", self.objective);
        match findings.call_for(self.on_shared) {
            Action::None | Action::RollBack { because: RollbackReason::Worse } => {}
            Action::RollBack {
                because: because @ (RollbackReason::Alone | RollbackReason::Shared),
            } => broken.slo_breach = Some(told(because.as_str())),
            Action::Freeze { because } => {
                broken.freezes.push(Hold::Degraded { reason: told(because.as_str()) });
            }
        }
        broken
    }
}

/// For how long blue has served when the rollout begins.
const PAST: Span = Span::from_hours(1);
