//! Scenarios: whole rollouts, driven event by event by a pretended world.
//!
//! [`Drive`] is that world: a clock that is set, a store that confirms or is silent, gates that say
//! what they are told to say, and a routing table of which only the last exposure is kept. In every
//! scenario it also checks the two rules that give the engine its shape: green never rises above
//! what the store has confirmed as intended, and a lowering never stands behind a save.

mod commands;
mod deadlines;
mod gates;
mod promote;
mod regressions;
mod restart;
mod steps;

use std::collections::{BTreeMap, VecDeque};

use crate::core::model::{
    AlarmState, AnalysisTerms, Approval, Exposure, FinalBake, GateMode, GateStage, GateUse,
    GroupHealth, MonoTime, Now, OnApprovalTimeout, OnGateError, OnInsufficient, ParamsText,
    Policies, RolloutId, Salt, Sha256, Shift, Span, Step, WallTime, Weight,
};

use super::{
    Actor, Assignment, BoundGate, Cause, Command, Effect, Event, Fact, GateAnswer, GateCall,
    Notice, Observation, Rollout, Spec, StateName, Verb, WatchedAlarm,
};

/// The pretended world around one rollout.
#[derive(Debug)]
struct Drive {
    rollout: Rollout,
    /// What the next look shows.
    seen: Observation,
    /// Scored green requests in a second, while green has weight.
    rate: u64,
    /// Whether the store confirms what it is told to save.
    confirms: bool,
    /// Everything done so far, in order.
    effects: Vec<Effect>,
    /// What the routing table says.
    exposed: Exposure,
    now: Now,
    replies: BTreeMap<&'static str, Option<GateAnswer>>,
    pending: VecDeque<Event>,
    saves: BTreeMap<u64, Rollout>,
    stored: Rollout,
    intended: Vec<(Weight, u64)>,
}

impl Drive {
    /// A rollout that was created and saved; nobody has looked yet.
    fn created(change: impl FnOnce(&mut Spec)) -> Self {
        Self::prepared(BTreeMap::new(), change)
    }

    /// The same, with gates that say something from the first asking on.
    fn prepared(
        replies: BTreeMap<&'static str, Option<GateAnswer>>,
        change: impl FnOnce(&mut Spec),
    ) -> Self {
        let now = Now { wall: WallTime::from_ms(1_000_000), mono: MonoTime::from_ms(7_000) };
        let mut spec = spec();
        change(&mut spec);
        let (rollout, effects) = Rollout::create(spec, now);
        let mut drive = Self {
            stored: rollout.clone(),
            rollout,
            seen: fine(),
            rate: 1,
            confirms: true,
            effects: Vec::new(),
            exposed: Exposure::default(),
            now,
            replies,
            pending: VecDeque::new(),
            saves: BTreeMap::new(),
            intended: Vec::new(),
        };
        drive.absorb(effects);
        drive.work_off();
        drive
    }

    /// A rollout that went as far as it can at once: by default it bakes at 10 %.
    fn started(change: impl FnOnce(&mut Spec)) -> Self {
        let mut drive = Self::created(change);
        drive.look();
        drive
    }

    /// A rollout with one gate at one stage that says something.
    fn with_gate(stage: GateStage, answer: GateAnswer, change: impl FnOnce(&mut Spec)) -> Self {
        let mut drive = Self::prepared(BTreeMap::from([("g", Some(answer))]), |spec| {
            spec.gates = vec![gate("g", &[stage])];
            change(spec);
        });
        drive.look();
        drive
    }

    fn send(&mut self, event: Event) {
        self.pending.push_back(event);
        self.work_off();
    }

    fn work_off(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            if let Event::Saved { seq } = event {
                self.stored = self.saves[&seq].clone();
            }
            let (next, effects) = self.rollout.clone().handle(event, self.now);
            self.rollout = next;
            self.absorb(effects);
        }
    }

    fn absorb(&mut self, effects: Vec<Effect>) {
        let seq = effects
            .iter()
            .find_map(|effect| if let Effect::Save { seq } = effect { Some(*seq) } else { None });
        let mut saved = false;
        for effect in effects {
            match &effect {
                Effect::Expose(exposure) => self.expose(*exposure, saved),
                Effect::Record { fact: Fact::RaiseIntended { to, .. }, .. } => {
                    self.intended.push((*to, seq.expect("an intention is saved at once")));
                }
                Effect::Save { seq } => {
                    saved = true;
                    self.saves.insert(*seq, self.rollout.clone());
                    if self.confirms {
                        self.pending.push_back(Event::Saved { seq: *seq });
                    }
                }
                Effect::RunGate(call) => self.reply(call),
                Effect::SwapRoles | Effect::Record { .. } | Effect::Notify(_) => {}
            }
            self.effects.push(effect);
        }
    }

    fn expose(&mut self, exposure: Exposure, saved: bool) {
        let (before, after) = (self.exposed.split.green(), exposure.split.green());
        if after > before {
            let confirmed = self.stored.seq();
            let may = self.intended.iter().any(|(to, seq)| *to == after && *seq <= confirmed);
            assert!(may, "green rose to {after} before the store knew of it");
        }
        assert!(after >= before || !saved, "green was lowered after a save");
        self.exposed = exposure;
    }

    fn reply(&mut self, call: &GateCall) {
        let reply = self.replies.get(call.name().as_str()).cloned();
        if let Some(answer) = reply.unwrap_or(Some(GateAnswer::Pass)) {
            let (gate, attempt) = (call.name().clone(), call.attempt);
            self.pending.push_back(Event::GateAnswered { gate, attempt, answer, call: None });
        }
    }

    fn gate_says(&mut self, gate: &'static str, answer: GateAnswer) {
        self.replies.insert(gate, Some(answer));
    }

    /// The store confirms everything it was told, and goes on doing so.
    fn store_recovers(&mut self) {
        self.confirms = true;
        let known = self.stored.seq();
        let open: Vec<u64> = self.saves.keys().copied().filter(|seq| *seq > known).collect();
        open.into_iter().for_each(|seq| self.pending.push_back(Event::Saved { seq }));
        self.work_off();
    }

    fn look(&mut self) {
        self.send(Event::Observed(self.seen.clone()));
    }

    /// Time passes and is watched, second by second.
    fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            if self.green() > 0 {
                self.seen.scored_green += self.rate;
            }
            self.leap(Span::from_secs(1));
        }
    }

    /// Time passes at once, with a look at its end.
    fn leap(&mut self, span: Span) {
        self.now = Now { wall: self.now.wall.plus(span), mono: self.now.mono.plus(span) };
        self.look();
    }

    fn say(&mut self, verb: Verb) {
        let actor = Actor { name: "ann".to_owned(), origin: "api".to_owned() };
        let reason = Some("because".to_owned());
        self.send(Event::Commanded(Command { verb, actor, reason }));
    }

    fn alarm(&mut self, state: AlarmState) {
        self.seen.alarms = vec![(alarm_name(), state)];
        self.look();
    }

    /// The process ends, and starts again from what the store has confirmed.
    fn restart(&mut self, served: Exposure, gone: Span) {
        let mut rollout = self.stored.clone();
        rollout.confirmed = 0;
        rollout.store_trouble = None;
        rollout.shadows.clear();
        rollout.seen = None;
        self.seen.scored_green = 0;
        self.now = Now { wall: self.now.wall.plus(gone), mono: MonoTime::from_ms(1) };
        self.exposed = Exposure::lower_of(rollout.exposure(), served);
        self.rollout = rollout;
        self.send(Event::Restored { in_force: self.exposed });
    }

    fn settle(&mut self) {
        self.look();
        self.send(Event::Settled);
    }

    fn state(&self) -> StateName {
        self.rollout.state().name()
    }

    /// Green's weight in the routing table, in basis points.
    fn green(&self) -> u16 {
        self.exposed.split.green().bp()
    }

    fn holds(&self) -> Vec<&'static str> {
        self.rollout.holds().iter().map(super::Hold::kind).collect()
    }

    fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.effects.iter().filter_map(|effect| {
            if let Effect::Record { fact, .. } = effect { Some(fact) } else { None }
        })
    }

    fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.effects.iter().filter_map(|effect| {
            if let Effect::Notify(notice) = effect { Some(notice) } else { None }
        })
    }

    fn calls(&self) -> impl Iterator<Item = &GateCall> {
        self.effects.iter().filter_map(|effect| {
            if let Effect::RunGate(call) = effect { Some(&**call) } else { None }
        })
    }

    /// Every weight that the table had, one after the other.
    fn weights(&self) -> Vec<u16> {
        let exposed = self.effects.iter().filter_map(|effect| {
            if let Effect::Expose(exposure) = effect { Some(exposure) } else { None }
        });
        let mut weights: Vec<u16> = exposed.map(|exposure| exposure.split.green().bp()).collect();
        weights.dedup();
        weights
    }

    fn watched(&self) -> Option<Span> {
        self.rollout.state().bake().map(|bake| bake.watched)
    }

    fn cause(&self) -> Option<&Cause> {
        self.rollout.state().ending().and_then(|ending| ending.cause.as_ref())
    }

    #[track_caller]
    fn is(&self, state: StateName, green: u16) {
        let holds = self.rollout.holds();
        assert_eq!((self.state(), self.green()), (state, green), "holds: {holds:?}");
        assert_eq!(self.rollout.weight(), self.exposed.split.green(), "table and rollout differ");
    }
}

/// 10 % for 10 s, 50 % for 10 s, 100 %; one alarm; no gates; no final bake.
fn spec() -> Spec {
    Spec {
        id: RolloutId::from_draw(1),
        rollback_id: RolloutId::from_draw(2),
        service: "shop".parse().expect("valid"),
        blue: "shop-a".parse().expect("valid"),
        green: "shop-b".parse().expect("valid"),
        blue_revision: Some("v1".parse().expect("valid")),
        green_revision: "v2".parse().expect("valid"),
        strategy: "careful".parse().expect("valid"),
        steps: vec![shift(1_000, 10), shift(5_000, 10), shift(10_000, 0)],
        final_bake: FinalBake::default(),
        gates: Vec::new(),
        alarms: vec![WatchedAlarm {
            name: alarm_name(),
            on_insufficient: OnInsufficient::default(),
            source: None,
        }],
        policies: Policies::default(),
        salt: Salt { k0: 3, k1: 4 },
        description: String::new(),
        created: WallTime::from_ms(1_000_000),
        created_by: Actor { name: "pipeline".to_owned(), origin: "api".to_owned() },
        analysis: AnalysisTerms::default(),
        assignment: Assignment::default(),
    }
}

fn alarm_name() -> crate::core::model::AlarmName {
    "errors".parse().expect("valid")
}

/// Both sides healthy, the alarm OK, nothing to compare.
fn fine() -> Observation {
    let healthy = GroupHealth { targets: 2, healthy: 2, unknown: 0 };
    let alarms = vec![(alarm_name(), AlarmState::Ok)];
    Observation { green: healthy, blue: healthy, alarms, ..Observation::default() }
}

fn weight(bp: u16) -> Weight {
    Weight::from_bp(bp).expect("valid")
}

fn shift(bp: u16, bake_secs: u64) -> Step {
    Step::Shift(Shift::timed(weight(bp), Span::from_secs(bake_secs)))
}

fn approval(timeout_secs: u64, on_timeout: OnApprovalTimeout) -> Step {
    Step::Approval(Approval { timeout: Span::from_secs(timeout_secs), on_timeout })
}

fn final_bake(secs: u64, keep_blue: Option<u16>) -> FinalBake {
    FinalBake { length: Span::from_secs(secs), keep_blue: keep_blue.map(weight) }
}

fn gate(name: &str, at: &[GateStage]) -> BoundGate {
    let usage = GateUse {
        gate: name.parse().expect("valid"),
        at: at.to_vec(),
        params: ParamsText::default(),
        on_error: OnGateError::Hold,
        every: Span::from_secs(5),
        mode: GateMode::Enforce,
        on_timeout: None,
    };
    BoundGate { usage, digest: Sha256::of(name.as_bytes()) }
}

fn gate_fail() -> GateAnswer {
    GateAnswer::Fail { reason: "budget is burnt".to_owned() }
}

fn gate_hold() -> GateAnswer {
    GateAnswer::Hold { reason: "not yet".to_owned(), retry_after: None }
}

fn gate_error() -> GateAnswer {
    let kind = super::GateErrorKind::Trap;
    GateAnswer::Error { kind, text: "unreachable".to_owned() }
}
