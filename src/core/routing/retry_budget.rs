//! The retry budget: what keeps second attempts from doubling the load on a service that fails.
//!
//! Every request puts in its share of a second attempt, every second attempt takes out a whole one.
//! What is in there fades over ten seconds, so that it stays close to the share of the requests of
//! the last ten seconds, less the second attempts of that time: a quiet hour saves nothing up for
//! an outage, and a busy service can repeat what was in flight on a target that died. Without
//! traffic, time alone puts in a few attempts a second, so that a quiet service has its second
//! attempts, too.
//!
//! One number and no lock: a share in basis points is that many ten-thousandths of an attempt.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::model::{MonoTime, Weight};

/// What a service's requests have put in for second attempts.
#[derive(Debug)]
pub struct RetryBudget {
    /// In ten-thousandths of an attempt.
    balance: AtomicU64,
    /// When time last passed, in milliseconds; `NEVER` before the first time.
    passed_ms: AtomicU64,
}

impl RetryBudget {
    /// A budget that holds what time alone would leave in it.
    #[must_use]
    pub fn new(min_per_second: u32) -> Self {
        let balance = refill(min_per_second, WINDOW_MS).min(MOST);
        Self { balance: AtomicU64::new(balance), passed_ms: AtomicU64::new(NEVER) }
    }

    /// Puts in a request's share.
    pub fn deposit(&self, share: Weight) {
        if self.balance.load(Ordering::Relaxed) < MOST {
            self.balance.fetch_add(share.bp().into(), Ordering::Relaxed);
        }
    }

    /// Takes out a second attempt; `false` if there is none.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.change(|balance| balance.checked_sub(ATTEMPT))
    }

    /// Lets time pass until now: old shares fade, and so many attempts a second come in.
    ///
    /// For one caller, about ten times a second.
    pub fn pass(&self, now: MonoTime, min_per_second: u32) {
        let before = self.passed_ms.swap(now.ms(), Ordering::Relaxed);
        let elapsed_ms = now.ms().saturating_sub(before).min(WINDOW_MS);
        if before == NEVER || elapsed_ms == 0 {
            return;
        }
        self.change(|balance| {
            let faded = balance - balance * elapsed_ms / WINDOW_MS;
            Some(faded.saturating_add(refill(min_per_second, elapsed_ms)).min(MOST))
        });
    }

    /// Replaces the balance; `false` if the new one is none.
    fn change(&self, next: impl Fn(u64) -> Option<u64>) -> bool {
        let mut balance = self.balance.load(Ordering::Relaxed);
        loop {
            let Some(wanted) = next(balance) else { return false };
            let swapped = self.balance.compare_exchange_weak(
                balance,
                wanted,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return true,
                Err(present) => balance = present,
            }
        }
    }
}

fn refill(min_per_second: u32, elapsed_ms: u64) -> u64 {
    u64::from(min_per_second) * elapsed_ms * ATTEMPT / 1_000
}

/// A whole attempt.
const ATTEMPT: u64 = 10_000;
/// The time over which shares fade.
const WINDOW_MS: u64 = 10_000;
/// The most that is saved up, should nobody let time pass: a million attempts.
const MOST: u64 = 1_000_000 * ATTEMPT;
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(bp: u16) -> Weight {
        Weight::from_bp(bp).expect("in range")
    }

    /// How many second attempts it allows now.
    fn left(budget: &RetryBudget) -> usize {
        std::iter::repeat_with(|| budget.withdraw()).take_while(|allowed| *allowed).count()
    }

    #[test]
    fn a_share_of_the_requests_may_be_repeated() {
        let budget = RetryBudget::new(0);
        assert!(!budget.withdraw(), "nothing was put in");
        for _ in 0..4 {
            budget.deposit(share(2_000));
            assert!(!budget.withdraw(), "not a whole attempt yet");
        }
        budget.deposit(share(2_000));
        assert!(budget.withdraw() && !budget.withdraw());
        (0..1_000).for_each(|_| budget.deposit(share(2_000)));
        assert_eq!(left(&budget), 200, "it fills again with traffic");
        (0..1_000).for_each(|_| budget.deposit(Weight::ZERO));
        assert_eq!(left(&budget), 0);
    }

    #[test]
    fn a_service_without_traffic_has_a_few_attempts_a_second() {
        let budget = RetryBudget::new(10);
        assert_eq!(left(&budget), 100, "ten seconds' worth at the start");
        budget.pass(MonoTime::from_ms(5_000), 10);
        assert_eq!(left(&budget), 0, "the first look has no time behind it");
        budget.pass(MonoTime::from_ms(6_000), 10);
        assert_eq!(left(&budget), 10);
        for tenth in 61..=6_000 {
            budget.pass(MonoTime::from_ms(tenth * 100), 10);
        }
        let saved = left(&budget);
        assert!((95..=100).contains(&saved), "a quiet hour saves nothing up: {saved}");
    }

    #[test]
    fn what_old_requests_put_in_fades() {
        let budget = RetryBudget::new(0);
        budget.pass(MonoTime::from_ms(0), 0);
        (0..10_000).for_each(|_| budget.deposit(share(2_000)));
        for tenth in 1..=600 {
            budget.pass(MonoTime::from_ms(tenth * 100), 0);
        }
        let kept = left(&budget);
        assert!(kept < 10, "after a minute hardly anything of 2000 is left: {kept}");
    }

    #[test]
    fn steady_traffic_may_repeat_the_share_of_ten_seconds_at_once() {
        let budget = RetryBudget::new(0);
        for tenth in 0..1_000 {
            budget.pass(MonoTime::from_ms(tenth * 100), 0);
            (0..100).for_each(|_| budget.deposit(share(2_000)));
        }
        let burst = left(&budget);
        assert!((1_900..=2_100).contains(&burst), "1000 a second for 10 s, a fifth: {burst}");
    }

    #[test]
    fn a_budget_that_nobody_lets_fade_is_bounded() {
        let budget = RetryBudget::new(u32::MAX);
        budget.pass(MonoTime::from_ms(1), u32::MAX);
        budget.pass(MonoTime::from_ms(100_000), u32::MAX);
        let balance = budget.balance.load(Ordering::Relaxed);
        budget.deposit(Weight::FULL);
        assert_eq!((balance, budget.balance.load(Ordering::Relaxed)), (MOST, MOST));
    }
}
