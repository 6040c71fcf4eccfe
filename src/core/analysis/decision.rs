//! What the comparison and the absolute processes together call for: the table of section 6.3.

use crate::core::model::SharedDegradation;

/// What is known of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The comparison found green worse.
    pub green_is_worse: bool,
    /// The absolute process of green alarmed.
    pub green_alarms: bool,
    /// That of blue did.
    pub blue_alarms: bool,
    /// Green has all the traffic, or blue had no arrival for 30 s (D7): nobody to compare with.
    pub nobody_to_compare_with: bool,
}

/// What to do when both sides alarm and neither is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSharedDegradation {
    /// Hold the weights and tell somebody.
    #[default]
    Hold,
    /// Roll back: a green that harms blue through a shared database looks like this.
    Rollback,
}

impl From<SharedDegradation> for OnSharedDegradation {
    fn from(policy: SharedDegradation) -> Self {
        match policy {
            SharedDegradation::Hold => Self::Hold,
            SharedDegradation::Rollback => Self::Rollback,
        }
    }
}

/// What is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// The traffic goes back to blue.
    RollBack {
        /// What for.
        because: RollbackReason,
    },
    /// The weights stay, somebody is told.
    Freeze {
        /// What for.
        because: FreezeReason,
    },
}

/// Why the traffic goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackReason {
    /// Green is worse than blue.
    Worse,
    /// Green fails its objective and there is nobody to compare it with.
    Alone,
    /// Both fail theirs, and the policy is to roll back.
    Shared,
}

/// Why the weights stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeReason {
    /// Green fails its objective; that it is worse than blue is not shown.
    Green,
    /// Both fail theirs: shared degradation.
    Shared,
    /// Blue fails its objective: nothing is sent back to it automatically.
    Blue,
}

impl Findings {
    /// Reads the table.
    #[must_use]
    pub fn call_for(self, on_shared: OnSharedDegradation) -> Action {
        let roll_back = |because| Action::RollBack { because };
        let freeze = |because| Action::Freeze { because };
        if self.green_is_worse {
            return roll_back(RollbackReason::Worse);
        }
        match (self.green_alarms, self.blue_alarms) {
            (false, false) => Action::None,
            (true, false) if self.nobody_to_compare_with => roll_back(RollbackReason::Alone),
            (true, false) => freeze(FreezeReason::Green),
            (true, true) => match on_shared {
                OnSharedDegradation::Hold => freeze(FreezeReason::Shared),
                OnSharedDegradation::Rollback => roll_back(RollbackReason::Shared),
            },
            (false, true) => freeze(FreezeReason::Blue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_as_it_is_written() {
        let check = |worse, green, blue, nobody, wanted| {
            let findings = Findings {
                green_is_worse: worse,
                green_alarms: green,
                blue_alarms: blue,
                nobody_to_compare_with: nobody,
            };
            assert_eq!(findings.call_for(OnSharedDegradation::Hold), wanted, "{findings:?}");
            if (worse, green, blue) == (false, true, true) {
                let shared = Action::RollBack { because: RollbackReason::Shared };
                assert_eq!(findings.call_for(OnSharedDegradation::Rollback), shared);
            }
        };
        let roll_back = |because| Action::RollBack { because };
        let freeze = |because| Action::Freeze { because };
        for nobody in [false, true] {
            for (green, blue) in [(false, false), (false, true), (true, false), (true, true)] {
                check(true, green, blue, nobody, roll_back(RollbackReason::Worse));
            }
            check(false, false, false, nobody, Action::None);
            check(false, false, true, nobody, freeze(FreezeReason::Blue));
            check(false, true, true, nobody, freeze(FreezeReason::Shared));
        }
        check(false, true, false, false, freeze(FreezeReason::Green));
        check(false, true, false, true, roll_back(RollbackReason::Alone));
    }
}
