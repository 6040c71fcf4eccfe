//! Lengths and points of time.
//!
//! Two clocks, never mixed: *monotonic* time measures bakes and intervals, *wall* time dates
//! records and bounds approvals and deadlines. Nothing in `core` reads either; they are arguments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reason why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A number without a unit.
    #[error(
        "{text:?} has no unit: a duration is written with one, for example \"250ms\", \"30s\", \"2m\", \"1h30m\" or \"7d\""
    )]
    NoUnit {
        /// What was written.
        text: String,
    },
    /// Anything else that is not a duration.
    #[error(
        "{text:?} is not a duration: for example \"250ms\", \"30s\", \"2m\", \"1h30m\" or \"7d\""
    )]
    NotSpan {
        /// What was written.
        text: String,
    },
    /// Longer than a hundred years.
    #[error("{text:?} is longer than 36500d")]
    TooLong {
        /// What was written.
        text: String,
    },
}

/// A length of time in whole milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const LONGEST_MS: u64 = 36_500 * 86_400_000;

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000)
    }

    /// A span of whole minutes.
    #[must_use]
    pub const fn from_mins(mins: u64) -> Self {
        Self(mins * 60_000)
    }

    /// A span of whole hours.
    #[must_use]
    pub const fn from_hours(hours: u64) -> Self {
        Self(hours * 3_600_000)
    }

    /// The length in milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Adds, stopping at the largest value.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts, stopping at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let shown = || text.chars().take(40).collect::<String>();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SpanError::NoUnit { text: shown() });
        }
        let mut rest = text;
        let mut total: u64 = 0;
        let mut next_unit = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let after = &rest[digits..];
            let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
            let unit = UNITS.iter().position(|(name, _)| *name == &after[..letters]);
            let (Some(unit), Ok(count)) = (unit, rest[..digits].parse::<u64>()) else {
                return Err(SpanError::NotSpan { text: shown() });
            };
            if unit < next_unit {
                return Err(SpanError::NotSpan { text: shown() });
            }
            next_unit = unit + 1;
            total = total.saturating_add(count.saturating_mul(UNITS[unit].1));
            rest = &after[letters..];
        }
        match total {
            _ if text.is_empty() => Err(SpanError::NotSpan { text: shown() }),
            ms if ms > LONGEST_MS => Err(SpanError::TooLong { text: shown() }),
            ms => Ok(Self(ms)),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    /// The one spelling: the largest units first, nothing that is zero (`1h30m`, `250ms`, `0s`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, ms) in UNITS {
            if rest >= ms {
                text.push_str(&format!("{}{unit}", rest / ms));
                rest %= ms;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

/// A point on the wall clock: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(u64);

impl WallTime {
    /// A point from milliseconds since the epoch.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The time passed since an earlier point; zero if the clock was set back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The point this much later.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A point on the monotonic clock in milliseconds; its zero means nothing and differs from one
/// start of the process to the next, so it is never stored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MonoTime(u64);

impl MonoTime {
    /// A point from milliseconds since the clock's own zero.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's own zero.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The time passed since an earlier point, never negative.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The point this much later.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For dates, approvals and deadlines.
    pub wall: WallTime,
    /// For bakes and intervals.
    pub mono: MonoTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<Span>().ok().map(Span::ms), expected, "{text:?}");
        };
        check("250ms", Some(250));
        check("2m", Some(120_000));
        check("1h30m", Some(5_400_000));
        check("7d", Some(604_800_000));
        check("0s", Some(0));
        for bad in ["", "5", "m", "-1s", "1.5s", "1m1h", "1m1m", "1 m", "5M", "99999999999d"] {
            check(bad, None);
        }
    }

    #[test]
    fn has_one_spelling() {
        for (ms, text) in [(0, "0s"), (90_000, "1m30s"), (1_500, "1s500ms"), (86_400_000, "1d")] {
            assert_eq!(Span::from_ms(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Span::from_ms(ms)));
        }
    }
}
