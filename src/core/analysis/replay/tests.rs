//! Runs that are recorded and run again, and logs that nobody wrote.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::core::analysis::comparison::{
    Calendar, Cells, Chance, Comparator, Metric, MetricSet, Saved,
};
use crate::core::analysis::{
    Drawn, OnSharedDegradation, SplitCheck, Staying, Threshold, Thresholds,
};
use crate::core::model::{
    AnalysisSpec, AnalysisTerms, MonoTime, Now, Side, Span, WallTime, Weight,
};

use super::*;

mod staying;

/// A rollout with a little of everything, played to its comparison and its recorder at once.
struct Live {
    head: Head,
    recorder: Recorder,
    comparator: Comparator,
    calendar: Calendar,
    split: SplitCheck,
    chance: Chance,
    cells: BTreeMap<u64, Cells>,
    /// By the tick at which they are known: cohort, side, whether bad, target, whether it hung.
    flights: BTreeMap<u64, Vec<Flight>>,
    drawn: Drawn,
    now: MonoTime,
    blue_seen: Option<MonoTime>,
    stance: Option<Stance>,
    decided: Vec<Recorded>,
    log: Vec<u8>,
    one_target: bool,
    pages: [bool; 2],
    staying: Staying,
    /// The target that all of green's failures are of; `None` for one or another.
    blamed: Option<usize>,
    /// Which part of green's requests hangs for four seconds, and fails.
    hanging: f64,
}

/// A request under way: its cohort and side, whether it will be bad, its target, whether it hangs.
type Flight = (u64, Side, bool, usize, bool);

const START: u64 = 5_000;

fn head(cause: Cause, saved: Option<Saved>) -> Head {
    let example = Head::example();
    let terms = AnalysisTerms { slo: "99.9%".parse().ok(), ..example.terms };
    let (longest, saved) = (Span::from_secs(10), saved.map(Box::new));
    Head { cause, terms, longest, saved, ..example }
}

fn written(head: &Head) -> Vec<u8> {
    serde_json::to_vec(head).expect("it has only text keys")
}

fn read(head: &[u8]) -> Option<Head> {
    serde_json::from_slice(head).ok()
}

fn again(log: &[u8]) -> Rerun {
    rerun(log, read, None).expect("a log")
}

fn thresholds() -> Thresholds {
    let threshold = |us| Some(Threshold { blue_us: us, green_us: us + us / 10 });
    Thresholds { each: [threshold(50_000), threshold(90_000), None] }
}

impl Live {
    fn start(seed: u64, limit: Limit) -> Self {
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
    fn play(&mut self, bp: u16, ticks: u64, per_tick: u64, failing: f64) {
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

    fn evaluate(&mut self) {
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
    fn look(&mut self) -> (Stance, f64) {
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
    fn page(&mut self, pages: [bool; 2]) {
        self.now = self.now.plus(Span::from_ms(3));
        self.pages = pages;
        let looked = self.look();
        self.recorder.paged(self.now, pages, Some(looked));
        self.log.extend(self.recorder.take());
    }

    /// The process ends, and another one goes on.
    fn restart(&mut self) {
        self.restart_from(self.comparator.saved());
    }

    /// The same where more was seen than was saved.
    fn restart_from(&mut self, saved: Saved) {
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

    fn require_reproduced(&self) -> Rerun {
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

fn taken_back(found: &Rerun) -> Option<u64> {
    found.taken_back().map(|decision| decision.at_ms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_recorded_run_is_reproduced_exactly(
        seed: u64,
        hanging in 0.0..0.5_f64,
        parts in prop::collection::vec((1_u16..=10_000, 1_u64..40, 0_u64..60, 0.0..0.6), 1..6),
    ) {
        let mut live = Live::start(seed, Limit::default());
        live.hanging = hanging;
        for (bp, ticks, per_tick, failing) in parts {
            live.play(bp, ticks, per_tick, failing);
        }
        let found = live.require_reproduced();
        // Evidence and all: in one process there is not even a last digit between them.
        let evidence = |(found, live): (&Decision, &Recorded)| found.evidence == live.evidence;
        prop_assert!(found.decisions.iter().zip(&live.decided).all(evidence));
        prop_assert_eq!(found.highest, live.comparator.highest());
    }

    #[test]
    fn nothing_that_is_read_panics(bytes: Vec<u8>) {
        // As it is, as a frame's payload, and as records after a good head.
        let _ = rerun(&bytes, read, None);
        let _ = rerun(&frames::frame(&bytes), read, None);
        let mut live = Live::start(1, Limit::default());
        live.play(1_000, 3, 5, 0.5);
        live.log.extend(frames::frame(&bytes));
        let _ = rerun(&live.log, read, None);
        let _ = whole_frames(&bytes);
    }

    #[test]
    fn a_log_that_is_cut_off_is_read_up_to_there(at in 0.0..1.0_f64) {
        let mut live = Live::start(3, Limit::default());
        for _ in 0..5 {
            live.play(1_000, 5, 20, 0.3);
        }
        let end = (live.log.len() as f64 * at) as usize;
        match rerun(&live.log[..end], read, None) {
            Ok(found) => prop_assert!(live.decided.starts_with(&found.recorded)),
            Err(error) => prop_assert_eq!(error, ReplayError::Log(LogError::NoLog)),
        }
    }
}

#[test]
fn a_bad_green_is_taken_back_at_the_same_moment() {
    let mut live = Live::start(7, Limit::default());
    live.play(1_000, 20, 100, 0.01);
    live.play(1_000, 40, 100, 1.0);
    let found = live.require_reproduced();
    let at = taken_back(&found).expect("it is taken back");
    assert!((2_000..4_000).contains(&at), "{at}");
    assert!(found.crossed.is_some());
    assert_eq!(found.head, live.head);
}

#[test]
fn a_green_that_hangs_is_taken_back_at_the_same_moment_before_its_requests_end() {
    let mut live = Live::start(7, Limit::default());
    live.play(1_000, 20, 100, 0.01);
    live.hanging = 1.0;
    live.play(1_000, 40, 100, 0.0);
    let found = live.require_reproduced();
    let at = taken_back(&found).expect("it is taken back");
    assert!((2_300..6_000).contains(&at), "{at}");
    assert!(found.taken_back().is_some_and(|taken| taken.text.contains("lat_p")), "{found:?}");
}

#[test]
fn another_policy_decides_otherwise_by_the_same_evidence() {
    let mut live = Live::start(7, Limit::default());
    live.play(1_000, 300, 100, 0.013);
    let with = |compared| {
        rerun(&live.log, read, Some(&OtherPolicy { compared, slo: None })).expect("a log")
    };
    let own = live.require_reproduced();
    let same = with(AnalysisSpec::default());
    assert_eq!(taken_back(&same), taken_back(&own));
    let loose = Weight::from_bp(5_000).expect("half");
    let compared = AnalysisSpec { alpha: loose, ..AnalysisSpec::default() };
    let hasty = with(compared);
    assert!(hasty.decisions[0].needed < own.decisions[0].needed);
}

#[test]
fn a_restart_is_told_and_what_follows_is_reproduced() {
    let mut live = Live::start(5, Limit::default());
    live.play(1_000, 30, 50, 0.2);
    live.restart();
    live.play(1_000, 30, 50, 0.2);
    let found = again(&live.log);
    assert_eq!((found.restarts, found.inexact.gaps), (1, 0));
    assert_eq!(found.recorded, live.decided);
    assert_eq!(found.agreement(), Agreement::Exact, "{:?} {:?}", found.decisions, live.decided);
}

#[test]
fn another_policy_goes_on_after_a_crash_from_what_it_has_come_to() {
    let mut live = Live::start(5, Limit::default());
    live.play(1_000, 30, 20, 0.0);
    let saved = live.comparator.saved();
    live.play(1_000, 50, 20, 0.0);
    live.restart_from(saved);
    live.play(1_000, 40, 50, 1.0);
    let found = again(&live.log);
    assert_eq!(found.agreement(), Agreement::Exact, "{:?} {:?}", found.decisions, live.decided);
    let own = taken_back(&found).expect("all of green fails");
    let compared = AnalysisSpec::default();
    let other = OtherPolicy { compared, slo: found.head.terms.slo };
    let with = rerun(&live.log, read, Some(&other)).expect("a log");
    let with = taken_back(&with).expect("all of green fails");
    assert!(with.abs_diff(own) <= 500, "{with} {own}");
}

#[test]
fn burn_rates_that_page_are_reproduced_and_are_of_their_objective_alone() {
    let mut live = Live::start(21, Limit::default());
    live.play(1_000, 30, 20, 0.0);
    live.page([true, false]);
    live.page([true, true]);
    live.page([false, false]);
    live.play(10_000, 10, 20, 0.0);
    assert!(live.decided.iter().all(|decided| !decided.stance.takes_back()));
    // The rollout acts on it, and nothing is evaluated any more.
    live.page([true, false]);
    let found = live.require_reproduced();
    let taken = found.taken_back().expect("there is nobody to compare it with");
    assert_eq!(taken.at_ms, live.now.ms() - START);
    assert_eq!(taken.stance.says(), "roll back: green breaks its objective, alone");
    let freezes = found.decisions.iter().filter(|one| one.stance.says().starts_with("hold: "));
    let said: Vec<&str> = freezes.map(|one| one.stance.says()).collect();
    assert_eq!(said, ["hold: green breaks its objective", "hold: both break the objective"]);
    let with = |slo: Option<&str>| {
        let slo = slo.and_then(|slo| slo.parse().ok());
        let other = OtherPolicy { compared: AnalysisSpec::default(), slo };
        taken_back(&rerun(&live.log, read, Some(&other)).expect("a log"))
    };
    assert_eq!(with(Some("99.9%")), Some(taken.at_ms));
    assert_eq!((with(Some("99%")), with(None)), (None, None), "nobody watched these");
}

#[test]
fn what_a_person_accepted_begins_anew_in_both() {
    let mut live = Live::start(9, Limit::default());
    live.play(1_000, 50, 50, 0.01);
    live.comparator.rearm(Side::Green);
    live.comparator.rearm(Side::Blue);
    live.split = SplitCheck::default();
    live.recorder.accepted(live.now, true);
    live.play(1_000, 50, 50, 0.01);
    live.require_reproduced();
}

#[test]
fn a_run_over_the_bound_is_thinned_then_ends_and_says_so() {
    let limit = Limit { exact: 20_000, most: 40_000 };
    let mut live = Live::start(11, limit);
    let mut whole = Live::start(11, Limit::default());
    for _ in 0..60 {
        live.play(1_000, 50, 60, 0.02);
        whole.play(1_000, 50, 60, 0.02);
    }
    assert!(live.log.len() as u64 <= limit.most, "{}", live.log.len());
    assert!(whole.log.len() > live.log.len());
    let found = again(&live.log);
    let (thinned, full) = (found.inexact.thinned_ms, found.inexact.full_ms);
    assert!(thinned.is_some() && full > thinned, "{found:?}");
    assert!(found.inexact.is_approximate());
    whole.require_reproduced();
}

#[test]
fn thinned_evidence_comes_to_nearly_the_same() {
    let mut live = Live::start(13, Limit { exact: 5_000, most: 10 << 20 });
    live.play(1_000, 300, 60, 0.02);
    let found = again(&live.log);
    assert!(found.inexact.thinned_ms.is_some() && found.inexact.full_ms.is_none());
    let live_evidence = live.comparator.highest();
    assert!(found.highest <= 1.001 * live_evidence, "never more than was seen");
    live.play(1_000, 50, 60, 1.0);
    let found = again(&live.log);
    let decided = live.decided.iter().find(|decided| decided.stance.takes_back());
    let (found, decided) = (taken_back(&found), decided.map(|decided| decided.at_ms));
    let (found, decided) = (found.expect("taken back"), decided.expect("taken back"));
    assert!(found.abs_diff(decided) <= 1_000, "{found} {decided}");
}

#[test]
fn an_idle_rollout_takes_a_few_bytes_a_second() {
    let mut live = Live::start(1, Limit::default());
    live.play(1_000, 10, 10, 0.0);
    live.play(1_000, 50, 0, 0.0);
    let before = live.log.len();
    live.play(1_000, 100, 0, 0.0);
    let per_second = (live.log.len() - before) / 10;
    assert!(per_second <= 40, "{per_second}");
}

#[test]
fn a_log_of_another_format_or_none_is_told() {
    let error = |log: &[u8]| rerun(log, read, None).expect_err("no log");
    assert_eq!(error(b""), ReplayError::Log(LogError::NoLog));
    assert_eq!(error(b"evidence"), ReplayError::Log(LogError::NoLog));
    let later = frames::frame(&[0, 9]);
    let unknown = LogError::UnknownFormat { found: 9, supported: 1 };
    assert_eq!(error(&later), ReplayError::Log(unknown));
    let strange = frames::frame(&[0, 1, 0, 2, b'{', b'}']);
    assert_eq!(error(&strange), ReplayError::Head { at_ms: 0 });
}
