//! Comparing: the comparison of one rollout as the writer keeps it.
//!
//! The request path counts into the [`Counters`] that the routing table carries; here they are
//! read and evaluated, and `shown` makes of that what the rollout and people see. Between a change of the weight in the
//! table and the opening of that weight's cohort nothing is counted: that is decided before any
//! request's side is drawn, and so costs nothing but those requests.

mod burning;
mod recorded;
mod shown;
mod suspicion;

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use crate::core::analysis::comparison::{
    Calendar, ClusterGuard, Comparator, Counters, Crossing, MetricSet, Rules, Saved,
};
use crate::core::analysis::{Burning, Drawn, SplitCheck, Thresholds};
use crate::core::model::{AnalysisSpec, AnalysisTerms, MonoTime, Side, Span, Weight};
use crate::core::rollout::{Hold, Spec};

use super::AnalysisView;
use super::evidence_tap::Tap;

use burning::BurnSides;
pub(super) use suspicion::Suspect;
use suspicion::Suspicion;

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
    one_target: bool,
    told: Told,
    suspicion: Suspicion,
    /// Whether a target of green warms up in the present cohort.
    warming: bool,
    burns: BurnSides,
    tap: Tap,
}

/// The freezes that people were told about and that last: of what kind, and for what reason.
#[derive(Debug, Default)]
struct Told(Vec<(Discriminant<Hold>, Option<String>)>);

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
            one_target: false,
            told: Told::default(),
            suspicion: Suspicion::default(),
            warming: false,
            burns: BurnSides::default(),
            tap: Tap::default(),
        })
    }

    /// The comparison of a rollout of an earlier life. Nothing that was in flight then is seen
    /// again. Where users are compared and nobody knows which of them were counted, everything
    /// rests until the next rollout. `had_traffic` tells whether green may have had weight.
    pub(super) fn restore(
        spec: &Spec,
        longest: Span,
        (saved, had_traffic): (Option<Saved>, bool),
        now: MonoTime,
    ) -> Option<Self> {
        let mut restored = Self::begin(spec, longest)?;
        // Also if nothing is saved yet: a rollout is saved before its first weight.
        let known = saved.as_ref().and_then(Saved::units);
        let known = known.is_some_and(|units| restored.counters.recall_units(units));
        restored.forgotten = had_traffic && spec.analysis.sticky && !known;
        if let Some(saved) = saved {
            let last = saved.last();
            restored.calendar = last.map(|last| Calendar::resume(now, last));
            restored.comparator = Comparator::restore(restored.rules, saved);
            let evidence = restored.comparator.points().map(|point| point.total);
            let (evidence, needed) = (evidence.fold(1.0, f64::max), restored.needed());
            restored.suspicion.inherit(evidence, needed);
        }
        Some(restored)
    }

    /// What has to survive a restart; `None` while there is nothing.
    pub(super) fn saved(&self) -> Option<Saved> {
        // The units after the evidence: none is in the evidence that is not among them.
        let units = || if self.forgotten { None } else { self.counters.saved_units() };
        self.has_begun().then(|| self.comparator.saved().with_units(units()))
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
        let evaluation = self.comparator.evaluate(now, green_targets);
        self.one_target = evaluation.suspect.is_some();
        let evidence = evaluation.point.total;
        self.suspicion.look(evaluation.suspect.map(|place| Suspect { place, evidence }));
        self.record_evaluation(now, green_targets);
        evaluation.crossed
    }

    /// Whether green failed since the last evaluation.
    pub(super) fn has_failed(&self) -> bool {
        self.counters.green_bad() > self.green_bad
    }

    /// The same after a failure of green; only if there was one, and not too often.
    pub(super) fn evaluate_failure(&mut self, now: MonoTime, green_targets: usize) -> bool {
        let due = self.has_failed()
            && self.calendar.as_mut().is_some_and(|calendar| calendar.may_evaluate(now));
        due && self.evaluate(now, green_targets)
    }

    /// Folds what is settled.
    pub(super) fn fold(&mut self) {
        self.comparator.fold();
        self.tap.folded(&self.comparator);
    }

    /// Opens the next cohort if it is time, or if the weight or the step is another one. While a
    /// target of green is `warming` up, nobody's latencies are compared: leaving out green's alone
    /// would take a healthy green back for sure (B5).
    pub(super) fn open(
        &mut self,
        now: MonoTime,
        step: u32,
        weight: Weight,
        warming: bool,
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
        self.warming = warming;
        let dormant = match (self.forgotten, warming) {
            (true, _) => MetricSet::ALL,
            (false, true) => MetricSet::LATENCIES,
            (false, false) => self.thresholds.dormant(),
        };
        let Some(cohort) = calendar.next(now, step.into(), weight, dormant) else {
            return;
        };
        self.comparator.time_by(&self.thresholds);
        if let Err(error) = self.comparator.open(cohort) {
            // The calendar's numbers only grow.
            tracing::error!(%error, "a cohort of the comparison was not opened");
            return;
        }
        let cohort = self.comparator.newest().copied().unwrap_or(cohort);
        self.counters.open(&cohort, &self.thresholds);
        self.tap.opened(now, &cohort, &self.thresholds);
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
            self.tap.observed(number, &cells);
        }
        let drawn = drawn_since(&mut self.accepted, self.counters.drawn());
        // Where nothing is drawn there is no split to check.
        if drawn.weight > Weight::ZERO && drawn.weight < Weight::FULL {
            self.split.observe(drawn);
            self.tap.drawn(drawn);
            self.drawn = Some(drawn);
        }
    }

    /// A person took upon themselves what holds the weight: it begins anew. A breach that takes
    /// the traffic back is the rollout's to overlook, and stays as it is.
    pub(super) fn accept(&mut self, now: MonoTime, weight: Weight) {
        let rearmed = self.assess(now, weight).slo_breach.is_none();
        self.tap.accepted(now, rearmed);
        if rearmed {
            self.comparator.rearm(Side::Green);
            self.comparator.rearm(Side::Blue);
            self.burns.overlook();
        }
        self.split = SplitCheck::default();
        self.accepted = Some(self.counters.drawn());
        self.fault_accepted = true;
        self.told = Told::default();
        self.suspicion.accept();
        self.record_burns(now);
    }

    /// The moment at which the evidence sufficed; `None` if it did not.
    pub(super) fn crossing(&self) -> Option<&Crossing> {
        self.comparator.crossed()
    }

    /// Takes the burn rates of green and of blue.
    pub(super) fn burn(&mut self, seen: [Burning; 2], now: MonoTime) {
        self.burns.look(seen);
        self.record_burns(now);
    }

    /// The evidence that takes the traffic back.
    pub(super) fn needed(&self) -> f64 {
        self.rules.alpha.boundary()
    }

    /// The target of green on which all the evidence rests; `None` while there is none.
    pub(super) fn suspect(&self) -> Option<Suspect> {
        self.suspicion.present()
    }

    /// Whether the suspect is to be ejected for more than what was dealt with.
    pub(super) fn is_suspect_due(&self, suspect: Suspect) -> bool {
        self.suspicion.is_due(suspect, self.needed())
    }

    /// The suspect is out, or gone.
    pub(super) fn deal_with_suspect(&mut self, suspect: Suspect, now: MonoTime) {
        self.treat(now, |suspicion| suspicion.deal_with(suspect));
    }

    /// The suspect was ejected; how that is told.
    pub(super) fn eject_suspect(&mut self, suspect: Suspect, told: String, now: MonoTime) {
        self.treat(now, |suspicion| suspicion.eject(suspect, told));
    }

    /// The suspect should be ejected and may not be.
    pub(super) fn keep_suspect(&mut self, why: String, now: MonoTime) {
        self.treat(now, |suspicion| suspicion.keep(why, now));
    }

    /// Makes something of the suspect; recorded if it stays in from now on, or does not any more.
    fn treat(&mut self, now: MonoTime, treat: impl FnOnce(&mut Suspicion)) {
        let before = self.suspicion.staying();
        treat(&mut self.suspicion);
        if self.suspicion.staying() != before {
            self.record_staying(now);
        }
    }

    /// What an earlier life showed of the comparison, as far as it is still so.
    pub(super) fn recall(&mut self, earlier: AnalysisView) {
        self.suspicion.recall(earlier.ejected);
    }

    /// Freezes that nobody was told about yet.
    pub(super) fn news(&mut self, freezes: &[Hold]) -> Vec<String> {
        self.told.news(freezes)
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
