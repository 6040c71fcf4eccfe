//! A rollout.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Analysis, FinalBake, LedgerEntry, Step, Timestamp};
use crate::control::{RollbackOf, RolloutView};
use crate::core::model::{Revision, RolloutId, ServiceName, Span, StrategyName, Weight};
use crate::core::rollout::{Hold, Stage, StateName};

/// A rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Its id.
    #[schema(value_type = String, example = "d-7Q2K9XW4A")]
    pub id: RolloutId,
    /// Its service.
    #[schema(value_type = String, example = "shop")]
    pub service: ServiceName,
    /// Where it is: `created`, `installing`, `testing`, `ready`, `shifting`, `baking`,
    /// `succeeded`, `rolled_back`, `stopped` or `failed`.
    #[schema(value_type = String, example = "shifting")]
    pub state: StateName,
    /// The lifecycle stage in CodeDeploy's words.
    #[schema(value_type = String, example = "AllowTraffic")]
    pub stage: Stage,
    /// How many planned weights lie behind it.
    pub step: u32,
    /// The planned steps; none for a rollback.
    pub steps: Vec<Step>,
    /// Green's weight as last exposed.
    #[schema(value_type = String, example = "10%")]
    pub weight: Weight,
    /// The same in basis points.
    pub green_bp: u16,
    /// What is rolled out, or came back; absent if nobody ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "v2")]
    pub revision: Option<Revision>,
    /// The strategy; absent for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub strategy: Option<StrategyName>,
    /// The bake after the last step; absent for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_bake: Option<FinalBake>,
    /// What the deploy tool said about it.
    pub description: String,
    /// Who created it; absent for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Why it does not advance; empty while it just takes its time.
    pub holds: Vec<HoldText>,
    /// Why it ended, or is about to; absent where nothing spoke against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The bake under way; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Bake>,
    /// Requests that were drawn for green.
    pub green_requests: u64,
    /// Those that failed there.
    pub green_failed: u64,
    /// Those of them that no user saw: a second attempt was answered.
    #[serde(default)]
    pub rescued: u64,
    /// Those of them that a user saw.
    #[serde(default)]
    pub leaked: u64,
    /// Requests that green was sent after the verdict against it fell.
    #[serde(default)]
    pub sent_after_verdict: u64,
    /// Requests to green that are not over yet; counted on after the end.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests to green of which it will not be known any more what they came to.
    #[serde(default)]
    pub outcomes_missing: u64,
    /// The comparison of green with blue; absent where nothing is or was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// When it was created.
    pub created: Timestamp,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// The rollout that this rollback took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rollback_of: Option<RolloutId>,
    /// The rollback that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rolled_back_by: Option<RolloutId>,
    /// Whether the change is saved; only in the answer to a command. An abort is answered before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persisted: Option<bool>,
    /// Its last entries of the ledger, newest last; only in the answer to a read of this one, and
    /// absent there when the ledger cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<LedgerEntry>>,
}

/// Why a rollout does not advance now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldText {
    /// A word for programs.
    #[schema(example = "samples")]
    pub kind: String,
    /// A sentence for people.
    #[schema(example = "312 more green requests")]
    pub text: String,
}

/// A bake under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bake {
    /// How long it is meant to be.
    #[schema(value_type = String, example = "5m")]
    pub length: Span,
    /// The same in milliseconds.
    pub length_ms: u64,
    /// The time watched so far.
    #[schema(value_type = String, example = "1m30s")]
    pub watched: Span,
    /// The same in milliseconds.
    pub watched_ms: u64,
    /// Green requests scored in it.
    pub scored: u64,
}

impl From<&Hold> for HoldText {
    fn from(hold: &Hold) -> Self {
        Self { kind: hold.kind().to_owned(), text: hold.to_string() }
    }
}

impl From<(Span, Span, u64)> for Bake {
    fn from((length, watched, scored): (Span, Span, u64)) -> Self {
        Self { length, length_ms: length.ms(), watched, watched_ms: watched.ms(), scored }
    }
}

impl From<&RolloutView> for Rollout {
    fn from(view: &RolloutView) -> Self {
        let spec = view.spec.as_deref();
        let (rollback_of, rolled_back_by) = match &view.link {
            RollbackOf::None => (None, None),
            RollbackOf::RollbackOf(id) => (Some(id.clone()), None),
            RollbackOf::RolledBackBy(id) => (None, Some(id.clone())),
        };
        Self {
            id: view.id.clone(),
            service: view.service.clone(),
            state: view.state,
            stage: view.stage,
            step: view.step,
            steps: spec.map(Step::all).unwrap_or_default(),
            weight: view.weight,
            green_bp: view.weight.bp(),
            revision: view.revision.clone(),
            strategy: spec.map(|spec| spec.strategy.clone()),
            final_bake: spec.map(|spec| spec.final_bake.into()),
            description: spec.map(|spec| spec.description.clone()).unwrap_or_default(),
            created_by: spec.map(|spec| spec.created_by.name.clone()),
            holds: view.holds.iter().map(HoldText::from).collect(),
            cause: view.cause.as_ref().map(ToString::to_string),
            bake: view.bake.map(Bake::from),
            green_requests: view.tally.green_requests,
            green_failed: view.tally.green_failed,
            rescued: view.tally.rescued,
            leaked: view.tally.leaked(),
            sent_after_verdict: view.tally.sent_after_verdict,
            in_flight: view.tally.in_flight,
            outcomes_missing: view.tally.outcomes_missing,
            analysis: view.analysis.as_ref().map(Analysis::from),
            created: Timestamp(view.created),
            ended: view.ended.map(Timestamp),
            rollback_of,
            rolled_back_by,
            persisted: None,
            history: None,
        }
    }
}
