//! One run: a rollout and everything around it, driven by a seed.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate::core::model::{Exposure, GateName, MonoTime, Now, WallTime};
use tidegate::core::rollout::{
    Bake, Command, Effect, Event, GateAnswer, GateCall, Outcome, Rollout, Spec,
};

use crate::invariants::{self, Broken, Watch};
use crate::ledger::Entry;
use crate::log::{self, Log};
use crate::nature::{Fixed, Nature, Sky};
use crate::plan::{self, Pace};
use crate::store::{News, Store};
use crate::table::Table;

/// When the process crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crashes {
    /// Not at all.
    Never,
    /// Now and then, this many times at most.
    Sometimes(u32),
    /// Once, after this many effects.
    After(u64),
}

/// How a run went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// How the rollout ended; `None` if it was never stored and so never was.
    pub(crate) outcome: Option<Outcome>,
    /// How many effects were performed.
    pub(crate) effects: u64,
    /// Whether a crash came when green had been lowered and the store did not know.
    pub(crate) lowered_unrecorded: bool,
    /// When it ended, in milliseconds.
    pub(crate) time: u64,
}

/// What will happen at a time.
#[derive(Debug)]
enum Item {
    Answer { gate: GateName, attempt: u32, answer: GateAnswer, twice: bool },
    Confirm { seq: u64 },
}

/// Whether the process that handled an event is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Same,
    /// It crashed; another one took over.
    Other,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct World {
    rng: SmallRng,
    nature: Nature,
    spec: std::sync::Arc<Spec>,
    /// Always there but while it handles an event.
    rollout: Option<Rollout>,
    store: Store,
    table: Table,
    watch: Watch,
    agenda: Vec<(u64, Item)>,
    /// Recorded since the last save.
    unsaved: Vec<Entry>,
    recorded: u64,
    crashes: Crashes,
    /// Simulated time in milliseconds, never set back.
    time: u64,
    /// How much of it some process was up and knew what was going on.
    watched: u64,
    /// When the present process started.
    started: u64,
    /// What the wall clock is wrong by.
    skew: u64,
    /// When the present process will know what is going on; `None` once it does.
    settles_at: Option<u64>,
    turns: u32,
    /// How many turns nothing but looking has happened.
    idle: u32,
    calm_from: u32,
    effects: u64,
    lowered_unrecorded: bool,
    /// Whether it crashed before the rollout was stored.
    gone: bool,
    log: Log,
}

/// No run takes more turns: the deadline of the whole would have ended it.
const TURNS: u32 = 1_000;
/// No run takes more turns from when the world is calm.
const CALM_TURNS: u32 = 200;
/// How far the wall clock may be wrong to either side.
const SKEW_MS: u64 = 3_600_000;

impl World {
    /// A world in which everything changes and anything may fail.
    pub(crate) fn changing(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let spec = plan::spec(&mut rng, Pace::Hasty);
        let trouble = plan::draw(&mut rng, &[0, 1, 1, 2, 4, 10]);
        let nature = Nature::Changing { trouble, sky: Sky::fine(&spec) };
        let calm_from = if rng.random_ratio(1, 5) { u32::MAX } else { rng.random_range(20..120) };
        let crashes = plan::draw(&mut rng, &[0, 1, 2, 4]);
        Self::new(rng, nature, spec, Crashes::Sometimes(crashes), calm_from)
    }

    /// A world whose end does not depend on when things happen.
    pub(crate) fn stationary(seed: u64, crashes: Crashes) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let spec = plan::spec(&mut rng, Pace::Patient);
        let nature = Nature::Fixed(Fixed::new(&mut rng));
        Self::new(rng, nature, spec, crashes, u32::MAX)
    }

    fn new(rng: SmallRng, nature: Nature, spec: Spec, crashes: Crashes, calm_from: u32) -> Self {
        let mut world = Self {
            rng,
            nature,
            spec: std::sync::Arc::new(spec.clone()),
            rollout: None,
            store: Store::default(),
            table: Table::new(),
            watch: Watch::new(),
            agenda: Vec::new(),
            unsaved: Vec::new(),
            recorded: 0,
            crashes,
            time: 1_000_000,
            watched: 0,
            started: 0,
            skew: SKEW_MS,
            settles_at: None,
            turns: 0,
            idle: 0,
            calm_from,
            effects: 0,
            lowered_unrecorded: false,
            gone: false,
            log: Log::default(),
        };
        world.begin(spec);
        world
    }

    /// What happens before anything can go wrong: the rollout is made and its first save queued.
    fn begin(&mut self, spec: Spec) {
        let (rollout, effects) = Rollout::create(spec, self.now());
        self.rollout = Some(rollout);
        let crashes = std::mem::replace(&mut self.crashes, Crashes::Never);
        self.perform(effects).expect("creation raises nothing");
        self.crashes = crashes;
    }

    /// Writes down what happens.
    pub(crate) fn with_log(mut self) -> Self {
        let (spec, nature, crashes) = (&self.spec, &self.nature, self.crashes);
        self.log = Log::kept(format!("{spec:?}\n{nature:?}\n{crashes:?}"));
        self
    }

    /// Runs to the end; gives also the log, which is empty unless it was wanted.
    pub(crate) fn run(mut self) -> (Result<Ran, Broken>, Vec<String>) {
        let ran = self.run_until(|_| false).map(|_| Ran {
            outcome: self.outcome(),
            effects: self.effects,
            lowered_unrecorded: self.lowered_unrecorded,
            time: self.time,
        });
        (ran, self.log.into_lines())
    }

    /// Runs until something is the case, or to the end; gives which.
    pub(crate) fn run_until(&mut self, stop: impl Fn(&Self) -> bool) -> Result<bool, Broken> {
        while !self.is_over()? {
            if stop(self) {
                return Ok(true);
            }
            self.turn()?;
        }
        Ok(false)
    }

    /// The table in force.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Simulated time in milliseconds.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// From now on the store blocks for a while.
    pub(crate) fn block_store(&mut self) {
        self.store.block(self.time);
    }

    /// Somebody aborts now.
    pub(crate) fn abort(&mut self) -> Result<(), Broken> {
        self.deliver(Event::Commanded(invariants::abort())).map(|_| ())
    }

    fn outcome(&self) -> Option<Outcome> {
        self.watch.ledger.ended.filter(|_| !self.gone)
    }

    fn now(&self) -> Now {
        Now {
            wall: WallTime::from_ms(self.time + self.skew),
            mono: MonoTime::from_ms(self.time - self.started),
        }
    }

    fn rollout(&self) -> &Rollout {
        self.rollout.as_ref().expect("it is taken only while it handles an event")
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.log.note(self.time, line);
    }

    /// Whether everything has ended that ends.
    fn is_over(&self) -> Result<bool, Broken> {
        let turns = TURNS.min(self.calm_from.saturating_add(CALM_TURNS));
        Broken::unless(self.turns < turns, "every run ends", || {
            format!("{:?}", self.rollout().state())
        })?;
        let ending = self.rollout().state().ending();
        let settled = ending.is_some_and(|ending| ending.settles_with.is_none());
        if settled && self.store.is_idle() {
            let swapped = self.outcome() == Some(Outcome::Succeeded);
            Broken::unless(
                self.table.swapped() == swapped,
                "green becomes blue by success",
                || format!("{:?}", self.outcome()),
            )?;
        }
        Ok(self.gone || (settled && self.store.is_idle()))
    }

    /// A moment passes, what is due in it happens, then somebody looks.
    fn turn(&mut self) -> Result<(), Broken> {
        self.turns += 1;
        if self.turns == self.calm_from {
            self.note(|| "the world calms down".to_owned());
            self.nature = Nature::Calm { sky: Sky::fine(&self.spec) };
            self.store.heal();
            self.crashes = Crashes::Never;
        }
        let until = self.time + self.leap();
        while let Some(at) = self.next_due().filter(|at| *at <= until && !self.gone) {
            self.pass(at);
            self.happen()?;
        }
        self.pass(until);
        if self.gone { Ok(()) } else { self.look() }
    }

    /// How long nothing is looked at: longer when nothing but time can change anything.
    fn leap(&mut self) -> u64 {
        let baking = self.rollout().state().bake().is_some_and(|bake| !Bake::is_over(bake));
        if self.idle > 6 && !baking {
            self.rng.random_range(5_000..30_000)
        } else {
            self.rng.random_range(50..2_000)
        }
    }

    fn pass(&mut self, until: u64) {
        let passed = until.saturating_sub(self.time);
        self.time += passed;
        if self.settles_at.is_none() {
            self.watched += passed;
        }
    }

    fn next_due(&self) -> Option<u64> {
        let planned = self.agenda.iter().map(|(at, _)| *at);
        planned.chain(self.store.due()).min()
    }

    /// What is due first happens.
    fn happen(&mut self) -> Result<(), Broken> {
        let planned = (0..self.agenda.len()).min_by_key(|place| self.agenda[*place].0);
        let Some(place) = planned.filter(|place| self.agenda[*place].0 <= self.time) else {
            return self.store_works();
        };
        match self.agenda.remove(place).1 {
            Item::Confirm { seq } => self.deliver(Event::Saved { seq }).map(|_| ()),
            Item::Answer { gate, attempt, answer, twice } => {
                let event = Event::GateAnswered { gate, attempt, answer, call: None };
                let again = twice.then(|| event.clone());
                match (self.deliver(event)?, again) {
                    (Process::Same, Some(again)) => self.deliver_in_vain(again),
                    (Process::Same, None) | (Process::Other, _) => Ok(()),
                }
            }
        }
    }

    fn store_works(&mut self) -> Result<(), Broken> {
        let trouble = self.nature.trouble();
        if self.rng.random_ratio(trouble, 400) {
            self.store.fail_for(self.time, self.rng.random_range(500..10_000));
        } else if self.rng.random_ratio(trouble, 800) {
            self.store.block(self.time);
            return Ok(());
        }
        match self.store.work(self.time, &mut self.rng) {
            News::Written(seq) => {
                self.note(|| format!("stored up to {seq}"));
                let at = self.time + self.rng.random_range(0..200);
                self.agenda.push((at, Item::Confirm { seq }));
                Ok(())
            }
            News::Failed => {
                self.deliver(Event::SaveFailed { reason: "disk full".to_owned() }).map(|_| ())
            }
        }
    }

    /// Somebody looks, or the clock ticks; then people may want something.
    fn look(&mut self) -> Result<(), Broken> {
        self.idle += 1;
        if self.rng.random_ratio(1, 3) {
            self.table.write_file();
        }
        if self.rng.random_ratio(self.nature.trouble(), 500) {
            self.skew = self.rng.random_range(0..2 * SKEW_MS);
        }
        let settles = self.settles_at.is_some_and(|at| self.time >= at);
        if settles {
            self.nature.settle();
        }
        let looks = settles || matches!(self.nature, Nature::Fixed(_));
        let event = if looks || self.rng.random_ratio(4, 5) {
            Event::Observed(self.nature.look(&self.spec, self.table.green(), &mut self.rng))
        } else {
            Event::Ticked
        };
        if self.deliver(event)? == Process::Other {
            return Ok(());
        }
        if settles {
            self.settles_at = None;
            if self.deliver(Event::Settled)? == Process::Other {
                return Ok(());
            }
        }
        self.check_by_chance()?;
        let rollout = self.rollout.as_ref().expect("it is taken only while it handles an event");
        match self.nature.person(rollout, &mut self.rng) {
            Some(command) => self.say(command),
            None => Ok(()),
        }
    }

    fn check_by_chance(&mut self) -> Result<(), Broken> {
        let now = self.now();
        match self.rng.random_range(0..10) {
            0 => invariants::abort_goes_through(self.rollout(), now),
            1 => invariants::stands_still(self.rollout(), now),
            _ => Ok(()),
        }
    }

    fn say(&mut self, command: Command) -> Result<(), Broken> {
        let permitted = self.rollout().permits(&command).is_ok();
        let event = Event::Commanded(command);
        if permitted { self.deliver(event).map(|_| ()) } else { self.deliver_in_vain(event) }
    }

    /// Delivers what must change nothing: an answer that was given before, a refused command.
    fn deliver_in_vain(&mut self, event: Event) -> Result<(), Broken> {
        let before = self.rollout().clone();
        let (after, effects) = before.clone().handle(event.clone(), self.now());
        invariants::changes_nothing(&before, &after, &effects)?;
        self.deliver(event).map(|_| ())
    }

    fn deliver(&mut self, event: Event) -> Result<Process, Broken> {
        self.note(|| log::event(&event));
        self.watch.event(&event, &self.spec, &self.store);
        let now = self.now();
        let rollout = self.rollout.take().expect("it is taken only while it handles an event");
        let (rollout, effects) = rollout.handle(event, now);
        self.rollout = Some(rollout);
        self.watch.effects(&effects)?;
        self.perform(effects)
    }

    /// Performs effects one by one; the process may crash after each.
    fn perform(&mut self, effects: Vec<Effect>) -> Result<Process, Broken> {
        for effect in effects {
            self.note(|| log::effect(&effect));
            self.perform_one(effect)?;
            self.effects += 1;
            if self.crashes_now() {
                return self.crash();
            }
        }
        let rollout = self.rollout.as_ref().expect("it is taken only while it handles an event");
        self.watch.rest(rollout, &self.table)?;
        Ok(Process::Same)
    }

    fn perform_one(&mut self, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Expose(exposure) => {
                self.idle = 0;
                self.watch.expose((self.table.in_force(), exposure), &self.store)?;
                self.table.publish(exposure, &mut self.rng);
            }
            Effect::SwapRoles => self.table.swap(&mut self.rng),
            Effect::Save { seq } => {
                let write = (seq, self.rollout().clone(), std::mem::take(&mut self.unsaved));
                self.store.enqueue(write, self.time, &mut self.rng);
            }
            Effect::RunGate(call) => self.run_gate(&call),
            Effect::Record { fact, actor: _, reason } => {
                self.idle = 0;
                self.recorded += 1;
                let (id, has_reason) = (self.recorded, reason.is_some());
                let entry = Entry { id, fact, has_reason, watched_ms: self.watched };
                self.watch.record(&entry, &self.table, &self.spec)?;
                self.unsaved.push(entry);
            }
            Effect::Notify(_) => {}
        }
        Ok(())
    }

    fn run_gate(&mut self, call: &GateCall) {
        if let Some(reply) = self.nature.ask(call, &mut self.rng) {
            let (gate, attempt) = (call.name().clone(), call.attempt);
            let item = Item::Answer { gate, attempt, answer: reply.answer, twice: reply.twice };
            self.agenda.push((self.time + reply.after_ms, item));
        }
    }

    fn crashes_now(&mut self) -> bool {
        match &mut self.crashes {
            Crashes::Never => false,
            Crashes::Sometimes(left) => {
                let crashes = *left > 0 && self.rng.random_ratio(1, 40);
                *left -= u32::from(crashes);
                crashes
            }
            Crashes::After(count) => *count == self.effects,
        }
    }

    /// The process ends in the middle of its work, and another one starts with what is left.
    fn crash(&mut self) -> Result<Process, Broken> {
        self.store.crash(self.time, &mut self.rng);
        let was_over = self.rollout().state().ending().is_some();
        self.watch.crash(was_over);
        self.agenda.clear();
        self.unsaved.clear();
        self.nature.restart();
        let fixed = matches!(self.nature, Nature::Fixed(_));
        let long = !fixed && self.rng.random_ratio(1, 10);
        let down = self.rng.random_range(if long { 60_000..400_000 } else { 100..3_000 });
        let before = self.table.in_force();
        self.time += down;
        self.started = self.time - self.rng.random_range(0..1_000);
        let Some(stored) = self.store.stored() else {
            self.note(|| "crash; nothing is stored".to_owned());
            self.gone = true;
            return Ok(Process::Other);
        };
        let rollout = reread(stored);
        let table = Exposure::lower_of(rollout.exposure(), self.table.file());
        let stored = rollout.exposure();
        self.lowered_unrecorded |= before.split.green() < stored.split.green()
            || (!before.green_exists && stored.green_exists);
        let file = self.table.file();
        self.note(|| {
            let (stored, file) = (log::exposure(stored), log::exposure(file));
            format!("crash; stored {stored}, file {file}")
        });
        self.table.publish(table, &mut self.rng);
        self.watch.restart(&rollout, table, &self.store)?;
        self.rollout = Some(rollout);
        self.settles_at = Some(self.time + self.rng.random_range(0..3_000));
        if self.deliver(Event::Restored { in_force: table })? == Process::Same {
            invariants::stays_taken_back(self.rollout(), file)?;
        }
        Ok(Process::Other)
    }
}

/// What the store gives back is what went through its text.
fn reread(stored: &Rollout) -> Rollout {
    let text = serde_json::to_string(stored).expect("a rollout can be written");
    serde_json::from_str(&text).expect("what was written can be read")
}
