//! What a comparison shows: to its rollout, which decides by it, and to people.

use crate::core::analysis::comparison::{Crossing, Metric, Point};
use crate::core::analysis::verdict::{NoComparison, Unavailable, Verdict, Word};
use crate::core::analysis::{Action, Drawn, Findings, RollbackReason};
use crate::core::model::{MonoTime, Side, Span, Weight};
use crate::core::rollout::{Evidence, Hold};

use super::super::{AnalysisView, MetricView};
use super::Comparing;

/// What a comparison shows its rollout.
#[derive(Debug, Default)]
pub(in crate::control) struct Assessment {
    pub(in crate::control) evidence: Evidence,
    pub(in crate::control) slo_breach: Option<String>,
    pub(in crate::control) freezes: Vec<Hold>,
}

/// For how long blue may be without a request before there is nobody to compare green with.
const NO_BLUE: Span = Span::from_secs(30);

impl Comparing {
    /// What the rollout is shown: the comparison's verdict, and the table of section 6.3.
    pub(in crate::control) fn assess(&self, now: MonoTime, weight: Weight) -> Assessment {
        let verdict = self.comparator.verdict();
        let mut shown = Assessment { evidence: self.evidence(&verdict), ..Assessment::default() };
        let alarms = |side| self.comparator.absolute_alarm(side).is_some() || self.pages(side);
        let no_blue = self.blue_seen.is_some_and(|at| now.since(at) >= NO_BLUE);
        let findings = Findings {
            green_is_worse: matches!(verdict, Verdict::Fail(_)),
            green_alarms: alarms(Side::Green),
            blue_alarms: alarms(Side::Blue),
            nobody_to_compare_with: weight == Weight::FULL || no_blue,
        };
        match findings.call_for(self.spec.on_shared_degradation.into()) {
            Action::None | Action::RollBack { because: RollbackReason::Worse } => {}
            Action::RollBack {
                because: because @ (RollbackReason::Alone | RollbackReason::Shared),
            } => shown.slo_breach = Some(self.breach(because.as_str())),
            Action::Freeze { because } => {
                shown.freezes.push(Hold::Degraded { reason: self.breach(because.as_str()) });
            }
        }
        if let Some(reason) = self.split_reason() {
            shown.freezes.push(Hold::SampleRatio { reason });
        }
        if let Some(reason) = self.suspicion.freeze(now) {
            shown.freezes.push(Hold::Degraded { reason: reason.to_owned() });
        }
        let fault = Verdict::Unavailable { why: Unavailable::Fault };
        if verdict == fault && !self.fault_accepted {
            shown.freezes.push(Hold::AnalysisFault);
        }
        shown
    }

    /// Whether a side breaks the objective by its burn rate.
    pub(super) fn pages(&self, side: Side) -> bool {
        self.terms.slo.is_some() && self.burns.pages(side)
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
            Some(slo) if self.has_absolute_alarm() => {
                format!("{whose} (more than 14.4 times what {slo} permits)")
            }
            // Without the rates, which change: it is one reason as long as it lasts.
            Some(slo) => format!("{whose} (what {slo} permits is used up at a rate that pages)"),
            None => whose.to_owned(),
        }
    }

    fn has_absolute_alarm(&self) -> bool {
        let alarms = |side| self.comparator.absolute_alarm(side).is_some();
        alarms(Side::Green) || alarms(Side::Blue)
    }

    fn split_reason(&self) -> Option<String> {
        let Drawn { weight, green, total } = self.drawn.filter(|_| self.split.alarms())?;
        Some(format!("{green} of {total} drawn requests went to green at {weight}"))
    }

    /// The comparison as others see it.
    pub(in crate::control) fn view(&self, now: MonoTime, weight: Weight) -> AnalysisView {
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
            verdict: Word::from(&verdict),
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
            ejected: self.suspicion.ejected().to_vec(),
            resting: self.resting(),
            burns: self.terms.slo.map_or_else(Vec::new, |_| self.burns.view()),
        }
    }

    /// What is not compared just now, and why.
    fn resting(&self) -> Vec<String> {
        let warms = self.warming.then(|| "latencies, while a target of green warms up".to_owned());
        warms.into_iter().collect()
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

/// A number above zero with two digits that count.
fn significant(number: f64) -> String {
    if number >= 0.01 { format!("{number:.2}") } else { format!("{number:.1e}") }
}
