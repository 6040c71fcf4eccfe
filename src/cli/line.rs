//! A rollout on one line.

use super::screen::plain;
use super::{style, why};
use crate::admin::json::{Rollout, Step};
use crate::core::model::Span;
use crate::core::rollout::StateName;

/// The step as people count, of all: `2/4`; nothing where there is no step.
pub(super) fn step(rollout: &Rollout) -> String {
    let all = rollout.steps.iter().filter(|step| matches!(step, Step::Shift { .. })).count();
    let present = usize::try_from(rollout.step).unwrap_or(usize::MAX);
    match rollout.state {
        StateName::Shifting => format!("{}/{all}", present.saturating_add(1).min(all)),
        StateName::Baking => format!("{all}/{all}"),
        StateName::Created
        | StateName::Installing
        | StateName::Testing
        | StateName::Ready
        | StateName::Succeeded
        | StateName::RolledBack
        | StateName::Stopped
        | StateName::Failed => String::new(),
    }
}

/// Everything that changes: when, state, step, weight, bake, requests, holds or cause.
pub(super) fn line(elapsed: Span, rollout: &Rollout) -> String {
    let mut parts = vec![format!("+{elapsed}"), style::state(rollout.state)];
    let step = step(rollout);
    if !step.is_empty() {
        parts.push(format!("step {step}"));
    }
    parts.push(format!("green {}", rollout.weight));
    if let Some(bake) = rollout.bake {
        parts.push(format!("bake {} of {}", bake.watched.min(bake.length), bake.length));
    }
    if rollout.green_requests > 0 {
        let (requests, failed) = (rollout.green_requests, rollout.green_failed);
        parts.push(format!("{requests} green requests, {failed} failed"));
    }
    if let Some(analysis) = rollout.analysis.as_ref().filter(|_| rollout.green_requests > 0) {
        parts.push(why::short(analysis));
    }
    let holds: Vec<_> = rollout.holds.iter().map(|hold| plain(&hold.text)).collect();
    if !holds.is_empty() {
        parts.push(format!("holds: {}", holds.join("; ")));
    }
    if let Some(cause) = &rollout.cause {
        parts.push(plain(cause));
    }
    if let Some(rollback) = &rollout.rolled_back_by {
        parts.push(format!("rolled back by {rollback}"));
    }
    parts.join("  ")
}

/// What tells one line from the next: figures alone do not.
pub(super) fn same_situation(a: &Rollout, b: &Rollout) -> bool {
    let kinds = |rollout: &Rollout| -> Vec<String> {
        rollout.holds.iter().map(|hold| hold.kind.clone()).collect()
    };
    (a.state, a.stage, a.step, a.weight, &a.cause) == (b.state, b.stage, b.step, b.weight, &b.cause)
        && kinds(a) == kinds(b)
}

/// A bar of ten cells for the present bake.
pub(super) fn bar(rollout: &Rollout) -> String {
    let cells = rollout.bake.map_or(0, |bake| {
        let tenths = (bake.watched_ms * 10).checked_div(bake.length_ms).unwrap_or(10);
        usize::try_from(tenths).unwrap_or(10).min(10)
    });
    format!("{}{}", "█".repeat(cells), "░".repeat(10 - cells))
}

/// Shares of failed requests as little columns; a full one is 10 % or more.
pub(super) fn sparkline(shares: impl IntoIterator<Item = f64>) -> String {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let column = |share: f64| {
        let height = (share * 10.0 * 7.0).ceil().clamp(0.0, 7.0);
        // A number between 0 and 7.
        COLUMNS[height as usize]
    };
    shares.into_iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::rollout;

    #[test]
    fn new_figures_are_not_a_new_situation() {
        let before = rollout();
        let mut after = rollout();
        after.green_requests += 100;
        after.holds[0].text = "212 more green requests".to_owned();
        assert!(same_situation(&before, &after));
        after.holds.clear();
        assert!(!same_situation(&before, &after));
    }

    #[test]
    fn a_sparkline_is_full_at_ten_percent() {
        assert_eq!(sparkline([0.0, 0.001, 0.05, 0.1, 1.0]), "▁▂▅██");
        assert_eq!(sparkline([f64::NAN]), "▁");
    }

    #[test]
    fn a_bar_shows_the_time_watched() {
        let mut baking = rollout();
        assert_eq!(bar(&baking), "██░░░░░░░░");
        baking.bake = baking.bake.map(|bake| crate::admin::json::Bake { length_ms: 0, ..bake });
        assert_eq!(bar(&baking), "██████████");
        baking.bake = None;
        assert_eq!(bar(&baking), "░░░░░░░░░░");
    }
}
