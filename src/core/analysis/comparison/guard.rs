//! The cluster guard: failures of one target that come together count once.
//!
//! A crash, a full queue or a reset connection of one green target fails many requests for one
//! reason that blue does not share, even if blue's targets do the same as often. The bound on false
//! rollbacks does not cover that (B7). So after a failure of a target of green that was counted,
//! its further failures within the guard are counted as *ok* in every metric, as long as it has
//! also answered well within the guard. Only in latency one that took longer than is slow stays
//! slow: so it was counted before it failed, as any other that hangs (`Overdue`). A target that
//! never answered well is caught as before. Blue is never spared. Counting a bad request of green
//! as ok can only lower the evidence, in whatever order it is decided; that makes it safe, and what
//! it helps is a measurement and not a theorem.

use crate::core::model::{MonoTime, Span};

/// How long failures of one target are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterGuard {
    length: Span,
}

impl ClusterGuard {
    /// A guard of this length; zero switches it off. At least 20 times the median service time is a
    /// good choice.
    #[must_use]
    pub const fn new(length: Span) -> Self {
        Self { length }
    }

    /// Whether a failure of a target of green at `now` is counted as ok, given when a failure of it
    /// was last *counted* and when it last answered well; `None` is never.
    #[must_use]
    pub fn spares(
        self,
        now: MonoTime,
        last_counted: Option<MonoTime>,
        last_good: Option<MonoTime>,
    ) -> bool {
        let recent = |at: Option<MonoTime>| at.is_some_and(|at| now.since(at) < self.length);
        recent(last_counted) && recent(last_good)
    }
}

impl Default for ClusterGuard {
    fn default() -> Self {
        Self::new(Span::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Option<MonoTime> {
        Some(MonoTime::from_ms(ms))
    }

    #[test]
    fn b7_failures_that_come_together_count_once() {
        let guard = ClusterGuard::default();
        let spares = |counted, good| guard.spares(MonoTime::from_ms(10_000), counted, good);
        assert!(spares(at(9_500), at(9_200)));
        assert!(!spares(None, at(9_999)), "the first one counts");
        assert!(!spares(at(9_000), at(9_999)), "one a second counts");
        assert!(!spares(at(9_999), None), "it never answered well");
        assert!(!spares(at(9_999), at(8_999)), "it died a while ago");
        assert!(!ClusterGuard::new(Span::ZERO).spares(MonoTime::from_ms(0), at(0), at(0)));
    }
}
