//! What the world around a rollout is like: alarms, health, evidence, gates and people.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt as _};
use tidegate::core::model::{AlarmState, GroupHealth, Span, Weight};
use tidegate::core::rollout::{
    Actor, Command, Evidence, GateCall, Observation, Rollout, Spec, Verb,
};

use crate::gates::{self, Reply};
use crate::plan::draw;

/// The kinds of worlds.
#[derive(Debug)]
pub(crate) enum Nature {
    /// Everything changes all the time; the higher the trouble (0..=10), the worse.
    Changing {
        /// How bad it is.
        trouble: u32,
        /// How it is now.
        sky: Sky,
    },
    /// Everything is well, and somebody helps.
    Calm {
        /// How it is now.
        sky: Sky,
    },
    /// Everything depends only on what is asked, never on when.
    Fixed(Fixed),
}

/// What can be seen.
#[derive(Debug)]
pub(crate) struct Sky {
    alarms: Vec<AlarmState>,
    green: GroupHealth,
    blue: GroupHealth,
    evidence: Evidence,
    slo_breach: bool,
    scored: u64,
    /// Whether alarms have no datapoint yet since the process started.
    blind: bool,
}

/// A world that does not change.
#[derive(Debug)]
pub(crate) struct Fixed {
    seed: u64,
    /// The alarm rises from this weight on; `None` never.
    alarm_from: Option<Weight>,
    green: GroupHealth,
    blue: GroupHealth,
    evidence: Evidence,
    scored_each: u64,
    scored: u64,
    approves_after: Span,
    /// Whether alarms have no datapoint yet since the process started.
    blind: bool,
}

/// More than any step asks for, so that it does not matter how often somebody looks.
const MANY: u64 = 1_000;
const WELL: GroupHealth = GroupHealth { targets: 2, healthy: 2, unknown: 0 };

impl Sky {
    /// Fine weather.
    pub(crate) fn fine(spec: &Spec) -> Self {
        Self {
            alarms: vec![AlarmState::Ok; spec.alarms.len()],
            green: WELL,
            blue: WELL,
            evidence: Evidence::Pass,
            slo_breach: false,
            scored: 0,
            blind: false,
        }
    }

    fn change(&mut self, trouble: u32, rng: &mut SmallRng) {
        let worse = |rng: &mut SmallRng, often: u32| rng.random_ratio(trouble * often, 1_000);
        let better = |rng: &mut SmallRng| rng.random_ratio(1, 5);
        for alarm in &mut self.alarms {
            if worse(rng, 8) {
                *alarm = draw(rng, &[AlarmState::Alarm, AlarmState::InsufficientData]);
            } else if better(rng) {
                *alarm = AlarmState::Ok;
            }
        }
        for group in [&mut self.green, &mut self.blue] {
            if worse(rng, 4) {
                let targets = draw(rng, &[0, 2, 2, 4]);
                *group =
                    GroupHealth { targets, healthy: rng.random_range(0..=targets), unknown: 0 };
            } else if better(rng) {
                *group = WELL;
            }
        }
        if worse(rng, 6) {
            self.evidence = match rng.random_range(0..6) {
                0 => Evidence::Against { reason: "5xx".to_owned() },
                1 => Evidence::Unavailable,
                n => Evidence::Insufficient { missing: (n > 3).then_some(n) },
            };
        } else if better(rng) {
            self.evidence = Evidence::Pass;
        }
        self.slo_breach = worse(rng, 2);
        self.scored += draw(rng, &[0, 1, 20]);
    }

    fn observation(&self, spec: &Spec, weight: Weight) -> Observation {
        let serves = weight > Weight::ZERO;
        let told = |state| if self.blind { AlarmState::InsufficientData } else { state };
        let alarms = spec.alarms.iter().zip(&self.alarms);
        Observation {
            green: self.green,
            blue: self.blue,
            alarms: alarms.map(|(alarm, state)| (alarm.name.clone(), told(*state))).collect(),
            scored_green: self.scored,
            evidence: if serves { self.evidence.clone() } else { Evidence::Unavailable },
            slo_breach: (serves && self.slo_breach).then(|| "errors".to_owned()),
            freezes: Vec::new(),
        }
    }
}

impl Fixed {
    /// Draws a world.
    pub(crate) fn new(rng: &mut SmallRng) -> Self {
        let group = |rng: &mut SmallRng| GroupHealth {
            targets: 2,
            healthy: if rng.random_ratio(1, 20) { 0 } else { 2 },
            unknown: 0,
        };
        let evidence = match rng.random_range(0..12) {
            0 => Evidence::Against { reason: "5xx".to_owned() },
            1 => Evidence::Insufficient { missing: None },
            2 => Evidence::Unavailable,
            _ => Evidence::Pass,
        };
        Self {
            seed: rng.next_u64(),
            alarm_from: rng
                .random_ratio(1, 4)
                .then(|| Weight::from_bp(rng.random_range(0..=10_000)).expect("a weight")),
            green: group(rng),
            blue: group(rng),
            evidence,
            scored_each: if rng.random_ratio(1, 10) { 0 } else { MANY },
            scored: 0,
            approves_after: Span::from_ms(rng.random_range(0..5_000)),
            blind: false,
        }
    }

    fn observation(&self, spec: &Spec, weight: Weight) -> Observation {
        let speaks = weight > Weight::ZERO || !matches!(self.evidence, Evidence::Against { .. });
        let alarmed = self.alarm_from.is_some_and(|from| weight >= from);
        let state = if self.blind {
            AlarmState::InsufficientData
        } else if alarmed {
            AlarmState::Alarm
        } else {
            AlarmState::Ok
        };
        Observation {
            green: self.green,
            blue: self.blue,
            alarms: spec.alarms.iter().map(|alarm| (alarm.name.clone(), state)).collect(),
            scored_green: self.scored,
            evidence: if speaks { self.evidence.clone() } else { Evidence::Unavailable },
            slo_breach: None,
            freezes: Vec::new(),
        }
    }
}

impl Nature {
    /// Somebody looks.
    pub(crate) fn look(&mut self, spec: &Spec, weight: Weight, rng: &mut SmallRng) -> Observation {
        match self {
            Self::Changing { trouble, sky } => {
                sky.change(*trouble, rng);
                sky.observation(spec, weight)
            }
            Self::Calm { sky } => {
                sky.scored += 20;
                sky.observation(spec, weight)
            }
            Self::Fixed(fixed) => {
                fixed.scored += fixed.scored_each;
                fixed.observation(spec, weight)
            }
        }
    }

    /// A gate is asked; `None` is the answer that never comes.
    pub(crate) fn ask(&self, call: &GateCall, rng: &mut SmallRng) -> Option<Reply> {
        match self {
            Self::Changing { trouble, .. } => gates::changing(rng, *trouble),
            Self::Calm { .. } => Some(gates::willing(rng)),
            Self::Fixed(fixed) => Some(gates::fixed(fixed.seed, call, rng)),
        }
    }

    /// What a person says now; mostly nothing.
    pub(crate) fn person(&self, rollout: &Rollout, rng: &mut SmallRng) -> Option<Command> {
        match self {
            Self::Changing { trouble, .. } => person(*trouble, rollout, rng),
            Self::Calm { .. } => helper(rollout),
            Self::Fixed(fixed) => {
                let asked = rollout.state().approval()?.asked_at;
                let waited = rollout.elapsed().saturating_sub(asked);
                (waited >= fixed.approves_after).then(|| command(Verb::Approve, true))
            }
        }
    }

    /// How bad it is, 0..=10.
    pub(crate) fn trouble(&self) -> u32 {
        match self {
            Self::Changing { trouble, .. } => *trouble,
            Self::Calm { .. } | Self::Fixed(_) => 0,
        }
    }

    /// A process that starts counts from zero, and its alarms know nothing.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Changing { sky, .. } | Self::Calm { sky } => {
                (sky.scored, sky.blind) = (0, true);
            }
            Self::Fixed(fixed) => (fixed.scored, fixed.blind) = (0, true),
        }
    }

    /// Every alarm has a first datapoint.
    pub(crate) fn settle(&mut self) {
        match self {
            Self::Changing { sky, .. } | Self::Calm { sky } => sky.blind = false,
            Self::Fixed(fixed) => fixed.blind = false,
        }
    }
}

fn person(trouble: u32, rollout: &Rollout, rng: &mut SmallRng) -> Option<Command> {
    if rollout.state().approval().is_some() && rng.random_ratio(1, 6) {
        let verb = if rng.random_ratio(1, 10) { Verb::Reject } else { Verb::Approve };
        return Some(command(verb, rng.random()));
    }
    let frozen = rollout.regression().is_some() && rng.random_ratio(1, 8);
    if !frozen && !rng.random_ratio(1 + trouble, 400) {
        return None;
    }
    let verb = match rng.random_range(0..20) {
        0..2 => Verb::Abort,
        2 => Verb::Stop,
        3..7 => Verb::Pause,
        7..13 => Verb::Resume { override_regression: frozen || rng.random() },
        13..18 => Verb::Promote { force: rng.random() },
        18 => Verb::Approve,
        _ => Verb::Reject,
    };
    Some(command(verb, rng.random_ratio(4, 5)))
}

/// Somebody who wants the rollout to get on.
fn helper(rollout: &Rollout) -> Option<Command> {
    let resume =
        command(Verb::Resume { override_regression: rollout.regression().is_some() }, true);
    if rollout.permits(&resume).is_ok() {
        return Some(resume);
    }
    let approve = command(Verb::Approve, true);
    rollout.permits(&approve).is_ok().then_some(approve)
}

fn command(verb: Verb, reasoned: bool) -> Command {
    let actor = Actor { name: "sim".to_owned(), origin: "test".to_owned() };
    Command { verb, actor, reason: reasoned.then(|| "because".to_owned()) }
}
