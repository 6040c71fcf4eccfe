//! What a rollout runs on: a snapshot taken when it was created, which no reload changes.

use serde::{Deserialize, Serialize};

use crate::core::model::{
    AlarmName, AlarmSource, AnalysisTerms, FinalBake, GateStage, GateUse, OnInsufficient, Policies,
    Revision, RolloutId, Salt, ServiceName, Sha256, Shift, Step, Stickiness, StrategyName,
    TargetGroupName, WallTime, Weight,
};

use super::Actor;

/// A gate with the digest that the rollout started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundGate {
    /// Which gate, where, with what.
    pub usage: GateUse,
    /// The component.
    pub digest: Sha256,
}

/// An alarm that judges the rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedAlarm {
    /// Which alarm.
    pub name: AlarmName,
    /// What INSUFFICIENT_DATA does.
    pub on_insufficient: OnInsufficient,
    /// What it was when the rollout was created; `None` in records that do not say, whose rollout
    /// is judged by what the configuration says.
    #[serde(default)]
    pub source: Option<AlarmSource>,
}

/// Who is drawn while a rollout runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// Whoever the configuration says: in records that do not say.
    #[default]
    AsConfigured,
    /// Each request for itself.
    Requests,
    /// Users, who are known by this and stay on their side.
    Users(Stickiness),
}

impl Assignment {
    /// What it is under a configuration; `None`: the service has no stickiness.
    #[must_use]
    pub fn of(stickiness: Option<&Stickiness>) -> Self {
        stickiness.map_or(Self::Requests, |stickiness| Self::Users(stickiness.clone()))
    }
}

/// Everything a rollout needs to know to run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its id.
    pub id: RolloutId,
    /// The id that its rollback will have, drawn beforehand.
    pub rollback_id: RolloutId,
    /// Its service.
    pub service: ServiceName,
    /// The group that serves.
    pub blue: TargetGroupName,
    /// The group that is rolled out.
    pub green: TargetGroupName,
    /// What blue runs; `None` if no deploy tool ever said so.
    pub blue_revision: Option<Revision>,
    /// What green runs.
    pub green_revision: Revision,
    /// The strategy's name.
    pub strategy: StrategyName,
    /// Its steps; the last is a shift to 100 %.
    pub steps: Vec<Step>,
    /// The bake after the last step.
    pub final_bake: FinalBake,
    /// The gates it asks.
    pub gates: Vec<BoundGate>,
    /// The alarms that judge it, without those that the starter chose to ignore.
    pub alarms: Vec<WatchedAlarm>,
    /// How it is judged and bounded.
    pub policies: Policies,
    /// The salt of its cohorts.
    pub salt: Salt,
    /// What the deploy tool said about it.
    pub description: String,
    /// When it was created.
    pub created: WallTime,
    /// Who created it.
    pub created_by: Actor,
    /// What it is compared by.
    #[serde(default)]
    pub analysis: AnalysisTerms,
    /// Who is drawn.
    #[serde(default)]
    pub assignment: Assignment,
}

impl Spec {
    /// The shift at a place in the list of steps, its weight as it will be set: the last one
    /// leaves blue what the final bake keeps for it, but never lowers green.
    #[must_use]
    pub fn shift_at(&self, index: usize) -> Option<Shift> {
        let Some(Step::Shift(shift)) = self.steps.get(index) else {
            return None;
        };
        let kept = self.final_bake.keep_blue.filter(|_| shift.weight == Weight::FULL);
        let Some(kept) = kept else {
            return Some(*shift);
        };
        let before = self.steps[..index].iter().rev().find_map(|step| match step {
            Step::Shift(earlier) => Some(earlier.weight),
            Step::Approval(_) => None,
        });
        let weight = kept.complement().max(before.unwrap_or_default());
        Some(Shift { weight, ..*shift })
    }

    /// The place of the last shift.
    #[must_use]
    pub fn last_shift(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// How many shifts stand before a place: the step's number as people count, from 0.
    #[must_use]
    pub fn step_number(&self, index: usize) -> u32 {
        let before = self.steps.iter().take(index).filter(|step| matches!(step, Step::Shift(_)));
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    /// The places in the list of gates of those that are asked at a stage.
    pub fn gates_at(&self, stage: GateStage) -> impl Iterator<Item = usize> + '_ {
        self.gates
            .iter()
            .enumerate()
            .filter(move |(_, gate)| gate.usage.at.contains(&stage))
            .map(|(index, _)| index)
    }
}
