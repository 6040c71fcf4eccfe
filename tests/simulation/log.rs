//! The log of a run: what came in, what was done, and when.

use tidegate::core::model::{Exposure, GroupHealth};
use tidegate::core::rollout::{Effect, Event, GateCall, Observation};

/// Lines of text, or nothing at all where nobody wants them.
#[derive(Debug, Default)]
pub(crate) struct Log(Option<Vec<String>>);

impl Log {
    /// A log that is kept.
    pub(crate) fn kept(first: String) -> Self {
        Self(Some(vec![first]))
    }

    /// Adds a line, which is made only if it is wanted.
    pub(crate) fn note(&mut self, time: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(format!("{time:>9} {}", line()));
        }
    }

    /// What was noted.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

/// An event in one line.
pub(crate) fn event(event: &Event) -> String {
    let Event::Observed(seen) = event else {
        return format!("{event:?}");
    };
    let Observation { green, blue, alarms, scored_green, evidence, slo_breach, freezes } = seen;
    let health = |group: &GroupHealth| format!("{}/{}", group.healthy, group.targets);
    let (green, blue) = (health(green), health(blue));
    let alarms: Vec<_> = alarms.iter().map(|(_, state)| state.as_str()).collect();
    format!(
        "Observed green {green} blue {blue} {alarms:?} {scored_green} {evidence:?} {slo_breach:?} \
         {freezes:?}"
    )
}

/// An effect in one line, below its event.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Expose(of) => format!("  Expose {}", exposure(*of)),
        Effect::Record { fact, actor, reason } => format!("  {fact:?} {} {reason:?}", actor.name),
        Effect::RunGate(call) => {
            let GateCall { gate, stage, step, attempt, .. } = &**call;
            format!("  RunGate {} {stage} step {step} attempt {attempt}", gate.gate)
        }
        Effect::SwapRoles | Effect::Save { .. } | Effect::Notify(_) => format!("  {effect:?}"),
    }
}

/// What a table says, in a few words.
pub(crate) fn exposure(of: Exposure) -> String {
    let Exposure { split, salt, green_exists } = of;
    format!("{} salt {} exists {green_exists}", split.green(), salt.k0)
}
