//! What the simulation has found, each as small as it gets.

use tidegate::core::model::{
    Exposure, FinalBake, GateStage, GroupHealth, MonoTime, Now, Shift, Span, Split, Step, WallTime,
    Weight,
};
use tidegate::core::rollout::{
    Actor, Command, Effect, Event, GateAnswer, Observation, Rollout, Spec, StateName, Verb,
};

use crate::plan;

/// A rollout whose store confirms everything at once, and whose targets are well.
struct Bench {
    rollout: Rollout,
    now: u64,
    /// Every table that was in force.
    tables: Vec<Exposure>,
    /// The last question to a gate that was asked.
    asked: Option<u32>,
}

impl Bench {
    fn new(spec: Spec) -> Self {
        let (rollout, _) = Rollout::create(spec, at(0));
        Self { rollout, now: 0, tables: Vec::new(), asked: None }
    }

    fn handle(&mut self, event: Event) {
        let (rollout, effects) = self.rollout.clone().handle(event, at(self.now));
        self.rollout = rollout;
        for effect in &effects {
            match effect {
                Effect::Expose(exposure) => self.tables.push(*exposure),
                Effect::RunGate(call) => self.asked = Some(call.attempt),
                Effect::SwapRoles
                | Effect::Save { .. }
                | Effect::Record { .. }
                | Effect::Notify(_) => {}
            }
        }
    }

    /// A second passes, somebody looks, and the store confirms what was saved.
    fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now += 1_000;
            let well = GroupHealth { targets: 2, healthy: 2, unknown: 0 };
            self.handle(Event::Observed(Observation {
                green: well,
                blue: well,
                ..Observation::default()
            }));
            self.handle(Event::Saved { seq: self.rollout.seq() });
        }
    }

    fn gate_passes(&mut self) {
        let attempt = self.asked.take().expect("a gate is asked");
        let gate = "one".parse().expect("a name");
        let answer = GateAnswer::Pass;
        self.handle(Event::GateAnswered { gate, attempt, answer, call: None });
        self.handle(Event::Saved { seq: self.rollout.seq() });
    }

    fn say(&mut self, verb: Verb) {
        let actor = Actor { name: "sim".to_owned(), origin: "test".to_owned() };
        self.handle(Event::Commanded(Command { verb, actor, reason: None }));
    }

    /// The process ends and another one starts with a stored rollout and a table file.
    fn restart(&mut self, stored: Rollout, file: Exposure) {
        self.rollout = stored;
        let in_force = Exposure::lower_of(self.rollout.exposure(), file);
        self.tables.push(in_force);
        self.handle(Event::Restored { in_force });
    }

    fn settle(&mut self) {
        self.pass(1);
        self.handle(Event::Settled);
    }

    fn state(&self) -> StateName {
        self.rollout.state().name()
    }
}

fn at(ms: u64) -> Now {
    Now { wall: WallTime::from_ms(ms), mono: MonoTime::from_ms(ms) }
}

fn shift(bp: u16, secs: u64) -> Step {
    let weight = Weight::from_bp(bp).expect("a weight");
    Step::Shift(Shift::timed(weight, Span::from_secs(secs)))
}

fn nothing_before() -> Exposure {
    Exposure::default()
}

/// It was taken for a rollback that had not been recorded.
#[test]
fn a_table_file_from_before_green_opened_is_no_rollback() {
    let mut bench =
        Bench::new(Spec { steps: vec![shift(1_000, 60), shift(10_000, 0)], ..plan::plain() });
    let created = bench.rollout.clone();
    bench.restart(created, nothing_before());
    let file = bench.tables.last().copied().expect("a process that starts has a table");
    bench.settle();
    bench.pass(3);
    assert_eq!(bench.rollout.weight().bp(), 1_000);
    let raised = bench.rollout.clone();
    bench.restart(raised, file);
    bench.settle();
    assert_eq!(bench.state(), StateName::Shifting);
    assert_eq!(bench.rollout.weight().bp(), 1_000);
}

/// The rollout went on as if nothing had been said, and gave green traffic.
#[test]
fn an_abort_before_there_is_traffic_is_remembered_by_the_table_file() {
    let usage = plan::asked_at("one", vec![GateStage::AfterAllowTestTraffic]);
    let mut bench = Bench::new(Spec { gates: vec![plan::bound(usage)], ..plan::plain() });
    bench.pass(1);
    assert_eq!(bench.state(), StateName::Testing);
    let testing = bench.rollout.clone();
    bench.say(Verb::Abort);
    let file = bench.tables.last().copied().expect("the abort was exposed");
    bench.restart(testing, file);
    assert_eq!(bench.state(), StateName::Failed);
}

/// The first of the two had baked, the gate before the second one was passed by.
#[test]
fn two_steps_of_one_weight_are_told_apart_when_the_table_file_is_behind() {
    let usage = plan::asked_at("one", vec![GateStage::BeforeStep]);
    let keep_blue = Some(Weight::from_bp(6_000).expect("a weight"));
    let mut bench = Bench::new(Spec {
        steps: vec![shift(5_000, 2), shift(10_000, 60)],
        final_bake: FinalBake { length: Span::ZERO, keep_blue },
        gates: vec![plan::bound(usage)],
        ..plan::plain()
    });
    bench.pass(1);
    bench.gate_passes();
    bench.pass(4);
    assert_eq!((bench.rollout.step(), bench.rollout.weight().bp()), (1, 5_000));
    let waiting = bench.rollout.clone();
    bench.restart(waiting, Exposure { split: Split::ALL_BLUE, ..bench.rollout.exposure() });
    bench.settle();
    assert_eq!((bench.rollout.step(), bench.rollout.weight().bp()), (0, 5_000));
}

/// Whoever had promoted would have had to do so again.
#[test]
fn a_saved_promotion_outlives_a_table_file_that_is_behind() {
    let mut bench =
        Bench::new(Spec { steps: vec![shift(1_000, 600), shift(10_000, 600)], ..plan::plain() });
    bench.pass(3);
    bench.say(Verb::Promote { force: false });
    let promoted = bench.rollout.clone();
    assert_eq!(promoted.weight().bp(), 1_000);
    bench.restart(promoted, Exposure { split: Split::ALL_BLUE, ..bench.rollout.exposure() });
    bench.settle();
    assert_eq!(bench.state(), StateName::Succeeded);
}
