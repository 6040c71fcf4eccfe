//! A rollout that is played to its comparison and its recorder at once.

use std::collections::BTreeMap;

use crate::core::analysis::comparison::{
    Calendar, Cells, Chance, Comparator, Metric, MetricSet, Saved,
};
use crate::core::analysis::replay::{
    Agreement, Cause, Head, Limit, Recorded, Recorder, Rerun, Stance,
};
use crate::core::analysis::{
    Drawn, OnSharedDegradation, SplitCheck, Staying, Threshold, Thresholds,
};
use crate::core::model::{AnalysisTerms, MonoTime, Now, Side, Span, WallTime, Weight};

use super::again;

/// A rollout with a little of everything, played to its comparison and its recorder at once.
pub(super) struct Live {
    pub(super) head: Head,
    pub(super) recorder: Recorder,
    pub(super) comparator: Comparator,
    calendar: Calendar,
    pub(super) split: SplitCheck,
    chance: Chance,
    cells: BTreeMap<u64, Cells>,
    /// By the tick at which they are known: cohort, side, whether bad, target, whether it hung.
    flights: BTreeMap<u64, Vec<Flight>>,
    drawn: Drawn,
    pub(super) now: MonoTime,
    blue_seen: Option<MonoTime>,
    stance: Option<Stance>,
    pub(super) decided: Vec<Recorded>,
    pub(super) log: Vec<u8>,
    pub(super) one_target: bool,
    pages: [bool; 2],
    pub(super) staying: Staying,
    /// The target that all of green's failures are of; `None` for one or another.
    pub(super) blamed: Option<usize>,
    /// Which part of green's requests hangs for four seconds, and fails.
    pub(super) hanging: f64,
}

/// A request under way: its cohort and side, whether it will be bad, its target, whether it hangs.
type Flight = (u64, Side, bool, usize, bool);

/// When a run begins, in milliseconds.
pub(super) const START: u64 = 5_000;

impl Live {
    pub(super) fn start(seed: u64, limit: Limit) -> Self {
        let head = head(Cause::Start, None);
        let now = MonoTime::from_ms(START);
        let mut recorder = Recorder::new(limit);
        recorder.begin(Now { wall: WallTime::from_ms(77), mono: now }, &written(&head));
        let rules = head.rules().expect("rules");
        Self {
            head,
            recorder,
            comparator: Comparator::new(rules),
            calendar: Calendar::new(now),
            split: SplitCheck::default(),
            chance: Chance::new(seed),
            cells: BTreeMap::new(),
            flights: BTreeMap::new(),
            drawn: Drawn { weight: Weight::ZERO, green: 0, total: 0 },
            now,
            blue_seen: None,
            stance: None,
            decided: Vec::new(),
            log: Vec::new(),
            one_target: false,
            pages: [false; 2],
            staying: Staying::default(),
            blamed: None,
            hanging: 0.0,
        }
    }

    /// So many ticks with so many requests each, of which green fails a part and blue 1 %.
    pub(super) fn play(&mut self, bp: u16, ticks: u64, per_tick: u64, failing: f64) {
        let weight = Weight::from_bp(bp).expect("a weight");
        if self.drawn.weight != weight {
            self.drawn = Drawn { weight, green: 0, total: 0 };
        }
        for _ in 0..ticks {
            self.evaluate();
            self.comparator.fold();
            let oldest = self.comparator.oldest().map(|oldest| oldest.number);
            self.recorder.folded(oldest);
            self.open(weight);
            for _ in 0..per_tick {
                self.arrive(weight, failing);
            }
            if per_tick > 0 && self.chance.yes(0.3) {
                // Out of turn, as after a failure.
                self.now = self.now.plus(Span::from_ms(37));
                self.evaluate();
            }
            self.now = MonoTime::from_ms((self.now.ms() / 100 + 1) * 100);
        }
        self.log.extend(self.recorder.take());
    }

    fn tick(&self) -> u64 {
        self.now.ms() / 100
    }

    fn open(&mut self, weight: Weight) {
        let Some(next) = self.calendar.next(self.now, 0, weight, thresholds().dormant()) else {
            return;
        };
        self.comparator.time_by(&thresholds());
        self.comparator.open(next).expect("numbers grow");
        let cohort = *self.comparator.newest().expect("it was opened");
        self.blue_seen.get_or_insert(self.now);
        self.recorder.opened(self.now, &cohort, &thresholds());
        self.cells.insert(cohort.number, Cells::default());
    }

    fn arrive(&mut self, weight: Weight, failing: f64) {
        let is_green = self.chance.yes(weight.share());
        let side = if is_green { Side::Green } else { Side::Blue };
        let bad = self.chance.yes(if is_green { failing } else { 0.01 });
        let cohort = self.comparator.newest().expect("one is open").number;
        self.cells.entry(cohort).or_default().arrive(side, MetricSet::ALL);
        self.drawn.total += 1;
        self.drawn.green += u64::from(is_green);
        let mut known = self.tick() + 1 + self.chance.bits() % 7;
        let target = (self.chance.bits() % 3) as usize;
        let target = self.blamed.filter(|_| is_green && bad).unwrap_or(target);
        let hangs = is_green && self.hanging > 0.0 && self.chance.yes(self.hanging);
        if hangs {
            known = self.tick() + 41;
            self.cells.entry(cohort).or_default().write(target);
        }
        let flight = (cohort, side, bad || hangs, target, hangs);
        self.flights.entry(known).or_default().push(flight);
    }

    pub(super) fn evaluate(&mut self) {
        let later = self.flights.split_off(&(self.tick() + 1));
        for (cohort, side, bad, target, hung) in
            std::mem::replace(&mut self.flights, later).into_values().flatten()
        {
            let cells = self.cells.entry(cohort).or_default();
            cells.absolute.settle(side, bad);
            if hung {
                cells.time(target);
            }
            for metric in Metric::ALL {
                cells.settle(metric, side, bad && metric != Metric::Client4xx, Some(target));
            }
        }
        let open: Vec<u64> = self.comparator.open_cohorts().collect();
        for number in &open {
            let cells = self.cells.entry(*number).or_default();
            if Some(number) == open.last() && cells.absolute.blue > 0 {
                self.blue_seen = Some(self.now);
            }
            self.comparator.observe(*number, cells);
            self.recorder.observed(*number, cells);
        }
        self.cells.retain(|number, _| open.first().is_none_or(|first| number >= first));
        if self.drawn.weight < Weight::FULL {
            self.split.observe(self.drawn);
            self.recorder.drawn(self.drawn);
        }
        self.one_target = self.comparator.evaluate(self.now, 3).suspect.is_some();
        let (stance, evidence) = self.look();
        self.recorder.evaluated(self.now, 3, stance, evidence);
    }

    /// What is called for now.
    pub(super) fn look(&mut self) -> (Stance, f64) {
        let checked = (self.split.alarms(), self.one_target);
        let (seen, on_shared) = ((self.now, self.blue_seen), OnSharedDegradation::Hold);
        let stance = Stance::of(&self.comparator, on_shared, seen, checked, self.pages);
        let stance = stance.held(&self.comparator, self.staying, self.now);
        let evidence = self.comparator.highest();
        if self.stance != Some(stance) {
            let at_ms = self.now.ms() - START;
            self.decided.push(Recorded { at_ms, stance, evidence });
            self.stance = Some(stance);
        }
        (stance, evidence)
    }

    /// Burn rates page or do not, as is found between two evaluations.
    pub(super) fn page(&mut self, pages: [bool; 2]) {
        self.now = self.now.plus(Span::from_ms(3));
        self.pages = pages;
        let looked = self.look();
        self.recorder.paged(self.now, pages, Some(looked));
        self.log.extend(self.recorder.take());
    }

    /// The process ends, and another one goes on.
    pub(super) fn restart(&mut self) {
        self.restart_from(self.comparator.saved());
    }

    /// The same where more was seen than was saved.
    pub(super) fn restart_from(&mut self, saved: Saved) {
        self.head = head(Cause::Restart, Some(saved.clone()));
        let now = Now { wall: WallTime::from_ms(77 + self.now.ms() - START), mono: self.now };
        self.recorder.begin(now, &written(&self.head));
        let last = saved.last().expect("there were cohorts");
        self.comparator = Comparator::restore(self.head.rules().expect("rules"), saved);
        self.calendar = Calendar::resume(self.now, last);
        (self.split, self.blue_seen, self.stance) = (SplitCheck::default(), None, None);
        (self.one_target, self.pages) = (false, [false; 2]);
        self.staying = Staying::default();
        self.flights.clear();
        self.cells.clear();
    }

    pub(super) fn require_reproduced(&self) -> Rerun {
        let found = again(&self.log);
        assert_eq!(found.recorded, self.decided, "what was recorded");
        assert_eq!(found.agreement(), Agreement::Exact);
        assert_eq!(found.decisions.len(), self.decided.len());
        for (found, live) in found.decisions.iter().zip(&self.decided) {
            assert_eq!((found.at_ms, found.stance), (live.at_ms, live.stance));
        }
        assert!(!found.inexact.is_approximate() && !found.inexact.torn, "{found:?}");
        found
    }
}

pub(super) fn head(cause: Cause, saved: Option<Saved>) -> Head {
    let example = Head::example();
    let terms = AnalysisTerms { slo: "99.9%".parse().ok(), ..example.terms };
    let (longest, saved) = (Span::from_secs(10), saved.map(Box::new));
    Head { cause, terms, longest, saved, ..example }
}

pub(super) fn written(head: &Head) -> Vec<u8> {
    serde_json::to_vec(head).expect("it has only text keys")
}

fn thresholds() -> Thresholds {
    let threshold = |us| Some(Threshold { blue_us: us, green_us: us + us / 10 });
    Thresholds { each: [threshold(50_000), threshold(90_000), None] }
}
