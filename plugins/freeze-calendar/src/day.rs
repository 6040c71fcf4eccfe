//! Days and times of day, by the Gregorian calendar.

use serde::Deserialize;

/// A day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Day(i64);

impl Day {
    /// The day that a count of minutes since 1970-01-01 falls on.
    #[must_use]
    pub fn of_minutes(minutes: i64) -> Self {
        Self(minutes.div_euclid(MINUTES_A_DAY))
    }

    /// A day of the calendar; months and days count from 1, and there is no check that the month
    /// has so many.
    #[must_use]
    pub fn of_date(year: i64, month: i64, day: i64) -> Self {
        // Years begin in March here, so that the day of a leap year is the last one.
        let shifted = (month + 9) % 12;
        let year = year - i64::from(month < 3);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * shifted + 2) / 5 + day - 1;
        Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    /// Year, month and day.
    #[must_use]
    pub fn date(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (era * 400 + year + i64::from(month < 3), month, day)
    }

    /// The day before.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0 - 1)
    }

    /// The day of the week.
    #[must_use]
    pub fn weekday(self) -> Weekday {
        // 1970-01-01 was a Thursday.
        match (self.0 + 3).rem_euclid(7) {
            0 => Weekday::Mon,
            1 => Weekday::Tue,
            2 => Weekday::Wed,
            3 => Weekday::Thu,
            4 => Weekday::Fri,
            5 => Weekday::Sat,
            _ => Weekday::Sun,
        }
    }

    /// The first minute, since 1970-01-01.
    #[must_use]
    pub fn minutes(self) -> i64 {
        self.0 * MINUTES_A_DAY
    }

    /// The first Sunday on or after a date.
    #[must_use]
    pub fn sunday_from(year: i64, month: i64, day: i64) -> Self {
        let from = Self::of_date(year, month, day);
        Self(from.0 + 6 - (from.0 + 3).rem_euclid(7))
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts: Vec<i64> = text.split('-').map(|part| part.parse().unwrap_or(0)).collect();
        if let [year, month @ 1..=12, day @ 1..=31] = parts[..] {
            let parsed = Self::of_date(year, month, day);
            if parsed.date() == (year, month, day) {
                return Ok(parsed);
            }
        }
        Err(format!("there is no day {text}"))
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// As it is written in the parameters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
}

/// A minute of the day, or a difference of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Minutes(pub i64);

impl Minutes {
    /// The minute of the day that a count of minutes since 1970-01-01 falls on.
    #[must_use]
    pub fn of_day(minutes: i64) -> Self {
        Self(minutes.rem_euclid(MINUTES_A_DAY))
    }

    /// Hours and minutes without a sign.
    #[must_use]
    pub fn text(self) -> String {
        format!("{:02}:{:02}", self.0.abs() / 60, self.0.abs() % 60)
    }
}

impl TryFrom<String> for Minutes {
    type Error = String;

    /// Reads `HH:MM` with a sign or without.
    fn try_from(text: String) -> Result<Self, String> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        let parsed = digits.split_once(':').and_then(|(hours, minutes)| {
            Some(hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        });
        parsed.map(|minutes| Self(sign * minutes)).ok_or_else(|| format!("{text} is no time"))
    }
}

const MINUTES_A_DAY: i64 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back_from_its_date() {
        for day in -80_000..80_000 {
            let (year, month, of_month) = Day(day).date();
            assert_eq!(Day::of_date(year, month, of_month), Day(day));
        }
        assert_eq!(Day(0).date(), (1970, 1, 1));
        assert_eq!(Day(11_016).date(), (2000, 2, 29));
    }

    #[test]
    fn a_text_is_a_day_only_if_the_calendar_has_it() {
        let day = |text: &str| Day::try_from(text.to_owned());
        assert_eq!(day("2026-12-24"), Ok(Day::of_date(2026, 12, 24)));
        assert_eq!(day("2028-02-29"), Ok(Day::of_date(2028, 2, 29)));
        for wrong in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "2026-12", ""] {
            assert_eq!(day(wrong), Err(format!("there is no day {wrong}")));
        }
    }

    #[test]
    fn sundays_and_weekdays_are_those_of_the_calendar() {
        assert_eq!(Day::of_date(2026, 3, 13).weekday(), Weekday::Fri);
        assert_eq!(Day::of_date(2026, 3, 29).weekday(), Weekday::Sun);
        assert_eq!(Day::sunday_from(2026, 3, 25).date(), (2026, 3, 29));
        assert_eq!(Day::sunday_from(2026, 11, 1).date(), (2026, 11, 1));
        assert_eq!(Day::sunday_from(2026, 3, 8).date(), (2026, 3, 8));
    }

    #[test]
    fn offsets_have_a_sign() {
        let minutes = |text: &str| Minutes::try_from(text.to_owned());
        assert_eq!(minutes("09:30"), Ok(Minutes(570)));
        assert_eq!(minutes("+05:45"), Ok(Minutes(345)));
        assert_eq!(minutes("-03:30"), Ok(Minutes(-210)));
        assert_eq!(Minutes(-210).text(), "03:30");
        assert!(minutes("half nine").is_err());
    }
}
