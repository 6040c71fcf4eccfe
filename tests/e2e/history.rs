//! A rollout's history in the ledger: no step and no gate is skipped, and nothing is done that was
//! not intended, and saved, before.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate::core::ledger::Entry;
use tidegate::core::model::{GateStage, Weight};
use tidegate::core::rollout::{Fact, GateAnswer, Outcome};

/// The weights of the strategy that the histories are of, in basis points.
pub(crate) const STEPS: [u16; 3] = [2_000, 5_000, 10_000];

/// What a rollout has done so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The step under way; `None` before the first.
    step: Option<u32>,
    /// Steps whose gate has said yes.
    passed: BTreeSet<u32>,
    /// Steps whose bake was over.
    baked: BTreeSet<u32>,
    /// The highest weight that was intended.
    intended: Weight,
    /// The highest weight that green had.
    raised: Weight,
    /// How it has ended.
    outcome: Option<Outcome>,
}

impl History {
    /// Reads the entries of one rollout, and checks each by those before it.
    pub(crate) fn read(entries: &[Entry]) -> Self {
        let mut history = Self::default();
        for entry in entries {
            let detail: Value = serde_json::from_str(&entry.detail).expect("JSON");
            // What is no fact of a rollout, or has no payload, does not matter here.
            if let Ok(fact) = serde_json::from_value(json!({ &entry.kind: detail })) {
                history.take(&fact);
            }
        }
        history
    }

    /// The highest weight that it was saved to go to.
    pub(crate) fn intended(&self) -> Weight {
        self.intended
    }

    /// Checks the history of one that is over.
    pub(crate) fn assert_whole(&self, outcome: Outcome) {
        assert_eq!(self.outcome, Some(outcome), "{self:?}");
        if outcome == Outcome::Succeeded {
            let all: BTreeSet<u32> = (0..).take(STEPS.len()).collect();
            assert_eq!((&self.passed, &self.baked), (&all, &all), "{self:?}");
            assert_eq!(self.raised, Weight::FULL, "{self:?}");
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a few of many facts are looked at")]
    fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::StepBegan { step, weight } => {
                assert_eq!(*weight, planned(*step));
                // A restart may begin the step under way once more.
                let next = self.step.map_or(0, |step| step + 1);
                let all_baked = (0..*step).all(|earlier| self.baked.contains(&earlier));
                assert!(self.step == Some(*step) || (*step == next && all_baked), "{self:?}");
                self.step = Some(*step);
            }
            Fact::GateAnswered { stage: GateStage::BeforeStep, step, answer, .. } => {
                assert_eq!(self.step, Some(*step), "{self:?}");
                if *answer == GateAnswer::Pass {
                    self.passed.insert(*step);
                }
            }
            Fact::RaiseIntended { step, to, .. } => {
                assert_eq!(self.step, Some(*step), "{self:?}");
                assert!(self.passed.contains(step), "the gate was not asked: {self:?}");
                assert_eq!(*to, planned(*step));
                self.intended = self.intended.max(*to);
            }
            Fact::GreenRaised { to, .. } => {
                assert_eq!((self.step.map(planned), self.outcome), (Some(*to), None), "{self:?}");
                assert!(*to <= self.intended, "{to} was not intended: {self:?}");
                self.raised = self.raised.max(*to);
            }
            Fact::BakeOver { step, .. } => {
                assert_eq!(self.step, Some(*step), "{self:?}");
                assert!(self.raised >= planned(*step), "{self:?}");
                self.baked.insert(*step);
            }
            Fact::Ended { outcome, .. } => self.outcome = Some(*outcome),
            _ => {}
        }
    }
}

fn planned(step: u32) -> Weight {
    let bp = usize::try_from(step).ok().and_then(|step| STEPS.get(step));
    bp.and_then(|bp| Weight::from_bp(*bp).ok()).expect("one of the steps")
}
