//! Counters of a service since the process started: unlike the history they only grow.

use std::collections::BTreeMap;

use crate::core::rollout::StateName;

use super::Tally;

/// What the rollouts of a service came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    ended: BTreeMap<StateName, u64>,
    /// Requests that failed on green and were seen by a user.
    pub(super) leaked: u64,
    /// What all requests to green came to.
    pub(super) green: Tally,
}

impl Totals {
    /// Counts the end of a rollout.
    pub(super) fn count_end(&mut self, state: StateName) {
        *self.ended.entry(state).or_default() += 1;
    }

    /// Counts by how much a rollout's tally grew.
    pub(super) fn count_growth(&mut self, before: Tally, after: Tally) {
        let grew = |of: fn(&Tally) -> u64| of(&after).saturating_sub(of(&before));
        self.green.green_requests += grew(|tally| tally.green_requests);
        self.green.green_failed += grew(|tally| tally.green_failed);
        self.green.rescued += grew(|tally| tally.rescued);
        self.green.sent_after_verdict += grew(|tally| tally.sent_after_verdict);
        // A rescue may be seen before the failure that it belongs to: for a moment it is less.
        self.leaked = self.leaked.max(self.green.leaked());
    }

    /// How many rollouts ended in each terminal state.
    pub(super) fn ended(&self) -> Vec<(&'static str, u64)> {
        let terminal = StateName::ALL.into_iter().filter(|state| state.is_terminal());
        let count = |state| (state, self.ended.get(&state).copied().unwrap_or_default());
        terminal.map(count).map(|(state, count)| (state.as_str(), count)).collect()
    }
}
