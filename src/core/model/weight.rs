//! Green's share of a service's traffic.
//!
//! Held as an integer number of basis points, so that a weight survives any number of trips
//! through files and APIs unchanged, and a split always sums to exactly 100 %.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The reason why a text or number is not a weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// Above 100 %.
    #[error("weight {bp} is above 10000 basis points")]
    AboveWhole {
        /// The number in basis points.
        bp: u64,
    },
    /// Has no percent sign.
    #[error(
        "{text:?} has no unit: a weight is written in percent, for example \"10%\" or \"0.25%\""
    )]
    NoPercentSign {
        /// What was written.
        text: String,
    },
    /// Is not a decimal number with at most two decimals.
    #[error(
        "{text:?} is not a weight: digits, at most two decimals and `%`, for example \"10%\" or \"0.25%\""
    )]
    NotDecimal {
        /// What was written.
        text: String,
    },
}

/// A share in basis points, 0..=10 000 (0.01 % each).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Weight(u16);

impl Weight {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Everything: 100 %.
    pub const FULL: Self = Self(10_000);

    /// Makes a weight from basis points.
    ///
    /// # Errors
    /// Above 10 000.
    pub fn from_bp(bp: u16) -> Result<Self, WeightError> {
        if bp > Self::FULL.0 {
            return Err(WeightError::AboveWhole { bp: bp.into() });
        }
        Ok(Self(bp))
    }

    /// The weight in basis points, 0..=10 000.
    #[must_use]
    pub fn bp(self) -> u16 {
        self.0
    }

    /// The weight as a part of the whole, 0..=1.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL.0)
    }

    /// What is left of 100 %.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(Self::FULL.0 - self.0)
    }

    /// Adds, stopping at 100 %.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self((self.0 + other.0).min(Self::FULL.0))
    }

    /// Whether `part` of `whole` is at least this share; an empty whole never is.
    #[must_use]
    pub fn is_reached_by(self, part: u32, whole: u32) -> bool {
        whole > 0 && u64::from(part) * 10_000 >= u64::from(whole) * u64::from(self.0)
    }
}

impl FromStr for Weight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Self, WeightError> {
        let digits = text
            .strip_suffix('%')
            .ok_or_else(|| WeightError::NoPercentSign { text: shorten(text) })?;
        let not_decimal = || WeightError::NotDecimal { text: shorten(text) };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || fraction.len() > 2 {
            return Err(not_decimal());
        }
        let whole: u64 = whole.parse().map_err(|_| not_decimal())?;
        let hundredths: u64 = fraction.parse().map_err(|_| not_decimal())?;
        let scale = if fraction.len() == 1 { 10 } else { 1 };
        let bp = whole.saturating_mul(100).saturating_add(hundredths * scale);
        u16::try_from(bp).map_or(Err(WeightError::AboveWhole { bp }), Self::from_bp)
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

impl TryFrom<String> for Weight {
    type Error = WeightError;
    fn try_from(text: String) -> Result<Self, WeightError> {
        text.parse()
    }
}

impl From<Weight> for String {
    fn from(weight: Weight) -> Self {
        weight.to_string()
    }
}

impl fmt::Display for Weight {
    /// The one spelling: the shortest decimal, `10%`, `0.25%`, `12.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        let text = match rest {
            0 => format!("{whole}%"),
            r if r % 10 == 0 => format!("{whole}.{}%", r / 10),
            r => format!("{whole}.{r:02}%"),
        };
        f.pad(&text)
    }
}

/// The pair of weights. Stores green alone, so that it always sums to 100 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Split {
    green: Weight,
}

impl Split {
    /// Everything to blue.
    pub const ALL_BLUE: Self = Self { green: Weight::ZERO };

    /// A split that gives green this weight and blue the rest.
    #[must_use]
    pub fn with_green(green: Weight) -> Self {
        Self { green }
    }

    /// Green's weight.
    #[must_use]
    pub fn green(self) -> Weight {
        self.green
    }

    /// Blue's weight: what green leaves.
    #[must_use]
    pub fn blue(self) -> Weight {
        self.green.complement()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_exactly_and_refuses_the_rest() {
        let check = |text: &str, expected: Option<u16>| {
            assert_eq!(text.parse::<Weight>().ok().map(Weight::bp), expected, "{text:?}");
        };
        check("0%", Some(0));
        check("10%", Some(1_000));
        check("0.25%", Some(25));
        check("12.5%", Some(1_250));
        check("100%", Some(10_000));
        check("100.00%", Some(10_000));
        for bad in [
            "10.123%",
            "-1%",
            "+1%",
            "100.01%",
            "101%",
            "10",
            "%",
            ".5%",
            "5.%",
            "1e1%",
            " 1%",
            "1 %",
            "99999999999999999999%",
            "",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn every_weight_survives_being_written_and_read() {
        for bp in 0..=10_000 {
            let weight = Weight::from_bp(bp).expect("in range");
            assert_eq!(weight.to_string().parse(), Ok(weight));
            let split = Split::with_green(weight);
            assert_eq!(split.green().bp() + split.blue().bp(), 10_000);
        }
        assert!(Weight::from_bp(10_001).is_err());
    }

    #[test]
    fn a_bare_number_is_told_about_the_unit() {
        let error = "10".parse::<Weight>().expect_err("no unit").to_string();
        assert!(error.contains("percent"), "{error}");
    }
}
