//! Rise and fall: how many checks in a row change a target's health.
//!
//! One lost packet must not take a target out, and one lucky answer must not bring it back. Until
//! a first run of equal results is long enough, the health is unknown, and is not guessed.

use crate::core::model::{HealthCheck, TargetHealth};

/// Turns the results of a target's checks into its health.
#[derive(Clone, Debug)]
pub struct Threshold {
    healthy_after: u32,
    unhealthy_after: u32,
    health: TargetHealth,
    run: Run,
}

/// Equal results in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    success: bool,
    length: u32,
}

impl Threshold {
    /// Starts with unknown health; a limit of 0 is taken as 1.
    #[must_use]
    pub fn new(check: &HealthCheck) -> Self {
        Self {
            healthy_after: check.healthy_after.max(1),
            unhealthy_after: check.unhealthy_after.max(1),
            health: TargetHealth::Unknown,
            run: Run { success: false, length: 0 },
        }
    }

    /// Takes the result of a check; `Some` if the health changes with it.
    pub fn observe(&mut self, success: bool) -> Option<TargetHealth> {
        let before = if self.run.success == success { self.run.length } else { 0 };
        self.run = Run { success, length: before.saturating_add(1) };
        let (limit, health) = if success {
            (self.healthy_after, TargetHealth::Healthy)
        } else {
            (self.unhealthy_after, TargetHealth::Unhealthy)
        };
        if self.run.length < limit || self.health == health {
            return None;
        }
        self.health = health;
        Some(health)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::model::{FlapDamping, Probe, Span};

    fn threshold(healthy_after: u32, unhealthy_after: u32) -> Threshold {
        Threshold::new(&HealthCheck {
            probe: Probe::Tcp,
            interval: Span::from_secs(1),
            timeout: Span::from_secs(1),
            healthy_after,
            unhealthy_after,
            flaps: FlapDamping::default(),
        })
    }

    #[test]
    fn a_run_has_to_be_long_enough() {
        use TargetHealth::{Healthy, Unhealthy};
        // `+` and `-` are results; the changes come with the result of the same place.
        let check = |results: &str, expected: &[(usize, TargetHealth)]| {
            let mut threshold = threshold(2, 3);
            let seen: Vec<_> = results
                .chars()
                .enumerate()
                .filter_map(|(i, c)| threshold.observe(c == '+').map(|health| (i, health)))
                .collect();
            assert_eq!(seen, expected, "{results}");
        };
        check("", &[]);
        check("+", &[]);
        check("++", &[(1, Healthy)]);
        check("--", &[]);
        check("---", &[(2, Unhealthy)]);
        check("+-+-+-", &[]);
        check("++--+--", &[(1, Healthy)]);
        check("++---++", &[(1, Healthy), (4, Unhealthy), (6, Healthy)]);
        check("++++------", &[(1, Healthy), (6, Unhealthy)]);
    }

    proptest! {
        #[test]
        fn every_change_takes_a_full_run_and_differs_from_the_one_before(
            results in prop::collection::vec(any::<bool>(), 0..300),
            healthy_after in 0u32..6,
            unhealthy_after in 0u32..6,
        ) {
            let mut threshold = threshold(healthy_after, unhealthy_after);
            let mut health = TargetHealth::Unknown;
            let mut changes = 0;
            for (i, result) in results.iter().enumerate() {
                let run = results[..=i].iter().rev().take_while(|r| *r == result).count();
                let (limit, due) = match result {
                    true => (healthy_after.max(1), TargetHealth::Healthy),
                    false => (unhealthy_after.max(1), TargetHealth::Unhealthy),
                };
                let changes_now = run >= limit as usize && health != due;
                prop_assert_eq!(threshold.observe(*result), changes_now.then_some(due));
                if changes_now {
                    health = due;
                    changes += 1;
                }
            }
            let shortest = healthy_after.min(unhealthy_after).max(1) as usize;
            prop_assert!(changes <= results.len() / shortest);
        }
    }
}
