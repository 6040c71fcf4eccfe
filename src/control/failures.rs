//! Failures: comparisons that are evaluated at once, because green failed a request.
//!
//! One evaluation may have a minute of cohorts to read, and in an outage many services want one every
//! ten milliseconds, in the task that all else waits for too. So what is done out of turn has a
//! budget. First comes whoever was not evaluated out of turn for the longest time: a green that
//! begins to fail waits for nothing, whatever else is on fire. Who is left out comes first in the
//! next round, and in any case with the next tick, in which all are evaluated.

use std::cmp::Reverse;

use crate::core::model::RolloutId;

use super::World;

/// What a round may take, in microseconds: a tenth of the least time between two of them.
const BUDGET_US: u64 = 1_000;

impl World {
    /// Evaluates comparisons in which green failed since the last time; whether some were left for
    /// the next round.
    pub(super) fn compare_failures(&mut self) -> bool {
        let failed = self.rollouts.iter().filter(|(_, active)| {
            let comparing = active.comparing.as_ref();
            comparing.is_some_and(|comparing| comparing.has_failed())
        });
        let due = in_turn(failed.map(|(id, active)| (active.out_of_turn_us, id.clone())).collect());
        let clock = self.clock;
        spend(
            due,
            BUDGET_US,
            || clock.mono_us(),
            |id| {
                if let Some(active) = self.rollouts.get_mut(&id) {
                    active.out_of_turn_us = clock.mono_us();
                }
                self.evaluate_failure(&id);
            },
        )
    }
}

/// The last one is whose turn it is: who was evaluated out of turn the longest time ago.
fn in_turn(mut due: Vec<(u64, RolloutId)>) -> Vec<RolloutId> {
    due.sort_unstable_by_key(|(last, id)| Reverse((*last, id.clone())));
    due.into_iter().map(|(_, id)| id).collect()
}

/// Does one after the other, from the last one on, until the time is over; at least one. Whether
/// some are left.
fn spend<T>(
    mut due: Vec<T>,
    budget_us: u64,
    now_us: impl Fn() -> u64,
    mut evaluate: impl FnMut(T),
) -> bool {
    let began = now_us();
    while let Some(next) = due.pop() {
        evaluate(next);
        if now_us().saturating_sub(began) >= budget_us {
            break;
        }
    }
    !due.is_empty()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;

    /// One round among rollouts that want to be evaluated, each of which takes so long: gives
    /// those that were, and whether some were left.
    fn round(
        last: &mut BTreeMap<RolloutId, u64>,
        now_ms: u64,
        each_us: u64,
    ) -> (Vec<RolloutId>, bool) {
        let due = in_turn(last.iter().map(|(id, at)| (*at, id.clone())).collect());
        let (clock, done) = (Cell::new(now_ms * 1_000), RefCell::new(Vec::new()));
        let left = spend(
            due,
            BUDGET_US,
            || clock.get(),
            |id| {
                last.insert(id.clone(), clock.get());
                clock.set(clock.get() + each_us);
                done.borrow_mut().push(id);
            },
        );
        (done.into_inner(), left)
    }

    fn rollouts(count: u64) -> BTreeMap<RolloutId, u64> {
        (0..count).map(|draw| (RolloutId::from_draw(draw), 0)).collect()
    }

    #[test]
    fn twenty_services_in_an_outage_take_no_more_than_the_budget_and_each_has_its_turn() {
        let mut last = rollouts(20);
        let mut done = Vec::new();
        for at in 1..=10 {
            let (evaluated, left) = round(&mut last, at * 10, 500);
            assert_eq!((evaluated.len(), left), (2, true), "round {at}");
            done.extend(evaluated);
        }
        done.sort();
        assert_eq!(done, last.keys().cloned().collect::<Vec<_>>(), "nobody is left out");
    }

    #[test]
    fn nobody_has_another_turn_before_everybody_who_waits_had_one() {
        let mut last = rollouts(50);
        let mut turns = Vec::new();
        for at in 1..=200 {
            // From one that takes more than there is to ten in a round.
            let each_us = [1_500, 100, 700, 250][at % 4];
            turns.extend(round(&mut last, at as u64 * 10, each_us).0);
        }
        assert_eq!(turns.len(), 17 * 50, "nothing of the budget is left over");
        for turn in turns.chunks_exact_mut(50) {
            turn.sort();
            assert!(turn.iter().eq(last.keys()), "somebody was left out");
        }
    }

    #[test]
    fn a_green_that_begins_to_fail_comes_first() {
        let mut last = rollouts(20);
        for at in 1..=25 {
            round(&mut last, at * 10, 500);
        }
        let other = RolloutId::from_draw(99);
        last.insert(other.clone(), 0);
        let (evaluated, _) = round(&mut last, 260, 500);
        assert_eq!(evaluated.first(), Some(&other));
    }

    #[test]
    fn one_alone_is_evaluated_each_time_whatever_it_takes() {
        let mut last = rollouts(1);
        for at in 1..=3 {
            let (evaluated, left) = round(&mut last, at * 10, 50_000);
            assert_eq!((evaluated.len(), left), (1, false));
        }
        let mut last = rollouts(20);
        let (evaluated, left) = round(&mut last, 10, 20);
        assert_eq!((evaluated.len(), left), (20, false), "what is quick is done at once");
    }
}
