//! Counts of settled requests: the four kinds that the bets tell apart.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Requests by side and outcome in one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Bad on green.
    pub green_bad: u64,
    /// Ok on green.
    pub green_ok: u64,
    /// Bad on blue.
    pub blue_bad: u64,
    /// Ok on blue.
    pub blue_ok: u64,
}

impl Tally {
    /// Counts in the order of the golden vectors.
    #[must_use]
    pub const fn new(green_bad: u64, green_ok: u64, blue_bad: u64, blue_ok: u64) -> Self {
        Self { green_bad, green_ok, blue_bad, blue_ok }
    }

    /// Green's requests.
    #[must_use]
    pub const fn green(self) -> u64 {
        self.green_bad + self.green_ok
    }

    /// Blue's requests.
    #[must_use]
    pub const fn blue(self) -> u64 {
        self.blue_bad + self.blue_ok
    }

    /// The sum of the counts, each times its logarithmic factor.
    #[must_use]
    pub(super) fn dot(self, factors: &[f64; 4]) -> f64 {
        self.green_bad as f64 * factors[0]
            + self.green_ok as f64 * factors[1]
            + self.blue_bad as f64 * factors[2]
            + self.blue_ok as f64 * factors[3]
    }

    /// The same with `bad` of green's bad ones called ok: what leave-one-out compares (B4).
    #[must_use]
    pub(super) fn recoded(self, bad: u64) -> Self {
        let bad = bad.min(self.green_bad);
        Self { green_bad: self.green_bad - bad, green_ok: self.green_ok + bad, ..self }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            green_bad: self.green_bad + other.green_bad,
            green_ok: self.green_ok + other.green_ok,
            blue_bad: self.blue_bad + other.blue_bad,
            blue_ok: self.blue_ok + other.blue_ok,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
