//! The amounts that a simulation is told: how much traffic, which part of it fails, how much
//! slower it is.
//!
//! Held as integers, as everywhere; each has bounds, so that no simulation is without an end.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The reason why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a share in percent.
    #[error("{text:?} is not a share: digits, at most two decimals and `%`, for example \"1%\"")]
    Share {
        /// What was written.
        text: String,
    },
    /// A share above 100 %.
    #[error("{text:?} is above 100%")]
    AboveWhole {
        /// What was written.
        text: String,
    },
    /// Not an increase.
    #[error("{text:?} is not an increase: `+`, a whole number and `%`, for example \"+50%\"")]
    Increase {
        /// What was written.
        text: String,
    },
    /// An increase that is too large.
    #[error("{text:?} is above +{limit}%")]
    AboveIncrease {
        /// What was written.
        text: String,
        /// The largest one.
        limit: u32,
    },
    /// Not traffic.
    #[error(
        "{text:?} is not traffic: digits, at most three decimals and `rps`, for example \"200rps\""
    )]
    Traffic {
        /// What was written.
        text: String,
    },
    /// Traffic out of its bounds.
    #[error("{text:?} is not between 0.01rps and 100000rps")]
    TrafficBounds {
        /// What was written.
        text: String,
    },
}

/// A share of the requests in basis points, 0..=10 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct FailureShare(u16);

impl FailureShare {
    /// A share of basis points; what is above 10 000 is 10 000.
    #[must_use]
    pub const fn from_bp(bp: u16) -> Self {
        Self(if bp > 10_000 { 10_000 } else { bp })
    }

    /// The share as a probability, 0..=1.
    #[must_use]
    pub fn probability(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl FromStr for FailureShare {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let not_share = || AmountError::Share { text: shorten(text) };
        let bp = text.strip_suffix('%').and_then(|digits| decimal(digits, 2));
        let bp = bp.ok_or_else(not_share)?;
        match u16::try_from(bp) {
            Ok(bp) if bp <= 10_000 => Ok(Self(bp)),
            Ok(_) | Err(_) => Err(AmountError::AboveWhole { text: shorten(text) }),
        }
    }
}

impl fmt::Display for FailureShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", shortest(u64::from(self.0), 2)))
    }
}

impl From<FailureShare> for String {
    fn from(share: FailureShare) -> Self {
        share.to_string()
    }
}

/// How much longer something takes, in percent of what it takes otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Slowdown(u32);

impl Slowdown {
    /// The largest one: a hundred times as long and more.
    pub const LARGEST: u32 = 10_000;

    /// An increase of so many percent; what is above the largest is the largest.
    #[must_use]
    pub const fn from_percent(percent: u32) -> Self {
        Self(if percent > Self::LARGEST { Self::LARGEST } else { percent })
    }

    /// What a time is multiplied with, 1 and more.
    #[must_use]
    pub fn factor(self) -> f64 {
        1.0 + f64::from(self.0) / 100.0
    }
}

impl FromStr for Slowdown {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let digits = text.strip_prefix('+').and_then(|rest| rest.strip_suffix('%'));
        let percent = digits.and_then(|digits| decimal(digits, 0));
        let percent = percent.ok_or_else(|| AmountError::Increase { text: shorten(text) })?;
        match u32::try_from(percent) {
            Ok(percent) if percent <= Self::LARGEST => Ok(Self(percent)),
            Ok(_) | Err(_) => {
                Err(AmountError::AboveIncrease { text: shorten(text), limit: Self::LARGEST })
            }
        }
    }
}

impl fmt::Display for Slowdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("+{}%", self.0))
    }
}

impl From<Slowdown> for String {
    fn from(slowdown: Slowdown) -> Self {
        slowdown.to_string()
    }
}

/// Requests in a time, as thousandths of a request a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Traffic(u64);

impl Traffic {
    /// So many requests in so many milliseconds; `None` outside of the bounds.
    #[must_use]
    pub fn measured(requests: u64, ms: u64) -> Option<Self> {
        let thousandths = requests.saturating_mul(1_000_000).checked_div(ms)?;
        BOUNDS.contains(&thousandths).then_some(Self(thousandths))
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// How many requests there are in so many milliseconds, rounded down.
    #[must_use]
    pub fn in_ms(self, ms: u64) -> u64 {
        u64::try_from(u128::from(self.0) * u128::from(ms) / 1_000_000).unwrap_or(u64::MAX)
    }
}

impl FromStr for Traffic {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let thousandths = text.strip_suffix("rps").and_then(|digits| decimal(digits, 3));
        let thousandths =
            thousandths.ok_or_else(|| AmountError::Traffic { text: shorten(text) })?;
        if !BOUNDS.contains(&thousandths) {
            return Err(AmountError::TrafficBounds { text: shorten(text) });
        }
        Ok(Self(thousandths))
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}rps", shortest(self.0, 3)))
    }
}

impl From<Traffic> for String {
    fn from(traffic: Traffic) -> Self {
        traffic.to_string()
    }
}

/// From one request in 100 seconds to 100 000 a second.
const BOUNDS: std::ops::RangeInclusive<u64> = 10..=100_000_000;

/// A plain number with at most so many decimals, in units of the last of them; `None` for anything
/// else.
fn decimal(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || fraction.len() > decimals {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

/// The shortest spelling of a number of units of the last decimal.
fn shortest(units: u64, decimals: u32) -> String {
    let scale = 10_u64.pow(decimals);
    let (whole, rest) = (units / scale, units % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = decimals as usize;
    let text = format!("{whole}.{rest:0width$}");
    text.trim_end_matches('0').to_owned()
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_exactly_and_the_rest_is_refused() {
        let check = |text: &str, expected: Option<u16>| {
            let found = text.parse::<FailureShare>().ok();
            assert_eq!(found, expected.map(FailureShare), "{text:?}");
        };
        check("1%", Some(100));
        check("0.1%", Some(10));
        check("0.05%", Some(5));
        check("100%", Some(10_000));
        check("0%", Some(0));
        for bad in ["1", "100.01%", "0.001%", "-1%", "+1%", "%", ".5%", "1.%", "1e1%", ""] {
            check(bad, None);
        }
        assert_eq!(FailureShare(10).to_string(), "0.1%");
        assert_eq!(FailureShare(1_005).to_string(), "10.05%");
    }

    #[test]
    fn slowdowns_have_a_sign_and_a_bound() {
        assert_eq!("+50%".parse(), Ok(Slowdown(50)));
        assert_eq!("+0%".parse(), Ok(Slowdown(0)));
        for bad in ["50%", "-50%", "+50", "+1.5%", "+10001%", "+99999999999999999999%"] {
            assert!(bad.parse::<Slowdown>().is_err(), "{bad}");
        }
        assert!((Slowdown(50).factor() - 1.5).abs() < 1e-12);
    }

    #[test]
    fn traffic_has_a_unit_and_bounds() {
        assert_eq!("200rps".parse(), Ok(Traffic(200_000)));
        assert_eq!("0.5rps".parse(), Ok(Traffic(500)));
        for bad in ["200", "200 rps", "0rps", "0.001rps", "100001rps", "1.2345rps", "-1rps", "rps"]
        {
            assert!(bad.parse::<Traffic>().is_err(), "{bad}");
        }
        assert_eq!(Traffic(1_500).to_string(), "1.5rps");
        assert_eq!(Traffic(200_000).in_ms(30_000), 6_000);
        assert_eq!(Traffic::measured(100, 5_000), Some(Traffic(20_000)));
        assert_eq!(Traffic::measured(0, 5_000), None);
        assert_eq!(Traffic::measured(1, 0), None);
    }
}
