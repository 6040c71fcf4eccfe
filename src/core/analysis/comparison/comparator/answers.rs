//! What a comparison says: its verdict, and the evidence that it rests on.

use super::super::bets::compares;
use super::super::latch::{AbsoluteAlarm, Crossing, place};
use super::super::metric::Metric;
use super::Comparator;
use crate::core::analysis::verdict::{Failure, Missing, NoComparison, Unavailable, Verdict};
use crate::core::model::{Side, Weight};

impl Comparator {
    /// What is to be said now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.latch.fault {
            return Verdict::Unavailable { why: Unavailable::Fault };
        }
        if let Some(crossing) = self.latch.crossing {
            return Verdict::Fail(self.failure(&crossing));
        }
        let Some(newest) = self.newest() else {
            return Verdict::NoComparison { why: NoComparison::NotBegun };
        };
        if let Some(why) = blindness(newest.weight) {
            return Verdict::NoComparison { why };
        }
        if newest.dormant.contains(Metric::Errors) {
            return Verdict::Unavailable { why: Unavailable::UnitsForgotten };
        }
        let rule = self.rules.certificate.filter(|rule| rule.gating.iter().any(Option::is_some));
        let Some(rule) = rule else {
            // A certificate that needs nothing would be one of silence.
            return Verdict::Insufficient { missing: Missing::NotByStatistics };
        };
        let mut gating = rule.gating.iter().zip(self.latch.certified);
        if gating.all(|(needed, certified)| needed.is_none() || certified) {
            return Verdict::Pass;
        }
        Verdict::Insufficient { missing: self.missing() }
    }

    /// The moment of the rollback; `None` if there was none.
    #[must_use]
    pub fn crossed(&self) -> Option<&Crossing> {
        self.latch.crossing.as_ref()
    }

    /// The anytime-valid p-value: one over the largest evidence so far, at most 1.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        1.0 / self.latch.highest.max(1.0)
    }

    /// The largest evidence so far; at least 1.
    #[must_use]
    pub fn highest(&self) -> f64 {
        self.latch.highest
    }

    /// How many times as often as blue green fails, at least; `None` if nothing is shown (B12).
    #[must_use]
    pub fn ratio_lower_bound(&self) -> Option<f64> {
        self.latch.refuted.lower_bound()
    }

    /// The alarm of the absolute process of a side; `None` if it never alarmed since it was armed,
    /// or if there is no objective.
    #[must_use]
    pub fn absolute_alarm(&self, side: Side) -> Option<AbsoluteAlarm> {
        self.latch.alarms[place(side)]
    }

    fn failure(&self, crossing: &Crossing) -> Failure {
        let shares = Metric::ALL.iter().zip(crossing.shares);
        let largest = shares.max_by(|(_, one), (_, other)| one.total_cmp(other));
        let metric = largest.map_or(Metric::Errors, |(metric, _)| *metric);
        Failure {
            metric,
            share: crossing.shares[metric.index()],
            evidence: crossing.point.total,
            settled: crossing.tallies[metric.index()],
            at_least: self.ratio_lower_bound(),
        }
    }

    /// The most that any gating metric misses.
    fn missing(&self) -> Missing {
        let (Some(rule), Some(newest)) = (self.rules.certificate, self.newest()) else {
            return Missing::NotByStatistics;
        };
        let epoch = self.epochs.of(newest.epoch);
        let known = self.known();
        let places = Metric::ALL.map(Metric::index);
        let mut most = 0;
        for place in places.into_iter().filter(|place| !self.latch.certified[*place]) {
            let Some(table) = &epoch.certificates[place] else {
                continue;
            };
            match table.missing(known[place], rule.beta.boundary()) {
                Some(missing) => most = most.max(missing),
                None => return Missing::Unknown,
            }
        }
        Missing::Green(most)
    }
}

/// Why green and blue cannot be compared at a weight; `None` if they can.
fn blindness(weight: Weight) -> Option<NoComparison> {
    if weight == Weight::ZERO {
        return Some(NoComparison::GreenHasNothing);
    }
    if weight == Weight::FULL {
        return Some(NoComparison::GreenHasEverything);
    }
    (!compares(weight.share())).then_some(NoComparison::WeightTooExtreme)
}
