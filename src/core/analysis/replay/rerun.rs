//! Running a comparison again from its log: the same engine, fed the same, in the same order.

use crate::core::analysis::comparison::{Cohort, Comparator, Rules};
use crate::core::analysis::{OnSharedDegradation, SplitCheck, Staying};
use crate::core::model::{AnalysisSpec, MonoTime, Objective, Side, Weight};

use super::{Cause, Entry, Happened, Head, LogError, Reader, Stance};

/// A policy to run a log by in the place of its own.
///
/// What was counted stays as it was counted: which answers were slow, and which failures of one
/// target counted as one, was decided by the policy of the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherPolicy {
    /// How green is compared.
    pub compared: AnalysisSpec,
    /// The objective; `None` without one.
    pub slo: Option<Objective>,
}

/// Why a log cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its head cannot be, or is of no policy.
    #[error("what the records after {at_ms} ms go by cannot be read")]
    Head {
        /// When the head was written, in milliseconds since the log began.
        at_ms: u64,
    },
}

/// A comparison calls for something else than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When, in milliseconds since the log began.
    pub at_ms: u64,
    /// The step of the rollout.
    pub step: u64,
    /// Green's weight then.
    pub weight: Weight,
    /// What it calls for.
    pub stance: Stance,
    /// The verdict with its numbers.
    pub text: String,
    /// The largest evidence until then.
    pub evidence: f64,
    /// The evidence that takes the traffic back.
    pub needed: f64,
    /// The cohort at which the evidence sufficed; `None` if it did not.
    pub cohort: Option<u64>,
}

/// A decision as the log has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recorded {
    /// When, in milliseconds since the log began.
    pub at_ms: u64,
    /// What was called for.
    pub stance: Stance,
    /// The largest evidence until then.
    pub evidence: f64,
}

/// Why a log is not the whole evidence, one reading after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inexact {
    /// From here on one evaluation a second was kept, in milliseconds since the log began.
    pub thinned_ms: Option<u64>,
    /// From here on nothing was.
    pub full_ms: Option<u64>,
    /// How often records were lost.
    pub gaps: u32,
    /// Whether the end was cut off.
    pub torn: bool,
    /// From here on the evidence rested on one target, in records that do not tell whether it was
    /// ejected: those of an earlier release, in milliseconds since the log began.
    pub untold_ms: Option<u64>,
}

impl Inexact {
    /// Whether what was run is not exactly what was.
    #[must_use]
    pub fn is_approximate(self) -> bool {
        let parts = [self.thinned_ms, self.full_ms, self.untold_ms];
        self.gaps > 0 || parts.iter().any(Option::is_some)
    }
}

/// What came of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Rerun {
    /// The head that it begins with.
    pub head: Head,
    /// Every decision, as it was come to again.
    pub decisions: Vec<Decision>,
    /// Every decision, as it was come to.
    pub recorded: Vec<Recorded>,
    /// What is missing.
    pub inexact: Inexact,
    /// How often the process was started in between.
    pub restarts: u32,
    /// How many evaluations there were.
    pub evaluations: u64,
    /// The time of the last of them, in milliseconds since the log began.
    pub lasted_ms: u64,
    /// The largest evidence at the end.
    pub highest: f64,
    /// The cohort at which the evidence sufficed; `None` if it never did.
    pub crossed: Option<u64>,
}

/// Whether the decisions are those of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All are, with their times and their evidence.
    Exact,
    /// They are not.
    Differs {
        /// When the first one that is not the same was, or would have been, in milliseconds since
        /// the log began.
        at_ms: u64,
    },
}

impl Rerun {
    /// Whether the decisions are those of the log; under another policy they need not be.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        let same = |found: &Decision, recorded: &Recorded| {
            // Another processor's logarithms may differ in the last digits.
            let near = (found.evidence / recorded.evidence - 1.0).abs() < 1e-9;
            found.at_ms == recorded.at_ms && found.stance == recorded.stance && near
        };
        let longest = self.decisions.len().max(self.recorded.len());
        let differs = (0..longest).find_map(|place| {
            match (self.decisions.get(place), self.recorded.get(place)) {
                (Some(found), Some(recorded)) => {
                    (!same(found, recorded)).then(|| found.at_ms.min(recorded.at_ms))
                }
                (Some(found), None) => Some(found.at_ms),
                (None, Some(recorded)) => Some(recorded.at_ms),
                (None, None) => None,
            }
        });
        differs.map_or(Agreement::Exact, |at_ms| Agreement::Differs { at_ms })
    }

    /// The decision that took the traffic back; `None` if none did.
    #[must_use]
    pub fn taken_back(&self) -> Option<&Decision> {
        self.decisions.iter().find(|decision| decision.stance.takes_back())
    }
}

/// Runs a log again, by its own policy or another one; `read` reads a head.
///
/// # Errors
/// If it is not what a recorder writes.
pub fn rerun(
    log: &[u8],
    read: impl Fn(&[u8]) -> Option<Head>,
    other: Option<&OtherPolicy>,
) -> Result<Rerun, ReplayError> {
    let mut reader = Reader::new(log);
    let mut run: Option<Run> = None;
    for entry in reader.by_ref() {
        let Entry { at_ms, happened } = entry?;
        if let Happened::Begun(bytes) = happened {
            let unreadable = || ReplayError::Head { at_ms };
            let head = read(bytes).filter(is_sound).ok_or_else(unreadable)?;
            match &mut run {
                Some(run) => run.go_on(&head, other).ok_or_else(unreadable)?,
                None => run = Some(Run::start(head, other).ok_or_else(unreadable)?),
            }
        } else if let Some(run) = &mut run {
            run.take(at_ms, happened);
        }
    }
    let mut run = run.ok_or(LogError::NoLog)?;
    run.found.inexact.torn = reader.is_torn();
    run.found.highest = run.comparator.highest();
    run.found.crossed = run.comparator.crossed().and_then(|crossing| crossing.point.cohort);
    Ok(run.found)
}

fn is_sound(head: &Head) -> bool {
    head.saved.as_ref().is_none_or(|saved| saved.is_sound())
}

/// A log being run.
#[derive(Debug)]
struct Run {
    rules: Rules,
    on_shared: OnSharedDegradation,
    comparator: Comparator,
    split: SplitCheck,
    /// When blue last had a request; `None` before the first cohort.
    blue_seen: Option<MonoTime>,
    stance: Option<Stance>,
    found: Rerun,
    /// Whether the evidence rests on one target, as of the last evaluation.
    one_target: bool,
    /// Whether the burn rates of green and of blue page.
    pages: [bool; 2],
    /// Whether they were watched by the objective that is judged by.
    heeds_pages: bool,
    /// Whether the next cohort has to be put behind those of the comparison so far.
    is_apart: bool,
    /// How much larger the numbers of cohorts are here than in the log.
    ahead: u64,
    /// Whether a target stays in that should be out; `None` where the records tell nothing of it.
    staying: Option<Staying>,
}

impl Run {
    fn start(head: Head, other: Option<&OtherPolicy>) -> Option<Self> {
        let (rules, on_shared) = policy(&head, other)?;
        let comparator = match (&head.saved, other) {
            (Some(saved), None) => Comparator::restore(rules, (**saved).clone()),
            (Some(_) | None, _) => Comparator::new(rules),
        };
        let mut inexact = Inexact::default();
        // What came before is not in it.
        inexact.gaps += u32::from(head.saved.is_some());
        let found = Rerun {
            head,
            decisions: Vec::new(),
            recorded: Vec::new(),
            inexact,
            restarts: 0,
            evaluations: 0,
            lasted_ms: 0,
            highest: 1.0,
            crossed: None,
        };
        Some(Self {
            rules,
            on_shared,
            comparator,
            split: SplitCheck::default(),
            blue_seen: None,
            stance: None,
            one_target: false,
            pages: [false; 2],
            heeds_pages: heeds_pages(&found.head, other),
            is_apart: false,
            ahead: 0,
            staying: None,
            found,
        })
    }

    /// Goes on after another head, as the comparison did.
    fn go_on(&mut self, head: &Head, other: Option<&OtherPolicy>) -> Option<()> {
        (self.rules, self.on_shared) = policy(head, other)?;
        let saved = match (&head.saved, other) {
            (Some(saved), None) => Some((**saved).clone()),
            // Another policy has come to something else by now.
            (Some(_), Some(_)) => Some(self.comparator.saved()),
            (None, _) => None,
        };
        self.comparator = match saved {
            Some(saved) => Comparator::restore(self.rules, saved),
            None => Comparator::new(self.rules),
        };
        (self.split, self.blue_seen, self.stance) = (SplitCheck::default(), None, None);
        (self.one_target, self.pages, self.staying) = (false, [false; 2], None);
        self.heeds_pages = heeds_pages(head, other);
        (self.is_apart, self.ahead) = (other.is_some(), 0);
        match head.cause {
            Cause::Start | Cause::Restart => self.found.restarts += 1,
            Cause::Gap => self.found.inexact.gaps += 1,
        }
        Some(())
    }

    fn take(&mut self, at_ms: u64, happened: Happened<'_>) {
        let now = MonoTime::from_ms(at_ms);
        match happened {
            Happened::Begun(_) => {}
            Happened::Thresholds(thresholds) => self.comparator.time_by(&thresholds),
            Happened::Folded => self.comparator.fold(),
            Happened::Opened(cohort) => {
                self.blue_seen.get_or_insert(now);
                let cohort = self.behind_the_last(cohort);
                // Numbers only grow, but for a log that nobody wrote.
                let _ = self.comparator.open(cohort);
            }
            Happened::Evaluated { targets, drawn, cells, blue_arrives } => {
                for (number, cells) in &cells {
                    self.comparator.observe(number.saturating_add(self.ahead), cells);
                }
                if blue_arrives {
                    self.blue_seen = Some(now);
                }
                if let Some(drawn) = drawn {
                    self.split.observe(drawn);
                }
                self.one_target = self.comparator.evaluate(now, targets).suspect.is_some();
                self.found.evaluations += 1;
                self.found.lasted_ms = at_ms;
                self.decide(at_ms);
            }
            Happened::Paged { pages, looked } => {
                self.pages = pages;
                if looked {
                    self.decide(at_ms);
                }
            }
            Happened::Stays { since_ms, accepted, looked } => {
                self.staying = Some(Staying::recalled(since_ms.map(MonoTime::from_ms), accepted));
                if looked {
                    self.decide(at_ms);
                }
            }
            Happened::Accepted { rearmed } => self.accept(rearmed),
            Happened::Decided { stance, evidence } => {
                if self.found.recorded.len() < MOST_DECISIONS {
                    self.found.recorded.push(Recorded { at_ms, stance, evidence });
                }
            }
            Happened::Thinned => {
                self.found.inexact.thinned_ms.get_or_insert(at_ms);
            }
            Happened::Full => {
                self.found.inexact.full_ms.get_or_insert(at_ms);
            }
        }
    }

    /// A person accepted what holds the weight.
    fn accept(&mut self, rearmed: bool) {
        if rearmed {
            self.comparator.rearm(Side::Green);
            self.comparator.rearm(Side::Blue);
        }
        self.split = SplitCheck::default();
        if let Some(staying) = &mut self.staying {
            staying.accept();
        }
    }

    /// A cohort with a number after the last one. A process that starts goes on from what was saved
    /// and uses the numbers after that again; another policy goes on from what it has come to, which
    /// is later.
    fn behind_the_last(&mut self, cohort: Cohort) -> Cohort {
        if std::mem::take(&mut self.is_apart) {
            let next = self.comparator.newest().map_or(0, |last| last.number.saturating_add(1));
            self.ahead = next.saturating_sub(cohort.number);
        }
        Cohort { number: cohort.number.saturating_add(self.ahead), ..cohort }
    }

    fn decide(&mut self, at_ms: u64) {
        let seen = (MonoTime::from_ms(at_ms), self.blue_seen);
        let checked = (self.split.alarms(), self.one_target);
        let pages = self.pages.map(|pages| pages && self.heeds_pages);
        let stance = Stance::of(&self.comparator, self.on_shared, seen, checked, pages);
        let stance = match self.staying {
            Some(staying) => stance.held(&self.comparator, staying, seen.0),
            None => stance,
        };
        if stance.one_target && self.staying.is_none() {
            self.found.inexact.untold_ms.get_or_insert(at_ms);
        }
        if self.stance == Some(stance) {
            return;
        }
        self.stance = Some(stance);
        if self.found.decisions.len() >= MOST_DECISIONS {
            return;
        }
        let newest = self.comparator.newest();
        self.found.decisions.push(Decision {
            at_ms,
            step: newest.map_or(0, |newest| newest.step),
            weight: newest.map_or(Weight::ZERO, |newest| newest.weight),
            stance,
            text: self.comparator.verdict().to_string(),
            evidence: self.comparator.highest(),
            needed: self.rules.alpha.boundary(),
            cohort: self.comparator.crossed().and_then(|crossing| crossing.point.cohort),
        });
    }
}

/// What a head is run by; `None` if nothing can be compared by it.
fn policy(head: &Head, other: Option<&OtherPolicy>) -> Option<(Rules, OnSharedDegradation)> {
    let mut head = Head { saved: None, ..head.clone() };
    if let Some(other) = other {
        (head.terms.compared, head.terms.slo) = (Some(other.compared), other.slo);
    }
    let on_shared = head.terms.compared?.on_shared_degradation;
    Some((head.rules()?, on_shared.into()))
}

/// Whether burn rates tell anything about the objective that is judged by: what they would have
/// been by another one is not in a log.
fn heeds_pages(head: &Head, other: Option<&OtherPolicy>) -> bool {
    other.is_none_or(|other| other.slo == head.terms.slo)
}

/// A comparison changes its mind a few times a step.
const MOST_DECISIONS: usize = 10_000;
