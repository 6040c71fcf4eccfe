//! Burn rates: how fast a side uses up the errors that its objective allows.
//!
//! The rule is the multi-window one of the SRE workbook (chapter 5, table 5-8): a rate above 14.4
//! over 1 h *and* 5 min, or above 6 over 6 h and 30 min, pages; above 1 over 3 d and 6 h is a
//! ticket. The short window makes it stop soon after the errors do. At low traffic one failure is a
//! high rate, so a window with fewer than five failures says INSUFFICIENT and not ALARM.
//!
//! Counts lie in rings: 10 s apart for 6 h, 5 min apart for 3 d.

use crate::core::model::{MonoTime, Span};

/// How urgent a burn rate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Somebody should look in the next days.
    Ticket,
    /// Somebody has to look now.
    Page,
}

impl Urgency {
    /// The word in the API, the ledger and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// What the windows say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burn {
    /// No pair of windows is above its rate.
    Within,
    /// A pair is, but with too few failures to mean it.
    Insufficient,
    /// A pair is.
    Above(Urgency),
}

/// The failures and requests of one side over three days.
#[derive(Clone, Debug)]
pub struct BurnRate {
    /// The part of requests that may fail, 0..1.
    budget: f64,
    fine: Ring,
    coarse: Ring,
}

impl BurnRate {
    /// The least failures in the long window.
    pub const FEWEST_FAILURES: u64 = 5;

    /// The windows for an objective, `0.999` for 99.9 %. One of 1 allows nothing: every failure is
    /// above any rate.
    #[must_use]
    pub fn for_objective(objective: f64) -> Self {
        Self {
            budget: (1.0 - objective).max(0.0),
            fine: Ring::new(Span::from_secs(10), 2_160),
            coarse: Ring::new(Span::from_mins(5), 864),
        }
    }

    /// Counts failures and requests (failed or not) since the last call.
    pub fn record(&mut self, now: MonoTime, bad: u64, total: u64) {
        self.fine.record(now, bad, total);
        self.coarse.record(now, bad, total);
    }

    /// The burn rate over a window that ends now: 1 uses up the budget exactly. `None` without
    /// requests.
    #[must_use]
    pub fn over(&self, now: MonoTime, window: Span) -> Option<f64> {
        let (bad, total) = self.sum(now, window);
        (total > 0).then(|| self.rate(bad, total))
    }

    /// What the windows say now.
    #[must_use]
    pub fn judge(&self, now: MonoTime) -> Burn {
        let mut found = Burn::Within;
        for rule in &RULES {
            let (bad, total) = self.sum(now, rule.long);
            let (bad_lately, lately) = self.sum(now, rule.short);
            let above = |bad, total| total > 0 && self.rate(bad, total) > rule.rate;
            if above(bad, total) && above(bad_lately, lately) {
                if bad >= Self::FEWEST_FAILURES {
                    return Burn::Above(rule.urgency);
                }
                found = Burn::Insufficient;
            }
        }
        found
    }

    fn rate(&self, bad: u64, total: u64) -> f64 {
        if bad == 0 { 0.0 } else { bad as f64 / total as f64 / self.budget }
    }

    fn sum(&self, now: MonoTime, window: Span) -> (u64, u64) {
        let ring = if window <= self.fine.length() { &self.fine } else { &self.coarse };
        ring.sum(now, window)
    }
}

/// A pair of windows; rules are in the order of urgency.
struct Rule {
    rate: f64,
    long: Span,
    short: Span,
    urgency: Urgency,
}

const RULES: [Rule; 3] = [
    Rule {
        rate: 14.4,
        long: Span::from_hours(1),
        short: Span::from_mins(5),
        urgency: Urgency::Page,
    },
    Rule {
        rate: 6.0,
        long: Span::from_hours(6),
        short: Span::from_mins(30),
        urgency: Urgency::Page,
    },
    Rule {
        rate: 1.0,
        long: Span::from_hours(72),
        short: Span::from_hours(6),
        urgency: Urgency::Ticket,
    },
];

/// Counts by time; a bucket holds its number, so that an old one is never taken for a new one.
#[derive(Clone, Debug)]
struct Ring {
    width: Span,
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    number: u64,
    bad: u64,
    total: u64,
}

impl Ring {
    fn new(width: Span, count: usize) -> Self {
        Self { width, buckets: vec![Bucket::default(); count] }
    }

    fn length(&self) -> Span {
        Span::from_ms(self.width.ms() * self.buckets.len() as u64)
    }

    fn record(&mut self, now: MonoTime, bad: u64, total: u64) {
        let number = now.ms() / self.width.ms();
        let place = (number % self.buckets.len() as u64) as usize;
        let bucket = &mut self.buckets[place];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket.bad += bad;
        bucket.total += total;
    }

    /// The sums over the buckets that end in the window; the present one is among them.
    fn sum(&self, now: MonoTime, window: Span) -> (u64, u64) {
        let last = now.ms() / self.width.ms();
        let length = self.buckets.len() as u64;
        let count = (window.ms() / self.width.ms()).min(length);
        let numbers = (last + 1).saturating_sub(count)..=last;
        let buckets = numbers.filter_map(|number| {
            let bucket = &self.buckets[(number % length) as usize];
            (bucket.number == number).then_some(bucket)
        });
        buckets.fold((0, 0), |(bad, total), bucket| (bad + bucket.bad, total + bucket.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_ms(1_000 * secs)
    }

    /// Section 9.7: constant traffic, no error for six hours, then a constant rate of errors.
    #[test]
    fn it_alarms_when_the_workbook_says() {
        for (per_1000, wanted) in [(20, 2_592), (50, 1_037), (100, 518), (500, 104), (1_000, 52)] {
            let mut burn = BurnRate::for_objective(0.999);
            let start = 6 * 3_600;
            (0..start).for_each(|second| burn.record(at(second), 0, 1_000));
            let alarm = (start..).find(|second| {
                burn.record(at(*second), per_1000, 1_000);
                burn.judge(at(*second)) == Burn::Above(Urgency::Page)
            });
            let took = alarm.unwrap() - start;
            assert!((took as i64 - wanted).abs() <= 10, "{per_1000}: {took}, not {wanted}");
        }
    }

    #[test]
    fn it_stops_soon_after_the_errors_do() {
        let mut burn = BurnRate::for_objective(0.999);
        (0..3_600).for_each(|second| burn.record(at(second), 0, 100));
        (3_600..4_200).for_each(|second| burn.record(at(second), 100, 100));
        assert_eq!(burn.judge(at(4_199)), Burn::Above(Urgency::Page));
        (4_200..4_600).for_each(|second| burn.record(at(second), 0, 100));
        assert!(burn.over(at(4_599), Span::from_mins(5)).is_some_and(|rate| rate == 0.0));
        assert!(burn.over(at(4_599), Span::from_hours(1)).is_some_and(|rate| rate > 14.4));
        // The half hour still shows it; ten minutes' worth are a sixth of the long window's budget.
        assert_eq!(burn.judge(at(4_599)), Burn::Above(Urgency::Page));
        (4_600..6_100).for_each(|second| burn.record(at(second), 0, 100));
        assert_ne!(burn.judge(at(6_099)), Burn::Above(Urgency::Page));
    }

    #[test]
    fn a_few_failures_at_low_traffic_are_insufficient() {
        let mut burn = BurnRate::for_objective(0.999);
        burn.record(at(100), 4, 4);
        assert_eq!(burn.judge(at(100)), Burn::Insufficient);
        burn.record(at(101), 1, 1);
        assert_eq!(burn.judge(at(101)), Burn::Above(Urgency::Page));
        assert_eq!(BurnRate::for_objective(0.999).judge(at(0)), Burn::Within);
        assert_eq!(BurnRate::for_objective(0.999).over(at(0), Span::from_hours(1)), None);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut burn = BurnRate::for_objective(0.999);
        burn.record(at(0), 1_000, 1_000);
        let days = |days: u64| at(days * 86_400);
        burn.record(days(1), 0, 1);
        assert_eq!(burn.over(days(1), Span::from_hours(1)), Some(0.0));
        assert!(burn.over(days(1), Span::from_hours(72)).is_some_and(|rate| rate > 100.0));
        burn.record(days(4), 0, 1);
        assert_eq!(burn.over(days(4), Span::from_hours(72)), Some(0.0));
    }

    #[test]
    fn an_objective_without_budget_is_broken_by_any_failure() {
        let mut burn = BurnRate::for_objective(1.0);
        burn.record(at(0), 0, 1_000);
        assert_eq!(burn.judge(at(0)), Burn::Within);
        burn.record(at(1), 5, 1_000);
        assert_eq!(burn.judge(at(1)), Burn::Above(Urgency::Page));
    }
}
