//! Colours. They are written always, and taken out again where the output is no terminal
//! (`anstream`), so that no code has to ask.

use anstyle::{AnsiColor, Style};

use crate::core::model::{AlarmState, GateReadiness};
use crate::core::rollout::StateName;

/// Something that is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something that needs a look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Something that is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// A rollout's state in its colour.
pub(super) fn state(state: StateName) -> String {
    let style = match state {
        StateName::Succeeded => GOOD,
        StateName::RolledBack | StateName::Failed => BAD,
        StateName::Stopped | StateName::Ready => WARN,
        StateName::Created
        | StateName::Installing
        | StateName::Testing
        | StateName::Shifting
        | StateName::Baking => AnsiColor::Cyan.on_default(),
    };
    format!("{style}{state}{style:#}")
}

/// An alarm's state in its colour.
pub(super) fn alarm(state: AlarmState) -> String {
    let style = match state {
        AlarmState::Ok => GOOD,
        AlarmState::Alarm => BAD,
        AlarmState::InsufficientData => WARN,
    };
    format!("{style}{state}{style:#}")
}

/// Whether a gate can be asked, in its colour.
pub(super) fn gate(readiness: GateReadiness) -> String {
    let style = match readiness {
        GateReadiness::Ready => GOOD,
        GateReadiness::CircuitOpen | GateReadiness::NotLoaded => BAD,
        GateReadiness::NoComponent => WARN,
    };
    format!("{style}{readiness}{style:#}")
}

/// Healthy targets of all, red when some are missing.
pub(super) fn healthy(healthy: u32, targets: usize) -> String {
    let all = usize::try_from(healthy).is_ok_and(|healthy| healthy == targets);
    let style = if all { Style::new() } else { BAD };
    format!("{style}{healthy}/{targets}{style:#}")
}
