//! The steps of a rollout or a strategy, as a table.

use super::table::table;
use crate::admin::json::{FinalBake, Rollout, Step};
use crate::core::model::Span;

/// The plan of a rollout; a rollback has none.
pub(super) fn render(rollout: &Rollout) -> String {
    if rollout.steps.is_empty() {
        return "no steps: the traffic was taken back at once".to_owned();
    }
    let strategy = rollout.strategy.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("strategy {strategy}\n{}", steps(&rollout.steps, rollout.final_bake.as_ref()))
}

/// Steps one by one.
pub(super) fn steps(steps: &[Step], final_bake: Option<&FinalBake>) -> String {
    let mut number = 0;
    let mut rows: Vec<[String; 4]> = steps
        .iter()
        .map(|step| match step {
            Step::Shift { weight, bake, samples, evidence, promote_early, .. } => {
                number += 1;
                let samples = samples.map(|samples| format!("{samples} requests"));
                let evidence = evidence.then(|| "evidence".to_owned());
                let early = promote_early.then(|| "over when certified".to_owned());
                let asks: Vec<_> = samples.into_iter().chain(evidence).chain(early).collect();
                let bake = if *bake == Span::ZERO { "-".to_owned() } else { bake.to_string() };
                [number.to_string(), weight.to_string(), bake, asks.join(", ")]
            }
            Step::Approval { approval } => {
                let (timeout, then) = (approval.timeout, approval.on_timeout);
                let then = format!("{then:?}").to_lowercase();
                let asks = format!("an approval within {timeout}, else {then}");
                [String::new(), String::new(), String::new(), asks]
            }
        })
        .collect();
    if let Some(bake) = final_bake.filter(|bake| bake.length > Span::ZERO) {
        let kept = bake.keep_blue.map(|kept| format!("blue keeps {kept}")).unwrap_or_default();
        rows.push(["final".to_owned(), String::new(), bake.length.to_string(), kept]);
    }
    table(["STEP", "GREEN", "BAKE", "ASKS FOR"], &rows)
}
