//! Flap damping: a target that keeps changing its health is not believed when it is well again.
//!
//! Each change moves traffic, and a target that passes and fails by turns moves it all the time.
//! One that changed more often than a limit within ten minutes counts as unhealthy until its
//! checks have passed without a break for a while. Then it starts with a clean sheet.

use std::collections::VecDeque;

use crate::core::model::{HealthCheck, MonoTime, Span, TargetHealth};

use super::Threshold;

/// Turns the results of a target's checks into its health, and holds back one that flaps.
#[derive(Clone, Debug)]
pub struct Damper {
    threshold: Threshold,
    limit: usize,
    hold: Span,
    /// What the threshold said last.
    seen: TargetHealth,
    /// What was told last.
    told: TargetHealth,
    /// When the health changed, oldest first; never more than one over the limit.
    changes: VecDeque<MonoTime>,
    /// Since when every check has passed; `None` after one that failed.
    well_since: Option<MonoTime>,
    held: bool,
}

impl Damper {
    /// Starts with unknown health. A limit of 0 holds nobody back.
    #[must_use]
    pub fn new(check: &HealthCheck) -> Self {
        Self {
            threshold: Threshold::new(check),
            limit: usize::try_from(check.flaps.limit).unwrap_or(usize::MAX),
            hold: check.flaps.hold,
            seen: TargetHealth::Unknown,
            told: TargetHealth::Unknown,
            changes: VecDeque::new(),
            well_since: None,
            held: false,
        }
    }

    /// Whether the target is held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held
    }

    /// Takes the result of a check; `Some` if the health that counts changes with it.
    pub fn observe(&mut self, success: bool, now: MonoTime) -> Option<TargetHealth> {
        self.well_since = success.then(|| self.well_since.unwrap_or(now));
        if let Some(health) = self.threshold.observe(success) {
            if self.seen != TargetHealth::Unknown {
                self.count_change(now);
            }
            self.seen = health;
        }
        let long_well = self.well_since.is_some_and(|since| now.since(since) >= self.hold);
        if self.held && self.seen == TargetHealth::Healthy && long_well {
            self.held = false;
            self.changes.clear();
        }
        let health = if self.held { TargetHealth::Unhealthy } else { self.seen };
        if health == self.told {
            return None;
        }
        self.told = health;
        Some(health)
    }

    fn count_change(&mut self, now: MonoTime) {
        if self.limit == 0 {
            return;
        }
        self.changes.push_back(now);
        while self.changes.front().is_some_and(|first| now.since(*first) > WINDOW) {
            self.changes.pop_front();
        }
        if self.changes.len() > self.limit {
            self.held = true;
            self.changes.pop_front();
        }
    }
}

/// How far back changes count.
const WINDOW: Span = Span::from_mins(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::model::{FlapDamping, Probe};

    fn damper(limit: u32) -> Damper {
        Damper::new(&HealthCheck {
            probe: Probe::Tcp,
            interval: Span::from_secs(1),
            timeout: Span::from_secs(1),
            healthy_after: 1,
            unhealthy_after: 1,
            flaps: FlapDamping { limit, hold: Span::from_secs(60) },
        })
    }

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_ms(secs * 1_000)
    }

    /// Passes and fails by turns so many times, one second apart; gives what was told last.
    fn flap(damper: &mut Damper, times: u64, gap: u64) -> TargetHealth {
        let mut health = TargetHealth::Unknown;
        for i in 0..times {
            health = damper.observe(i % 2 == 0, at(i * gap)).unwrap_or(health);
        }
        health
    }

    #[test]
    fn the_sixth_change_within_ten_minutes_holds_a_target_back() {
        // The first result is no change: the health was unknown before.
        let mut five = damper(5);
        assert_eq!(flap(&mut five, 5, 1), TargetHealth::Healthy);
        assert!(!five.holds());
        let mut six = damper(5);
        assert_eq!(flap(&mut six, 7, 1), TargetHealth::Unhealthy);
        assert!(six.holds());
        let mut slow = damper(5);
        assert_eq!(flap(&mut slow, 7, 121), TargetHealth::Healthy);
        assert!(!slow.holds(), "six changes in more than ten minutes");
        let mut off = damper(0);
        assert_eq!(flap(&mut off, 99, 1), TargetHealth::Healthy);
    }

    #[test]
    fn a_target_that_is_held_comes_back_after_it_was_well_for_long_enough() {
        let mut damper = damper(5);
        flap(&mut damper, 7, 1);
        // Its checks pass from second 6 on, fail once at 50, and pass from 51 on.
        for secs in 7..50 {
            assert_eq!(damper.observe(true, at(secs)), None);
        }
        assert_eq!(damper.observe(false, at(50)), None, "it is unhealthy already");
        for secs in 51..111 {
            assert_eq!(damper.observe(true, at(secs)), None, "{secs}");
        }
        assert_eq!(damper.observe(true, at(111)), Some(TargetHealth::Healthy));
        assert_eq!(damper.observe(false, at(112)), Some(TargetHealth::Unhealthy));
        assert_eq!(damper.observe(true, at(113)), Some(TargetHealth::Healthy), "a clean sheet");
    }

    proptest! {
        #[test]
        fn a_target_never_counts_as_healthy_whose_last_check_failed_and_changes_are_bounded(
            results in prop::collection::vec((any::<bool>(), 1u64..20), 0..300),
        ) {
            let mut damper = damper(5);
            let mut health = TargetHealth::Unknown;
            let mut now = 0;
            let mut changes = Vec::new();
            for (success, gap) in results {
                now += gap;
                if let Some(changed) = damper.observe(success, at(now)) {
                    prop_assert_ne!(changed, health);
                    if health != TargetHealth::Unknown {
                        changes.push(now);
                    }
                    health = changed;
                }
                prop_assert!(success || health == TargetHealth::Unhealthy);
                // The sixth begins a hold, which lasts a minute.
                let recent = changes.iter().filter(|at| now - **at < 60).count();
                prop_assert!(recent <= 6, "{} changes in a minute", recent);
            }
        }
    }
}
