//! Outlier ejection: health by what requests come to, not by what checks say.
//!
//! A target that answers its checks and fails its requests is taken out of its group for a while,
//! and for longer each time. The rules and their numbers are those of Envoy's outlier detection
//! (its documentation, "Outlier detection"), except that the last target that may be given
//! requests is never ejected:
//!
//! - **consecutive failures**: so many in a row eject at the next look;
//! - **success rate**: each interval, of at least 5 targets with at least 100 requests in it,
//!   those whose rate is more than 1.9 standard deviations below the mean;
//! - **evidence**: whoever compares finds that all that speaks against a group rests on one target;
//! - an ejection lasts the base time times the target's number of ejections, up to a maximum, and
//!   the number falls by one with each interval that the target was in from beginning to end;
//! - no more than a share of the group is out at a time.
//!
//! Targets are known by the number of their registration, so that one that left and came back
//! starts without a past.

use std::collections::BTreeMap;

use crate::core::model::{MonoTime, OutlierSpec, Span};

/// What is seen of a target at a look. The counters only grow while it is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetSeen {
    /// The number of its registration.
    pub target: u64,
    /// Requests that it answered well.
    pub successes: u64,
    /// Requests that it did not.
    pub failures: u64,
    /// Failures since the last success.
    pub consecutive: u32,
    /// Whether its checks let it have requests.
    pub healthy: bool,
}

/// Why a target is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EjectionReason {
    /// Too many failures in a row.
    ConsecutiveFailures,
    /// A success rate far below that of the others.
    SuccessRate,
    /// All the evidence against green rests on it.
    Evidence,
}

impl EjectionReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::ConsecutiveFailures, Self::SuccessRate, Self::Evidence];

    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
            Self::Evidence => "evidence",
        }
    }
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlierChange {
    /// A target gets no more requests.
    Ejected {
        /// Which.
        target: u64,
        /// Why.
        reason: EjectionReason,
        /// For how long.
        length: Span,
    },
    /// A target's ejection is over; its failures in a row are to be counted from 0 again.
    Returned {
        /// Which.
        target: u64,
    },
}

impl OutlierChange {
    /// The target that it is about.
    #[must_use]
    pub fn target(self) -> u64 {
        match self {
            Self::Ejected { target, .. } | Self::Returned { target } => target,
        }
    }
}

/// The outliers of one group.
#[derive(Clone, Debug, Default)]
pub struct Outliers {
    targets: BTreeMap<u64, Record>,
    /// `None` before the first look.
    interval_began: Option<MonoTime>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// `None` while it is in.
    ejected_until: Option<MonoTime>,
    /// How long the next ejection lasts, in units of the base time, less one.
    ejections: u32,
    /// Whether it has been in since the interval began.
    stayed_in: bool,
    /// The counters when the interval began.
    successes: u64,
    failures: u64,
}

impl Outliers {
    /// Looks at all targets of the group.
    pub fn look(
        &mut self,
        spec: &OutlierSpec,
        seen: &[TargetSeen],
        now: MonoTime,
    ) -> Vec<OutlierChange> {
        self.keep(seen);
        let mut changes = self.take_back(now);
        let returned: Vec<u64> = changes.iter().map(|change| change.target()).collect();
        for target in seen.iter().filter(|target| !returned.contains(&target.target)) {
            if target.consecutive >= spec.consecutive_failures {
                let reason = EjectionReason::ConsecutiveFailures;
                changes.extend(self.eject(spec, seen, target.target, reason, now));
            }
        }
        let began = *self.interval_began.get_or_insert(now);
        if now.since(began) >= spec.interval {
            let low = if spec.success_rate { self.low_rates(seen) } else { Vec::new() };
            for target in low {
                changes.extend(self.eject(spec, seen, target, EjectionReason::SuccessRate, now));
            }
            self.begin_interval(seen, now);
        }
        changes
    }

    /// Ejects a target on which all the evidence against the group rests, within the same limits;
    /// for how long. `None` if it is out already, too many are, or no other one is left.
    pub fn eject_for_evidence(
        &mut self,
        spec: &OutlierSpec,
        seen: &[TargetSeen],
        target: u64,
        now: MonoTime,
    ) -> Option<Span> {
        self.keep(seen);
        match self.eject(spec, seen, target, EjectionReason::Evidence, now)? {
            OutlierChange::Ejected { length, .. } => Some(length),
            OutlierChange::Returned { .. } => None,
        }
    }

    /// Forgets everything: ejection was switched off.
    pub fn release(&mut self) -> Vec<OutlierChange> {
        let before = std::mem::take(self).targets;
        let ejected = before.into_iter().filter(|(_, record)| record.ejected_until.is_some());
        ejected.map(|(target, _)| OutlierChange::Returned { target }).collect()
    }

    /// Keeps exactly the targets that are seen.
    fn keep(&mut self, seen: &[TargetSeen]) {
        let mut before = std::mem::take(&mut self.targets);
        for target in seen {
            let record = before.remove(&target.target).unwrap_or(Record {
                ejected_until: None,
                ejections: 0,
                stayed_in: false,
                successes: target.successes,
                failures: target.failures,
            });
            self.targets.insert(target.target, record);
        }
    }

    fn take_back(&mut self, now: MonoTime) -> Vec<OutlierChange> {
        let mut changes = Vec::new();
        for (target, record) in &mut self.targets {
            if record.ejected_until.is_some_and(|until| until <= now) {
                record.ejected_until = None;
                changes.push(OutlierChange::Returned { target: *target });
            }
        }
        changes
    }

    fn eject(
        &mut self,
        spec: &OutlierSpec,
        seen: &[TargetSeen],
        target: u64,
        reason: EjectionReason,
        now: MonoTime,
    ) -> Option<OutlierChange> {
        if self.is_ejected(target) || !self.may_lose(spec, seen, target) {
            return None;
        }
        let record = self.targets.get_mut(&target)?;
        // Counted no further than the longest ejection, or it would take for ever to forget them.
        let enough = spec.max.ms().div_ceil(spec.base.ms().max(1)).max(1);
        let ejections = u64::from(record.ejections.saturating_add(1)).min(enough);
        record.ejections = u32::try_from(ejections).unwrap_or(u32::MAX);
        record.stayed_in = false;
        let length = Span::from_ms(spec.base.ms().saturating_mul(ejections)).min(spec.max);
        record.ejected_until = Some(now.plus(length));
        Some(OutlierChange::Ejected { target, reason, length })
    }

    /// Whether one more target may be out, and another is left that may be given requests.
    fn may_lose(&self, spec: &OutlierSpec, seen: &[TargetSeen], target: u64) -> bool {
        let out = self.targets.values().filter(|record| record.ejected_until.is_some()).count();
        let most = seen.len() * usize::from(spec.max_ejected.bp()) / 10_000;
        let left = |other: &TargetSeen| {
            other.target != target && other.healthy && !self.is_ejected(other.target)
        };
        out < most && seen.iter().any(left)
    }

    fn is_ejected(&self, target: u64) -> bool {
        self.targets.get(&target).is_some_and(|record| record.ejected_until.is_some())
    }

    /// The targets whose success rate in this interval is far below that of the others.
    fn low_rates(&self, seen: &[TargetSeen]) -> Vec<u64> {
        let rates: Vec<(u64, f64)> = seen.iter().filter_map(|target| self.rate(target)).collect();
        if rates.len() < MIN_TARGETS {
            return Vec::new();
        }
        let count = rates.len() as f64;
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
        let squares = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>();
        let threshold = mean - DEVIATIONS * (squares / count).sqrt();
        rates.into_iter().filter(|(_, rate)| *rate < threshold).map(|(target, _)| target).collect()
    }

    /// A target's success rate in this interval; `None` if it is out or had too few requests.
    fn rate(&self, seen: &TargetSeen) -> Option<(u64, f64)> {
        let record = self.targets.get(&seen.target)?;
        let successes = seen.successes.saturating_sub(record.successes);
        let requests = successes + seen.failures.saturating_sub(record.failures);
        let counts = record.ejected_until.is_none() && requests >= MIN_REQUESTS;
        counts.then(|| (seen.target, successes as f64 / requests as f64))
    }

    fn begin_interval(&mut self, seen: &[TargetSeen], now: MonoTime) {
        self.interval_began = Some(now);
        for target in seen {
            if let Some(record) = self.targets.get_mut(&target.target) {
                if record.stayed_in {
                    record.ejections = record.ejections.saturating_sub(1);
                }
                record.stayed_in = record.ejected_until.is_none();
                (record.successes, record.failures) = (target.successes, target.failures);
            }
        }
    }
}

/// How many targets a comparison of success rates needs.
const MIN_TARGETS: usize = 5;
/// How many requests a target needs in an interval to be compared.
const MIN_REQUESTS: u64 = 100;
const DEVIATIONS: f64 = 1.9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::model::Weight;

    const NONE: [OutlierChange; 0] = [];

    fn spec() -> OutlierSpec {
        OutlierSpec::default()
    }

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_ms(secs * 1_000)
    }

    fn well(target: u64) -> TargetSeen {
        TargetSeen { target, successes: 0, failures: 0, consecutive: 0, healthy: true }
    }

    fn failing(target: u64) -> TargetSeen {
        TargetSeen { consecutive: 5, ..well(target) }
    }

    fn ejected(changes: &[OutlierChange]) -> Vec<(u64, Span)> {
        let of = |change: &OutlierChange| match change {
            OutlierChange::Ejected { target, length, .. } => Some((*target, *length)),
            OutlierChange::Returned { .. } => None,
        };
        changes.iter().filter_map(of).collect()
    }

    #[test]
    fn the_fifth_failure_in_a_row_ejects_at_the_next_look_and_the_fourth_does_not() {
        let mut outliers = Outliers::default();
        let fourth = TargetSeen { consecutive: 4, ..well(1) };
        assert_eq!(outliers.look(&spec(), &[fourth, well(2)], at(0)), NONE);
        let expected = OutlierChange::Ejected {
            target: 1,
            reason: EjectionReason::ConsecutiveFailures,
            length: Span::from_secs(30),
        };
        assert_eq!(outliers.look(&spec(), &[failing(1), well(2)], at(1)), [expected]);
        assert_eq!(outliers.look(&spec(), &[failing(1), well(2)], at(30)), NONE);
        let back = OutlierChange::Returned { target: 1 };
        assert_eq!(outliers.look(&spec(), &[failing(1), well(2)], at(31)), [back]);
    }

    #[test]
    fn an_ejection_is_longer_each_time_and_never_longer_than_the_longest() {
        let mut outliers = Outliers::default();
        let mut now = MonoTime::default();
        for expected in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300] {
            let changes = outliers.look(&spec(), &[failing(1), well(2)], now);
            assert_eq!(ejected(&changes), [(1, Span::from_secs(expected))]);
            now = now.plus(Span::from_secs(expected));
            let back = outliers.look(&spec(), &[failing(1), well(2)], now);
            assert_eq!(back, [OutlierChange::Returned { target: 1 }]);
            now = now.plus(Span::from_ms(100));
        }
    }

    #[test]
    fn every_whole_interval_inside_forgets_one_ejection() {
        // After three ejections, so many looks ten seconds apart, then the next one.
        let check = |intervals: u64, expected: u64| {
            let mut outliers = Outliers::default();
            let mut now = MonoTime::default();
            for length in [30, 60, 90] {
                let changes = outliers.look(&spec(), &[failing(1), well(2)], now);
                assert_eq!(ejected(&changes), [(1, Span::from_secs(length))]);
                now = now.plus(Span::from_secs(length));
                outliers.look(&spec(), &[well(1), well(2)], now);
            }
            for _ in 0..intervals {
                now = now.plus(Span::from_secs(10));
                outliers.look(&spec(), &[well(1), well(2)], now);
            }
            let changes = outliers.look(&spec(), &[failing(1), well(2)], now);
            assert_eq!(ejected(&changes), [(1, Span::from_secs(expected))], "{intervals}");
        };
        check(0, 120);
        check(1, 90);
        check(2, 60);
        check(3, 30);
        check(9, 30);
    }

    #[test]
    fn no_more_than_the_share_is_out_and_one_stays() {
        let check = |targets: u64, share: &str, expected: usize| {
            let spec = OutlierSpec { max_ejected: share.parse().expect("valid"), ..spec() };
            let seen: Vec<TargetSeen> = (0..targets).map(failing).collect();
            let changes = Outliers::default().look(&spec, &seen, at(0));
            assert_eq!(changes.len(), expected, "{targets} {share}");
        };
        check(1, "100%", 0);
        check(1, "50%", 0);
        check(2, "50%", 1);
        check(3, "50%", 1);
        check(10, "50%", 5);
        check(10, "100%", 9);
        check(10, "0%", 0);
    }

    #[test]
    fn the_last_target_that_its_checks_call_healthy_stays() {
        let sick = TargetSeen { healthy: false, ..well(2) };
        assert_eq!(Outliers::default().look(&spec(), &[failing(1), sick], at(0)), NONE);
    }

    #[test]
    fn evidence_ejects_within_the_same_limits_and_for_as_long() {
        let mut outliers = Outliers::default();
        let seen = [well(1), well(2), well(3)];
        let length = outliers.eject_for_evidence(&spec(), &seen, 2, at(0));
        assert_eq!(length, Some(Span::from_secs(30)));
        assert_eq!(outliers.eject_for_evidence(&spec(), &seen, 2, at(1)), None, "it is out");
        assert_eq!(outliers.eject_for_evidence(&spec(), &seen, 1, at(1)), None, "half of three");
        assert_eq!(outliers.look(&spec(), &seen, at(29)), NONE);
        let back = OutlierChange::Returned { target: 2 };
        assert_eq!(outliers.look(&spec(), &seen, at(30)), [back]);
        let length = outliers.eject_for_evidence(&spec(), &seen, 2, at(31));
        assert_eq!(length, Some(Span::from_secs(60)), "longer each time");
        let alone = Outliers::default().eject_for_evidence(&spec(), &[well(1)], 1, at(0));
        assert_eq!(alone, None, "a target alone");
        let sick = TargetSeen { healthy: false, ..well(2) };
        let last = Outliers::default().eject_for_evidence(&spec(), &[well(1), sick], 1, at(0));
        assert_eq!(last, None, "the last one that may be given requests");
    }

    #[test]
    fn a_target_that_comes_back_under_another_number_has_no_past() {
        let mut outliers = Outliers::default();
        outliers.look(&spec(), &[failing(1), well(2)], at(0));
        outliers.look(&spec(), &[well(2)], at(1));
        let changes = outliers.look(&spec(), &[failing(3), well(2)], at(2));
        assert_eq!(ejected(&changes), [(3, Span::from_secs(30))]);
    }

    #[test]
    fn switching_ejection_off_takes_everybody_back() {
        let mut outliers = Outliers::default();
        outliers.look(&spec(), &[failing(1), well(2)], at(0));
        assert_eq!(outliers.release(), [OutlierChange::Returned { target: 1 }]);
        assert_eq!(outliers.release(), NONE);
    }

    /// The targets that are ejected after an interval in which each had so many successes and
    /// failures.
    fn compared(spec: &OutlierSpec, counts: &[(u64, u64)]) -> Vec<u64> {
        let seen = |target: u64, successes: u64, failures: u64| TargetSeen {
            successes,
            failures,
            ..well(target)
        };
        let mut outliers = Outliers::default();
        // What was counted before the first look is nobody's rate.
        let before: Vec<TargetSeen> =
            (0..).zip(counts).map(|(target, _)| seen(target, 0, 1_000)).collect();
        assert_eq!(outliers.look(spec, &before, at(0)), NONE);
        let after: Vec<TargetSeen> = (0..)
            .zip(counts)
            .map(|(target, (good, bad))| seen(target, *good, 1_000 + *bad))
            .collect();
        let changes = outliers.look(spec, &after, at(10));
        ejected(&changes).into_iter().map(|(target, _)| target).collect()
    }

    #[test]
    fn a_success_rate_far_below_the_others_ejects_where_there_is_enough_to_compare() {
        let on = OutlierSpec { success_rate: true, ..spec() };
        let [good, bad] = [(199, 1), (100, 100)];
        assert_eq!(compared(&on, &[good, good, good, good, good, bad]), [5]);
        assert_eq!(compared(&spec(), &[good, good, good, good, good, bad]), [0_u64; 0], "off");
        assert_eq!(compared(&on, &[good, good, good, bad]), [0_u64; 0], "four are too few");
        assert_eq!(compared(&on, &[good; 6]), [0_u64; 0], "all alike");
        assert_eq!(compared(&on, &[bad; 6]), [0_u64; 0], "all alike");
        let few = (49, 50);
        assert_eq!(compared(&on, &[good, good, good, good, good, few]), [0_u64; 0], "99 requests");
        assert_eq!(compared(&on, &[good, good, good, good, good, (50, 50)]), [5], "100 requests");
    }

    proptest! {
        #[test]
        fn whatever_happens_the_share_holds_one_stays_and_lengths_are_bounded(
            steps in prop::collection::vec(prop::collection::vec((0u32..8, any::<bool>()), 1..9), 1..60),
            share in 0u16..=10_000,
            gap in 1u64..40,
        ) {
            let max_ejected = Weight::from_bp(share).expect("in range");
            let spec = OutlierSpec { max_ejected, ..spec() };
            let mut outliers = Outliers::default();
            let mut out = std::collections::BTreeSet::new();
            let mut now = MonoTime::default();
            // As many targets as the first step has: a smaller group may be over its share.
            let count = steps[0].len();
            for step in &steps {
                let at = |i: usize| step.get(i).copied().unwrap_or((0, true));
                let seen: Vec<TargetSeen> = (0..count)
                    .map(|i| TargetSeen {
                        consecutive: at(i).0,
                        healthy: at(i).1,
                        ..well(u64::try_from(i).expect("small"))
                    })
                    .collect();
                for change in outliers.look(&spec, &seen, now) {
                    match change {
                        OutlierChange::Ejected { target, length, .. } => {
                            prop_assert!(out.insert(target), "ejected twice");
                            prop_assert!(length >= spec.base && length <= spec.max);
                            let left = |t: &TargetSeen| t.healthy && !out.contains(&t.target);
                            prop_assert!(seen.iter().any(left), "nobody is left");
                        }
                        OutlierChange::Returned { target } => {
                            prop_assert!(out.remove(&target), "was not out");
                        }
                    }
                    prop_assert!(out.len() * 10_000 <= count * usize::from(share));
                }
                now = now.plus(Span::from_secs(gap));
            }
        }
    }
}
