//! Comparing: the comparison of one rollout as the writer keeps it.
//!
//! The request path counts into the [`Counters`] that the routing table carries; here they are
//! read, evaluated, and made into what the rollout is shown. Between a change of the weight in the
//! table and the opening of that weight's cohort nothing is counted: that is decided before any
//! request's side is drawn, and so costs nothing but those requests.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use crate::core::analysis::comparison::{
    Calendar, ClusterGuard, Comparator, Counters, Crossing, Metric, MetricSet, Point, Rules, Saved,
};
use crate::core::analysis::verdict::{NoComparison, Unavailable, Verdict};
use crate::core::analysis::{
    Action, Drawn, Findings, FreezeReason, OnSharedDegradation, RollbackReason, SplitCheck,
    Thresholds,
};
use crate::core::model::{
    AnalysisSpec, AnalysisTerms, MonoTime, SharedDegradation, Side, Span, Weight,
};
use crate::core::rollout::{Evidence, Hold, Spec};

use super::{AnalysisVerdict, AnalysisView, MetricView};

/// The comparison of one rollout.
#[derive(Debug)]
pub(super) struct Comparing {
    terms: AnalysisTerms,
    spec: AnalysisSpec,
    rules: Rules,
    comparator: Comparator,
    counters: Arc<Counters>,
    /// `None` until green first has weight.
    calendar: Option<Calendar>,
    /// The epoch that the thresholds are of; `None` before the first.
    epoch: Option<u64>,
    thresholds: Thresholds,
    split: SplitCheck,
    /// What the check last saw; `None` before the first look.
    drawn: Option<Drawn>,
    /// What had been drawn when a person accepted a wrong split; `None` if nobody did.
    accepted: Option<Drawn>,
    /// Whether which users were counted already is not known any more.
    forgotten: bool,
    /// Whether a person took a fault of the comparison upon themselves.
    fault_accepted: bool,
    /// Green's bad outcomes as of the last evaluation.
    green_bad: u64,
    /// When blue last had a request; `None` before the first cohort.
    blue_seen: Option<MonoTime>,
    sent: Sent,
    one_target: bool,
    told: Told,
}

/// The freezes that people were told about and that last: of what kind, and for what reason.
#[derive(Debug, Default)]
struct Told(Vec<(Discriminant<Hold>, Option<String>)>);

/// Requests that green was sent, every one of a sticky user too.
#[derive(Debug, Default)]
struct Sent {
    /// In cohorts before the newest one.
    closed: u64,
    /// How many there were when the verdict fell, or was last counted from; `None` before it.
    counted: Option<u64>,
}

/// What a comparison shows its rollout.
#[derive(Debug, Default)]
pub(super) struct Assessment {
    pub(super) evidence: Evidence,
    pub(super) slo_breach: Option<String>,
    pub(super) freezes: Vec<Hold>,
}

/// For how long blue may be without a request before there is nobody to compare green with.
const NO_BLUE: Span = Span::from_secs(30);

impl Comparing {
    /// The comparison of a rollout that begins; `None` if nothing is compared. `longest` is how
    /// long a request of the service may take to be answered.
    pub(super) fn begin(spec: &Spec, longest: Span) -> Option<Self> {
        let rules = match Rules::agreed(&spec.analysis, longest) {
            Ok(rules) => rules?,
            Err(error) => {
                // The configuration was checked, so this is a record of another release.
                tracing::error!(rollout = %spec.id, %error, "green is not compared with blue");
                return None;
            }
        };
        let compared = spec.analysis.compared?;
        let guard = ClusterGuard::new(compared.cluster_guard);
        Some(Self {
            terms: spec.analysis,
            spec: compared,
            rules,
            comparator: Comparator::new(rules),
            counters: Arc::new(Counters::new(rules.ring, spec.analysis.sticky, guard)),
            calendar: None,
            epoch: None,
            thresholds: Thresholds::default(),
            split: SplitCheck::default(),
            drawn: None,
            accepted: None,
            forgotten: false,
            fault_accepted: false,
            green_bad: 0,
            blue_seen: None,
            sent: Sent::default(),
            one_target: false,
            told: Told::default(),
        })
    }

    /// The comparison of a rollout of an earlier life. Nothing that was in flight then is seen
    /// again, and which users were counted is not known: theirs rests until the next rollout.
    /// `had_traffic` tells whether green may have had weight.
    pub(super) fn restore(
        spec: &Spec,
        longest: Span,
        (saved, had_traffic): (Option<Saved>, bool),
        now: MonoTime,
    ) -> Option<Self> {
        let mut restored = Self::begin(spec, longest)?;
        // Also if nothing is saved yet: a rollout is saved before its first weight.
        restored.forgotten = had_traffic && spec.analysis.sticky;
        if let Some(saved) = saved {
            let last = saved.last();
            restored.calendar = last.map(|last| Calendar::resume(now, last));
            restored.comparator = Comparator::restore(restored.rules, saved);
        }
        Some(restored)
    }

    /// What has to survive a restart; `None` while there is nothing.
    pub(super) fn saved(&self) -> Option<Saved> {
        self.has_begun().then(|| self.comparator.saved())
    }

    /// Where the request path counts.
    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// What it goes by.
    pub(super) fn spec(&self) -> AnalysisSpec {
        self.spec
    }

    /// Whether green has had weight.
    pub(super) fn has_begun(&self) -> bool {
        self.calendar.is_some()
    }

    /// Reads and evaluates; whether the evidence now suffices for a rollback for the first time.
    pub(super) fn evaluate(&mut self, now: MonoTime, green_targets: usize) -> bool {
        if !self.has_begun() {
            return false;
        }
        self.green_bad = self.counters.green_bad();
        self.observe(now);
        let evaluation = self.comparator.evaluate(green_targets);
        self.one_target = evaluation.suspect.is_some();
        if evaluation.crossed {
            self.verdict_fell();
        }
        evaluation.crossed
    }

    /// The same after a failure of green; only if there was one, and not too often.
    pub(super) fn evaluate_failure(&mut self, now: MonoTime, green_targets: usize) -> bool {
        let due = self.counters.green_bad() > self.green_bad
            && self.calendar.as_mut().is_some_and(|calendar| calendar.may_evaluate(now));
        due && self.evaluate(now, green_targets)
    }

    /// Folds what is settled.
    pub(super) fn fold(&mut self) {
        self.comparator.fold();
    }

    /// Opens the next cohort if it is time, or if the weight or the step is another one.
    pub(super) fn open(
        &mut self,
        now: MonoTime,
        step: u32,
        weight: Weight,
        renew: impl FnOnce() -> Thresholds,
    ) {
        if weight == Weight::ZERO {
            return;
        }
        let calendar = self.calendar.get_or_insert_with(|| Calendar::new(now));
        self.blue_seen.get_or_insert(now);
        let epoch = calendar.epoch_at(now, weight);
        if self.epoch != Some(epoch) {
            (self.thresholds, self.epoch) = (renew(), Some(epoch));
        }
        let before = self.comparator.newest().map(|newest| newest.number);
        let dormant = if self.forgotten { MetricSet::ALL } else { self.thresholds.dormant() };
        let Some(cohort) = calendar.next(now, step.into(), weight, dormant) else {
            return;
        };
        if let Err(error) = self.comparator.open(cohort) {
            // The calendar's numbers only grow.
            tracing::error!(%error, "a cohort of the comparison was not opened");
            return;
        }
        let cohort = self.comparator.newest().copied().unwrap_or(cohort);
        self.sent.closed += before.map_or(0, |before| sent_in(&self.counters, before));
        self.counters.open(&cohort, &self.thresholds);
    }

    fn observe(&mut self, now: MonoTime) {
        let open: Vec<u64> = self.comparator.open_cohorts().collect();
        let newest = open.last().copied();
        for number in open {
            let Some(cells) = self.counters.read(number) else { continue };
            if Some(number) == newest && cells.absolute.blue > 0 {
                self.blue_seen = Some(now);
            }
            self.comparator.observe(number, &cells);
        }
        let drawn = drawn_since(&mut self.accepted, self.counters.drawn());
        // Where nothing is drawn there is no split to check.
        if drawn.weight > Weight::ZERO && drawn.weight < Weight::FULL {
            self.split.observe(drawn);
            self.drawn = Some(drawn);
        }
    }

    /// A verdict fell, whoever said it: what green is sent from now on is counted.
    pub(super) fn verdict_fell(&mut self) {
        if self.has_begun() {
            let total = self.sent();
            self.sent.counted.get_or_insert(total);
        }
    }

    /// How many requests green was sent after the verdict, since the last call.
    pub(super) fn take_sent_after_verdict(&mut self) -> u64 {
        let total = self.sent();
        self.sent.counted.as_mut().map_or(0, |counted| {
            let more = total.saturating_sub(*counted);
            *counted = total;
            more
        })
    }

    fn sent(&self) -> u64 {
        let newest = self.comparator.newest();
        self.sent.closed + newest.map_or(0, |newest| sent_in(&self.counters, newest.number))
    }

    /// A person took upon themselves what holds the weight: it begins anew. A breach that takes
    /// the traffic back is the rollout's to overlook, and stays as it is.
    pub(super) fn accept(&mut self, now: MonoTime, weight: Weight) {
        if self.assess(now, weight).slo_breach.is_none() {
            self.comparator.rearm(Side::Green);
            self.comparator.rearm(Side::Blue);
        }
        self.split = SplitCheck::default();
        self.accepted = Some(self.counters.drawn());
        self.fault_accepted = true;
        self.sent.counted = None;
        self.told = Told::default();
    }

    /// The moment at which the evidence sufficed; `None` if it did not.
    pub(super) fn crossing(&self) -> Option<&Crossing> {
        self.comparator.crossed()
    }

    /// Freezes that nobody was told about yet.
    pub(super) fn news(&mut self, freezes: &[Hold]) -> Vec<String> {
        self.told.news(freezes)
    }

    /// What the rollout is shown: the comparison's verdict, and the table of section 6.3.
    pub(super) fn assess(&self, now: MonoTime, weight: Weight) -> Assessment {
        let verdict = self.comparator.verdict();
        let mut shown = Assessment { evidence: self.evidence(&verdict), ..Assessment::default() };
        let alarms = |side| self.comparator.absolute_alarm(side).is_some();
        let no_blue = self.blue_seen.is_some_and(|at| now.since(at) >= NO_BLUE);
        let findings = Findings {
            green_is_worse: matches!(verdict, Verdict::Fail(_)),
            green_alarms: alarms(Side::Green),
            blue_alarms: alarms(Side::Blue),
            nobody_to_compare_with: weight == Weight::FULL || no_blue,
        };
        let on_shared = match self.spec.on_shared_degradation {
            SharedDegradation::Hold => OnSharedDegradation::Hold,
            SharedDegradation::Rollback => OnSharedDegradation::Rollback,
        };
        match findings.call_for(on_shared) {
            Action::None | Action::RollBack { because: RollbackReason::Worse } => {}
            Action::RollBack { because: RollbackReason::Alone } => {
                let whose = "green fails, and there is nobody to compare it with";
                shown.slo_breach = Some(self.breach(whose));
            }
            Action::RollBack { because: RollbackReason::Shared } => {
                shown.slo_breach = Some(self.breach("green and blue fail together"));
            }
            Action::Freeze { because } => {
                let whose = match because {
                    FreezeReason::Green => "green fails, but is not shown to be worse than blue",
                    FreezeReason::Shared => "green and blue fail together: shared degradation",
                    FreezeReason::Blue => "blue fails: nothing is sent back to it by itself",
                };
                shown.freezes.push(Hold::Degraded { reason: self.breach(whose) });
            }
        }
        if let Some(reason) = self.split_reason() {
            shown.freezes.push(Hold::SampleRatio { reason });
        }
        let fault = Verdict::Unavailable { why: Unavailable::Fault };
        if verdict == fault && !self.fault_accepted {
            shown.freezes.push(Hold::AnalysisFault);
        }
        shown
    }

    fn evidence(&self, verdict: &Verdict) -> Evidence {
        match verdict {
            Verdict::Fail(failure) => {
                let p = significant(self.comparator.p_value());
                Evidence::Against { reason: format!("{failure} (p-value {p})") }
            }
            Verdict::Pass => Evidence::Pass,
            Verdict::Insufficient { missing } => {
                Evidence::Insufficient { missing: missing.green() }
            }
            Verdict::Unavailable { .. } | Verdict::NoComparison { .. } => Evidence::Unavailable,
        }
    }

    fn breach(&self, whose: &str) -> String {
        match self.terms.slo {
            Some(slo) => format!("{whose} (more than 14.4 times what {slo} permits)"),
            None => whose.to_owned(),
        }
    }

    fn split_reason(&self) -> Option<String> {
        let Drawn { weight, green, total } = self.drawn.filter(|_| self.split.alarms())?;
        Some(format!("{green} of {total} drawn requests went to green at {weight}"))
    }

    /// The comparison as others see it.
    pub(super) fn view(&self, now: MonoTime, weight: Weight) -> AnalysisView {
        let verdict = self.comparator.verdict();
        let crossing = self.comparator.crossed();
        let alarm = |side| self.comparator.absolute_alarm(side).map(|alarm| alarm.value);
        let missing = match verdict {
            Verdict::Insufficient { missing } => missing.green(),
            Verdict::Fail(_)
            | Verdict::Pass
            | Verdict::Unavailable { .. }
            | Verdict::NoComparison { .. } => None,
        };
        let freezes = self.assess(now, weight).freezes;
        AnalysisView {
            verdict: AnalysisVerdict::from(&verdict),
            text: self.text(&verdict),
            p_value: self.comparator.p_value(),
            evidence: self.comparator.highest(),
            needed: self.rules.alpha.boundary(),
            attempt: self.terms.attempt,
            at_least: self.comparator.ratio_lower_bound(),
            missing,
            metrics: self.metrics(crossing),
            cohort: crossing.and_then(|crossing| crossing.point.cohort),
            epoch: crossing.map(|crossing| crossing.epoch),
            slo: self.terms.slo,
            green_alarm: alarm(Side::Green),
            blue_alarm: alarm(Side::Blue),
            green_late_failures: self.counters.late_failures(Side::Green),
            blue_late_failures: self.counters.late_failures(Side::Blue),
            freezes: freezes.iter().map(ToString::to_string).collect(),
            one_target: self.one_target && crossing.is_none(),
        }
    }

    fn text(&self, verdict: &Verdict) -> String {
        let alone = matches!(
            verdict,
            Verdict::NoComparison {
                why: NoComparison::GreenHasEverything | NoComparison::WeightTooExtreme
            }
        );
        match self.terms.slo {
            None if alone => format!("{verdict}; without an `slo` nothing judges green now"),
            Some(slo) if alone => format!("{verdict}; the objective of {slo} judges green now"),
            Some(_) | None => verdict.to_string(),
        }
    }

    fn metrics(&self, crossing: Option<&Crossing>) -> Vec<MetricView> {
        let omegas = self.rules.margins.omegas();
        let highest = |one: &Point, other: &Point| one.total.total_cmp(&other.total);
        let shares = match crossing {
            Some(crossing) => crossing.shares,
            None => self.comparator.points().max_by(highest).unwrap_or_default().shares(&omegas),
        };
        let tallies = crossing.map_or_else(|| self.comparator.known(), |found| found.tallies);
        let view = |metric: &Metric| {
            let tally = tallies[metric.index()];
            let place = Metric::LATENCIES.iter().position(|latency| latency == metric);
            let slow = place.and_then(|place| self.thresholds.each[place]);
            MetricView {
                metric: metric.as_str().to_owned(),
                share: shares[metric.index()],
                green: tally.green(),
                green_bad: tally.green_bad,
                blue: tally.blue(),
                blue_bad: tally.blue_bad,
                green_slow_us: slow.map(|slow| slow.green_us),
                blue_slow_us: slow.map(|slow| slow.blue_us),
            }
        };
        Metric::ALL.iter().map(view).collect()
    }
}

impl Told {
    /// What lasts now and was not told of: also what came in the place of something else.
    fn news(&mut self, freezes: &[Hold]) -> Vec<String> {
        let kind = |freeze: &Hold| {
            // Other reasons have numbers in them, which change.
            let reason = if let Hold::Degraded { reason } = freeze { Some(reason) } else { None };
            (discriminant(freeze), reason.cloned())
        };
        let is_new = |freeze: &&Hold| !self.0.contains(&kind(freeze));
        let news = freezes.iter().filter(is_new).map(ToString::to_string).collect();
        self.0 = freezes.iter().map(kind).collect();
        news
    }
}

/// What was drawn since a person accepted a wrong split. Another weight is counted from its own
/// beginning, and so is an earlier one that comes back.
fn drawn_since(accepted: &mut Option<Drawn>, drawn: Drawn) -> Drawn {
    let goes_on = |base: &Drawn| base.weight == drawn.weight && base.total <= drawn.total;
    *accepted = accepted.filter(goes_on);
    accepted.map_or(drawn, |base| Drawn {
        weight: drawn.weight,
        green: drawn.green.saturating_sub(base.green),
        total: drawn.total - base.total,
    })
}

/// The green requests of a cohort so far.
fn sent_in(counters: &Counters, cohort: u64) -> u64 {
    counters.read(cohort).map_or(0, |cells| cells.absolute.green.into())
}

/// A number above zero with two digits that count.
fn significant(number: f64) -> String {
    if number >= 0.01 { format!("{number:.2}") } else { format!("{number:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_of_what_came_in_the_place_of_another_freeze() {
        let degraded = |reason: &str| Hold::Degraded { reason: reason.to_owned() };
        let split = |reason: &str| Hold::SampleRatio { reason: reason.to_owned() };
        let mut told = Told::default();
        assert_eq!(told.news(&[degraded("green")]).len(), 1);
        assert!(told.news(&[degraded("green")]).is_empty());
        assert_eq!(told.news(&[degraded("shared"), split("1 of 2")]).len(), 2);
        assert!(told.news(&[degraded("shared"), split("2 of 4")]).is_empty());
        assert!(told.news(&[]).is_empty());
        assert_eq!(told.news(&[split("3 of 6")]).len(), 1, "it came back");
    }

    #[test]
    fn what_was_accepted_is_left_out_until_the_weight_changes() {
        let drawn = |bp, green, total| Drawn {
            weight: Weight::from_bp(bp).expect("in range"),
            green,
            total,
        };
        let mut accepted = Some(drawn(1_000, 300, 1_000));
        let since = drawn_since(&mut accepted, drawn(1_000, 310, 1_100));
        assert_eq!(since, drawn(1_000, 10, 100));
        assert_eq!(drawn_since(&mut accepted, drawn(2_000, 0, 0)), drawn(2_000, 0, 0));
        let back = drawn(1_000, 200, 2_000);
        assert_eq!(drawn_since(&mut accepted, back), back, "it was counted anew");
        accepted = Some(drawn(1_000, 300, 1_000));
        let fewer = drawn(1_000, 1, 9);
        assert_eq!(drawn_since(&mut accepted, fewer), fewer);
    }
}
