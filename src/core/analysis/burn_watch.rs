//! The burn rate of one side as it is watched: fed by counts that only grow.
//!
//! A rate that hovers about its limit would be told of again and again, so that a level is left
//! only after it was not reached for five minutes. What decides goes by what is seen and not by
//! what was told.

use crate::core::model::{MonoTime, Span};

use super::burn_rate::{Burn, BurnRate, Urgency};

/// What a look at a burn rate found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burning {
    /// What the windows say.
    pub says: Burn,
    /// The rate over each of [`BurnWatch::WINDOWS`]; `None` without requests.
    pub over: [Option<f64>; 5],
}

impl Burning {
    /// Whether it is above a rate that calls somebody at once: the side breaks its objective.
    #[must_use]
    pub fn pages(&self) -> bool {
        self.says == Burn::Above(Urgency::Page)
    }
}

impl Default for Burning {
    fn default() -> Self {
        Self { says: Burn::Within, over: [None; 5] }
    }
}

/// That a level is told of, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurnChange {
    /// What was told before; `None` is nothing.
    pub from: Option<Urgency>,
    /// What is told now.
    pub to: Option<Urgency>,
}

/// The burn rate of one side.
#[derive(Clone, Debug)]
pub struct BurnWatch {
    burn: BurnRate,
    /// Failures and requests as of the last look.
    counted: (u64, u64),
    seen: Burning,
    told: Option<Urgency>,
    /// When what was told was last so.
    reached: MonoTime,
}

impl BurnWatch {
    /// The windows that are shown, and their names.
    pub const WINDOWS: [(&'static str, Span); 5] = [
        ("5m", Span::from_mins(5)),
        ("30m", Span::from_mins(30)),
        ("1h", Span::from_hours(1)),
        ("6h", Span::from_hours(6)),
        ("3d", Span::from_hours(72)),
    ];

    /// A watch for an objective, `0.999` for 99.9 %. What was counted up to now, failures and
    /// requests, is not in it.
    #[must_use]
    pub fn new(objective: f64, counted: (u64, u64)) -> Self {
        Self {
            burn: BurnRate::for_objective(objective),
            counted,
            seen: Burning::default(),
            told: None,
            reached: MonoTime::default(),
        }
    }

    /// Goes on with another counter.
    pub fn rebase(&mut self, counted: (u64, u64)) {
        self.counted = counted;
    }

    /// Takes what was counted by now, failures and requests; whether something is to be told.
    /// Counts that fell began anew.
    pub fn look(&mut self, now: MonoTime, counted: (u64, u64)) -> Option<BurnChange> {
        let (failed, requests) = counted;
        let anew = failed < self.counted.0 || requests < self.counted.1;
        let before = if anew { (0, 0) } else { self.counted };
        self.burn.record(now, failed - before.0, requests - before.1);
        self.counted = counted;
        let over = Self::WINDOWS.map(|(_, window)| self.burn.over(now, window));
        self.seen = Burning { says: self.burn.judge(now), over };
        let level = match self.seen.says {
            Burn::Above(urgency) => Some(urgency),
            Burn::Within | Burn::Insufficient => None,
        };
        if level >= self.told {
            self.reached = now;
        }
        let is_over = now.since(self.reached) >= QUIET;
        if level == self.told || (level < self.told && !is_over) {
            return None;
        }
        let change = BurnChange { from: self.told, to: level };
        (self.told, self.reached) = (level, now);
        Some(change)
    }

    /// What the last look found.
    #[must_use]
    pub fn seen(&self) -> Burning {
        self.seen
    }
}

/// For how long a level is not reached before that is told.
const QUIET: Span = Span::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_ms(1_000 * secs)
    }

    fn to(level: Option<Urgency>, from: Option<Urgency>) -> Option<BurnChange> {
        Some(BurnChange { from, to: level })
    }

    #[test]
    fn counts_that_grow_become_rates_and_what_was_counted_before_is_not_in_them() {
        let mut watch = BurnWatch::new(0.999, (900, 1_000));
        assert_eq!(watch.look(at(10), (900, 2_000)), None);
        assert_eq!(watch.seen(), Burning { says: Burn::Within, over: [Some(0.0); 5] });
        assert_eq!(watch.look(at(11), (904, 3_000)), None);
        assert!(watch.seen().over.iter().all(|rate| rate.is_some_and(|r| (r - 2.0).abs() < 1e-9)));
        // Another meter; then one that began anew.
        watch.rebase((50, 50));
        assert_eq!(watch.look(at(12), (50, 50)), None);
        watch.look(at(13), (1, 2_000));
        let rate = watch.seen().over[0].unwrap();
        assert!((rate - 1_000.0 * 5.0 / 4_000.0).abs() < 1e-9, "{rate}");
    }

    #[test]
    fn a_level_is_told_once_and_left_after_a_while() {
        let mut watch = BurnWatch::new(0.999, (0, 0));
        watch.look(at(0), (0, 100));
        assert_eq!(watch.look(at(1), (4, 200)), None, "four failures are too few");
        assert_eq!(watch.seen().says, Burn::Insufficient);
        let page = Some(Urgency::Page);
        assert_eq!(watch.look(at(2), (10, 300)), to(page, None));
        assert!(watch.seen().pages());
        assert_eq!(watch.look(at(3), (20, 400)), None);
        // A hundred times the requests, none of which fails.
        assert_eq!(watch.look(at(4), (20, 400_000)), None);
        assert!(!watch.seen().pages(), "what is decided by is what is seen");
        assert_eq!(watch.look(at(302), (20, 400_000)), None);
        assert_eq!(watch.look(at(303), (20, 400_001)), to(None, page));
        assert_eq!(watch.look(at(304), (20, 400_002)), None);
    }
}
