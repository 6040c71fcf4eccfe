//! Times as RFC 3339.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::model::WallTime;

/// The reason why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not RFC 3339, or before 1970.
    #[error("{text:?} is not a time: for example \"2026-01-31T12:00:00.25Z\"")]
    NotTime {
        /// What was written.
        text: String,
    },
}

/// A point on the wall clock, in UTC, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.25Z")]
pub struct Timestamp(pub WallTime);

impl Timestamp {
    /// The time of day, `12:00:00`.
    #[must_use]
    pub fn time_of_day(self) -> String {
        let text = self.to_string();
        text.split_once('T').map_or(String::new(), |(_, time)| time.chars().take(8).collect())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = i64::try_from(self.0.ms()).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        f.pad(&time.to_string())
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        let time = text.parse::<jiff::Timestamp>().ok();
        let ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        match ms {
            Some(ms) => Ok(Self(WallTime::from_ms(ms))),
            None => Err(TimeError::NotTime { text: text.chars().take(40).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_being_written_and_read() {
        for (ms, text) in
            [(0, "1970-01-01T00:00:00Z"), (1_769_860_800_250, "2026-01-31T12:00:00.25Z")]
        {
            let time = Timestamp(WallTime::from_ms(ms));
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::try_from(text.to_owned()), Ok(time));
        }
        assert_eq!(Timestamp(WallTime::from_ms(1_769_860_800_250)).time_of_day(), "12:00:00");
        assert!(Timestamp::try_from("yesterday".to_owned()).is_err());
    }

    #[test]
    fn a_time_beyond_the_calendar_does_not_panic() {
        assert!(Timestamp(WallTime::from_ms(u64::MAX)).to_string().starts_with("9999-"));
    }
}
