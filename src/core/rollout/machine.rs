//! The machine: what every event does to a rollout.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::model::{
    Exposure, GateMode, GateName, GateStage, Now, OnGateError, Salt, Sha256, Span, Split, Weight,
};

use super::effect::Effects;
use super::{
    Actor, Cause, Effect, Event, Fact, GateAnswer, GateCall, Hold, Observation, Regression, Round,
    Spec, Stage, State, Timeline,
};

/// One attempt to move a service from blue to green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub(super) spec: Arc<Spec>,
    pub(super) state: State,
    pub(super) timeline: Timeline,
    /// When the state, or the step in it, began, in elapsed time.
    pub(super) entered: Span,
    /// Green's weight as last exposed.
    pub(super) weight: Weight,
    /// Whether green ever had weight, or the intention to give it some was saved.
    pub(super) had_traffic: bool,
    /// Who paused it and why; `None` while its clock runs.
    pub(super) paused: Option<(String, Option<String>)>,
    /// Whether the process started and little is known yet.
    pub(super) restarting: bool,
    /// The regression that was found; `None` if none is open.
    pub(super) regression: Option<Regression>,
    /// What a person took upon themselves: conditions until they clear, the rest for this step.
    pub(super) overridden: Vec<Cause>,
    /// What people were told about, for as long.
    pub(super) told: Vec<Cause>,
    /// The number of the last asking of any gate.
    pub(super) attempt: u32,
    /// The number of the last save.
    pub(super) seq: u64,
    /// When it was last saved, in elapsed time.
    pub(super) saved_at: Span,
    /// The notable holds as last recorded.
    pub(super) recorded_holds: Vec<Hold>,
    /// The last save that the store confirmed.
    #[serde(skip)]
    pub(super) confirmed: u64,
    /// What the store said when it could not save; `None` while it can.
    #[serde(skip)]
    pub(super) store_trouble: Option<String>,
    /// Askings of shadow gates that have not been answered: the rollout does not wait for them, so
    /// the answer may come when their stage is over.
    #[serde(skip)]
    pub(super) shadows: Vec<ShadowCall>,
    /// What was last seen; nothing is known until somebody looked.
    #[serde(skip)]
    pub(super) seen: Option<Observation>,
}

/// A question to a gate that is only listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShadowCall {
    attempt: u32,
    stage: GateStage,
    step: u32,
}

/// The most answers of shadow gates that are remembered as outstanding.
const SHADOWS: usize = 64;

/// How often a rollout that only bakes is saved, so that a restart loses little of a bake.
const CHECKPOINT: Span = Span::from_secs(5);

impl Rollout {
    /// Creates a rollout. The caller saves it before it tells anybody.
    #[must_use]
    pub fn create(spec: Spec, now: Now) -> (Self, Vec<Effect>) {
        let by = spec.created_by.clone();
        let description = Some(spec.description.clone()).filter(|text| !text.is_empty());
        let round = Round::begin(&spec, GateStage::BeforeInstall, Span::ZERO);
        let mut rollout = Self {
            spec: Arc::new(spec),
            state: State::Created(round),
            timeline: Timeline::begin(now),
            entered: Span::ZERO,
            weight: Weight::ZERO,
            had_traffic: false,
            paused: None,
            restarting: false,
            regression: None,
            overridden: Vec::new(),
            told: Vec::new(),
            attempt: 0,
            seq: 0,
            saved_at: Span::ZERO,
            recorded_holds: Vec::new(),
            confirmed: 0,
            store_trouble: None,
            shadows: Vec::new(),
            seen: None,
        };
        let mut out = Effects::default();
        out.record_by(Fact::RolloutCreated, by, description);
        rollout.conclude(&mut out);
        (rollout, out.list)
    }

    /// Answers an event: gives the rollout after it, and what is to be done, in order.
    #[must_use]
    pub fn handle(mut self, event: Event, now: Now) -> (Self, Vec<Effect>) {
        let mut out = Effects::default();
        if let Event::Restored { in_force } = event {
            self.restore(in_force, now, &mut out);
        } else {
            let watched = self.timeline.advance(now);
            self.count_watched(watched);
            self.answer(event, &mut out);
        }
        self.conclude(&mut out);
        (self, out.list)
    }

    fn answer(&mut self, event: Event, out: &mut Effects) {
        match event {
            Event::Ticked | Event::Restored { .. } => {}
            Event::Observed(seen) => self.observe(seen),
            Event::GateAnswered { gate, attempt, answer, call } => {
                let place = self.state.round().and_then(|round| round.waiting_for(attempt));
                match place {
                    Some(place) => self.take_answer(place, (answer, call), out),
                    None => self.take_late_answer(gate, attempt, (answer, call), out),
                }
            }
            Event::Saved { seq } => {
                self.confirmed = self.confirmed.max(seq);
                self.store_trouble = None;
                self.settle_ending(out);
            }
            Event::SaveFailed { reason } => self.store_trouble = Some(reason),
            Event::Settled => self.restarting = false,
            Event::Commanded(command) => self.command(&command, out),
        }
    }

    /// Everything that follows by itself, then the save if there is something to save.
    fn conclude(&mut self, out: &mut Effects) {
        if self.state.ending().is_none() {
            self.judge(out);
            self.progress(out);
            self.record_holds(out);
        }
        let elapsed = self.timeline.elapsed();
        let stale = elapsed.saturating_sub(self.saved_at) >= CHECKPOINT;
        if out.dirty || (self.state.ending().is_none() && stale) {
            self.seq += 1;
            self.saved_at = elapsed;
            out.push(Effect::Save { seq: self.seq });
        }
    }

    fn restore(&mut self, in_force: Exposure, now: Now, out: &mut Effects) {
        let gone = self.timeline.resume(now);
        self.confirmed = self.seq;
        if self.state.ending().is_some() {
            self.settle_ending(out);
            return;
        }
        out.record(Fact::Restored { gone });
        let own = self.exposure();
        let closed = in_force.salt == own.salt && !in_force.green_exists && own.green_exists;
        if closed && in_force.split == Split::ALL_BLUE {
            // A table gets the salt when green opens, so green was closed again since, which only
            // the end of a rollout does: it was decided and swapped, not saved.
            self.take_back(Some(Cause::TakenBackUnrecorded), &self.system(), out);
            return;
        }
        self.restarting = true;
        let elapsed = self.timeline.elapsed();
        if let Some(round) = self.state.round_mut() {
            round.forget_waiting(elapsed);
        }
        if in_force.split.green() < self.weight {
            self.fall_back_to(in_force.split.green(), out);
        } else {
            out.push(Effect::Expose(own));
        }
    }

    fn count_watched(&mut self, watched: Span) {
        if self.paused.is_some() || self.restarting {
            return;
        }
        if let Some(bake) = self.state.bake_mut() {
            bake.watched = bake.watched.saturating_add(watched).min(bake.length);
        }
    }

    fn observe(&mut self, seen: Observation) {
        let before = self.seen.as_ref().map_or(seen.scored_green, |before| before.scored_green);
        let more = seen.scored_green.saturating_sub(before);
        if let Some(bake) = self.state.bake_mut() {
            bake.scored = bake.scored.saturating_add(more);
        }
        self.seen = Some(seen);
    }

    fn take_answer(
        &mut self,
        place: usize,
        (answer, call): (GateAnswer, Option<Sha256>),
        out: &mut Effects,
    ) {
        let elapsed = self.timeline.elapsed();
        let step = self.step();
        let regressed = self.regression.is_some();
        let Some(round) = self.state.round_mut() else {
            return;
        };
        let stage = round.stage;
        let attempt = round.asked[place].attempt;
        let usage = self.spec.gates[round.asked[place].gate].usage.clone();
        let news = round.note_answer(&self.spec, place, &answer, elapsed);
        let shadow = usage.mode == GateMode::Shadow;
        let failure = match &answer {
            GateAnswer::Fail { reason } => Some(reason.clone()),
            GateAnswer::Error { kind, text } if kind.leads_to(&usage) == OnGateError::Rollback => {
                Some(format!("{}: {text}", kind.as_str()))
            }
            GateAnswer::Pass | GateAnswer::Hold { .. } | GateAnswer::Error { .. } => None,
        };
        if let Some(reason) = failure.clone().filter(|_| regressed && !shadow) {
            round.note_held(place, reason);
        }
        self.shadows.retain(|call| call.attempt != attempt);
        if news || failure.is_some() || stage != GateStage::DuringStep {
            let gate = usage.gate.clone();
            out.record(Fact::GateAnswered { gate, stage, step, attempt, answer, shadow, call });
        }
        if let Some(reason) = failure.filter(|_| !shadow) {
            self.regress(Cause::Gate { gate: usage.gate, stage, reason }, out);
        }
    }

    /// Records what a shadow gate said when its stage was over, or that nobody waited for it.
    fn take_late_answer(
        &mut self,
        gate: GateName,
        attempt: u32,
        (answer, call): (GateAnswer, Option<Sha256>),
        out: &mut Effects,
    ) {
        match self.shadows.iter().position(|shadow| shadow.attempt == attempt) {
            Some(place) => {
                let ShadowCall { stage, step, .. } = self.shadows.remove(place);
                let shadow = true;
                let fact = Fact::GateAnswered { gate, stage, step, attempt, answer, shadow, call };
                out.record(fact);
            }
            None => out.record(Fact::AnswerDropped { gate, attempt }),
        }
    }

    /// Asks every gate of the present round that is due.
    pub(super) fn ask_gates(&mut self, out: &mut Effects) {
        let elapsed = self.timeline.elapsed();
        while let Some(place) = self.state.round().and_then(|round| round.next_due(elapsed)) {
            self.attempt += 1;
            let attempt = self.attempt;
            if let Some(round) = self.state.round_mut() {
                round.note_asked(place, attempt, elapsed);
                let (gate, stage) = (round.asked[place].gate, round.stage);
                let call = self.gate_call(gate, stage, attempt);
                if call.gate.mode == GateMode::Shadow {
                    self.shadows.truncate(SHADOWS - 1);
                    self.shadows.insert(0, ShadowCall { attempt, stage, step: call.step });
                }
                out.push(Effect::RunGate(Box::new(call)));
            }
        }
    }

    pub(super) fn gate_call(&self, gate: usize, stage: GateStage, attempt: u32) -> GateCall {
        let bound = &self.spec.gates[gate];
        GateCall {
            rollout: self.spec.id.clone(),
            service: self.spec.service.clone(),
            gate: bound.usage.clone(),
            digest: bound.digest,
            stage,
            step: self.step(),
            attempt,
            blue_revision: self.spec.blue_revision.clone(),
            green_revision: self.spec.green_revision.clone(),
            weight: self.weight,
            next_weight: self.next_weight(stage),
            elapsed: self.timeline.elapsed(),
        }
    }

    fn next_weight(&self, stage: GateStage) -> Weight {
        let leads_on = match stage {
            GateStage::BeforeStep | GateStage::BeforeAllowTraffic => self.step_index(),
            GateStage::BeforeInstall
            | GateStage::AfterInstall
            | GateStage::AfterAllowTestTraffic
            | GateStage::AfterAllowTraffic
            | GateStage::DuringStep
            | GateStage::OnRollback
            | GateStage::AfterRollback => None,
        };
        leads_on.and_then(|index| self.spec.shift_at(index)).map_or(self.weight, |s| s.weight)
    }

    /// What the routing table must say about green.
    ///
    /// Until green opens that is nothing, not even the salt: a table with the salt and without
    /// green can then only be one whose green was closed again.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        let (green_exists, salt) = match self.state.stage() {
            Stage::BeforeInstall | Stage::Install | Stage::AfterInstall => (false, Salt::default()),
            Stage::AfterAllowTestTraffic
            | Stage::Ready
            | Stage::BeforeAllowTraffic
            | Stage::AllowTraffic
            | Stage::AfterAllowTraffic
            | Stage::FinalBake => (true, self.spec.salt),
            Stage::End => (false, self.spec.salt),
        };
        Exposure { split: Split::with_green(self.weight), salt, green_exists }
    }

    /// What it runs on.
    #[must_use]
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Green's weight as last exposed.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// Time since creation, downtime included.
    #[must_use]
    pub fn elapsed(&self) -> Span {
        self.timeline.elapsed()
    }

    /// The number of the last save.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether green ever had weight, or was about to.
    #[must_use]
    pub fn had_traffic(&self) -> bool {
        self.had_traffic
    }

    /// The regression that was found; `None` if none is open.
    #[must_use]
    pub fn regression(&self) -> Option<&Regression> {
        self.regression.as_ref()
    }

    /// The number of the present step, or of the one it ended in, from 0; 0 before the first.
    #[must_use]
    pub fn step(&self) -> u32 {
        match self.state.ending() {
            Some(ending) => ending.step,
            None => self.step_index().map_or(0, |index| self.spec.step_number(index)),
        }
    }

    /// Tells who does what follows from a decision of its own.
    pub(super) fn system(&self) -> Actor {
        Actor::tidegate()
    }
}
