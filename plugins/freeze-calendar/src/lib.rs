//! A gate that holds a rollout outside of office hours and during freezes.

pub mod day;

use day::{Day, Minutes, Weekday};
use gate_kit::{Call, Verdict, hold_for, wall_clock};
use serde::Deserialize;

/// What the operator configured; `params.schema.json` describes the same to the host.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// What to add to UTC for the local time, outside of summer time.
    pub utc_offset: Minutes,
    /// When an hour more is added.
    pub summer_time: SummerTime,
    /// The days on which a rollout may go on.
    pub days: Vec<Weekday>,
    /// When the office hours begin.
    pub from: Minutes,
    /// The first minute that is outside of them.
    pub to: Minutes,
    /// Days on which no rollout goes on.
    pub freezes: Vec<Freeze>,
}

/// By whose rule clocks are put forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummerTime {
    /// They are not.
    None,
    /// At 01:00 UTC, from the last Sunday of March to the last Sunday of October.
    Eu,
    /// At 02:00 local time, from the second Sunday of March to the first Sunday of November.
    Us,
}

/// Days on which no rollout goes on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The first day.
    pub from: Day,
    /// The last day; `None` is the first one.
    pub to: Option<Day>,
    /// For people; `None` says nothing.
    pub reason: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            utc_offset: Minutes(0),
            summer_time: SummerTime::None,
            days: vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri],
            from: Minutes(9 * 60),
            to: Minutes(17 * 60),
            freezes: Vec::new(),
        }
    }
}

impl Params {
    /// The difference to UTC at a minute of UTC.
    fn offset_at(&self, utc: i64) -> i64 {
        let standard = utc + self.utc_offset.0;
        let (year, ..) = Day::of_minutes(standard).date();
        let is_summer = match self.summer_time {
            SummerTime::None => false,
            SummerTime::Eu => {
                let begins = Day::sunday_from(year, 3, 25).minutes() + 60;
                let ends = Day::sunday_from(year, 10, 25).minutes() + 60;
                (begins..ends).contains(&utc)
            }
            SummerTime::Us => {
                let begins = Day::sunday_from(year, 3, 8).minutes() + 120;
                let ends = Day::sunday_from(year, 11, 1).minutes() + 60;
                (begins..ends).contains(&standard)
            }
        };
        self.utc_offset.0 + if is_summer { 60 } else { 0 }
    }

    /// Why nothing goes on at a minute of UTC; `None` if it may.
    fn closed_at(&self, utc: i64) -> Option<String> {
        let offset = self.offset_at(utc);
        let (day, minute) = (Day::of_minutes(utc + offset), Minutes::of_day(utc + offset));
        let frozen = |freeze: &&Freeze| freeze.from <= day && day <= freeze.last();
        if let Some(freeze) = self.freezes.iter().find(frozen) {
            return Some(freeze.text());
        }
        let opened_on = if self.from < self.to {
            (self.from <= minute && minute < self.to).then_some(day)
        } else if minute >= self.from {
            Some(day)
        } else {
            (minute < self.to).then(|| day.before())
        };
        if opened_on.is_some_and(|day| self.days.contains(&day.weekday())) {
            return None;
        }
        let days: Vec<_> = self.days.iter().map(|day| day.as_str()).collect();
        Some(format!(
            "outside of the hours {} to {} on {}: it is {} {}, UTC{}{}",
            self.from.text(),
            self.to.text(),
            days.join(" "),
            day.weekday().as_str(),
            minute.text(),
            if offset < 0 { '-' } else { '+' },
            Minutes(offset).text()
        ))
    }
}

impl Freeze {
    fn last(&self) -> Day {
        self.to.unwrap_or(self.from)
    }

    fn text(&self) -> String {
        let (year, month, day) = self.last().date();
        let until = format!("frozen until the end of {year:04}-{month:02}-{day:02}");
        match &self.reason {
            Some(reason) => format!("{until}: {reason}"),
            None => until,
        }
    }
}

gate_kit::gate!(evaluate);

/// Asks the host for the time.
///
/// # Errors
/// A freeze that ends before it begins.
pub fn evaluate(_: &Call, params: &Params) -> Result<Verdict, String> {
    decide(params, wall_clock::now_ms())
}

/// Passes at a time that is open, and otherwise holds until it is, or for an hour.
///
/// # Errors
/// A freeze that ends before it begins.
pub fn decide(params: &Params, now_ms: f64) -> Result<Verdict, String> {
    if params.freezes.iter().any(|freeze| freeze.last() < freeze.from) {
        return Err("parameters: a freeze ends before it begins".to_owned());
    }
    let now = now_ms as i64;
    let utc = now.div_euclid(MS_A_MINUTE);
    let Some(reason) = params.closed_at(utc) else { return Ok(Verdict::Pass) };
    let opens = (utc + 1..=utc + 60).find(|minute| params.closed_at(*minute).is_none());
    let wait = opens.map_or(LONGEST_HOLD_MS, |minute| minute * MS_A_MINUTE - now);
    Ok(hold_for(reason, wait.clamp(SHORTEST_HOLD_MS, LONGEST_HOLD_MS) as u32))
}

const MS_A_MINUTE: i64 = 60_000;
/// What the host keeps a hold within.
const SHORTEST_HOLD_MS: i64 = 1_000;
const LONGEST_HOLD_MS: i64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use gate_kit::{Hold, defaults_in, params};

    /// A time of UTC in milliseconds.
    fn at(date: &str, time: &str) -> f64 {
        let day = Day::try_from(date.to_owned()).expect("a day").minutes();
        let minutes = Minutes::try_from(time.to_owned()).expect("a time").0;
        ((day + minutes) * MS_A_MINUTE) as f64
    }

    fn is_open(params: &Params, date: &str, time: &str) -> bool {
        decide(params, at(date, time)).expect("valid") == Verdict::Pass
    }

    #[test]
    fn the_schema_and_the_defaults_agree() {
        let text = defaults_in(include_str!("../params.schema.json"));
        assert_eq!(params::<Params>(&text), Ok(Params::default()));
    }

    #[test]
    fn hours_begin_and_end_at_their_minute_on_their_days() {
        let params = Params::default();
        for (time, open) in [("08:59", false), ("09:00", true), ("16:59", true), ("17:00", false)] {
            assert_eq!(is_open(&params, "2026-03-13", time), open, "{time}");
            assert!(!is_open(&params, "2026-03-14", time), "saturday {time}");
        }
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let friday = Params {
            days: vec![Weekday::Fri],
            from: Minutes(22 * 60),
            to: Minutes(6 * 60),
            ..Params::default()
        };
        assert!(is_open(&friday, "2026-03-13", "22:00"));
        assert!(is_open(&friday, "2026-03-14", "05:59"));
        assert!(!is_open(&friday, "2026-03-14", "06:00"));
        assert!(!is_open(&friday, "2026-03-13", "05:59"));
        let whole = Params { from: Minutes(0), to: Minutes(0), ..friday };
        assert!(is_open(&whole, "2026-03-13", "00:00") && is_open(&whole, "2026-03-13", "23:59"));
        assert!(!is_open(&whole, "2026-03-14", "00:00"));
    }

    #[test]
    fn summer_time_begins_and_ends_when_the_rule_says() {
        let check = |summer_time, offset, utc_date, utc_time, expected| {
            let params = Params { utc_offset: Minutes(offset), summer_time, ..Params::default() };
            let utc = (at(utc_date, utc_time) / 60_000.0) as i64;
            assert_eq!(params.offset_at(utc), expected, "{utc_date} {utc_time}");
        };
        check(SummerTime::Eu, 60, "2026-03-29", "00:59", 60);
        check(SummerTime::Eu, 60, "2026-03-29", "01:00", 120);
        check(SummerTime::Eu, 60, "2026-10-25", "00:59", 120);
        check(SummerTime::Eu, 60, "2026-10-25", "01:00", 60);
        check(SummerTime::Us, -300, "2026-03-08", "06:59", -300);
        check(SummerTime::Us, -300, "2026-03-08", "07:00", -240);
        check(SummerTime::Us, -300, "2026-11-01", "05:59", -240);
        check(SummerTime::Us, -300, "2026-11-01", "06:00", -300);
        check(SummerTime::None, 60, "2026-07-01", "12:00", 60);
    }

    #[test]
    fn a_freeze_is_held_through_its_last_day() {
        let text = r#"{"freezes":[{"from":"2026-12-18","to":"2027-01-04","reason":"holidays"}]}"#;
        let frozen: Params = params(text).expect("valid");
        assert!(is_open(&frozen, "2026-12-17", "10:00"));
        let Ok(Verdict::Hold(Hold { reason, retry_after_ms })) =
            decide(&frozen, at("2027-01-04", "10:00"))
        else {
            panic!("expected a hold");
        };
        assert_eq!(reason, "frozen until the end of 2027-01-04: holidays");
        assert_eq!(retry_after_ms, Some(3_600_000));
        assert!(is_open(&frozen, "2027-01-05", "10:00"));
    }

    #[test]
    fn a_hold_ends_when_the_hours_begin_if_that_is_soon() {
        let wait = |time: &str| match decide(&Params::default(), at("2026-03-13", time)) {
            Ok(Verdict::Hold(hold)) => hold.retry_after_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("08:30"), Some(30 * 60_000));
        assert_eq!(wait("07:59"), Some(3_600_000));
        assert_eq!(wait("08:00"), Some(3_600_000));
    }

    #[test]
    fn a_freeze_that_cannot_be_is_an_error() {
        let text = r#"{"freezes":[{"from":"2026-12-18","to":"2026-12-17"}]}"#;
        let reversed: Params = params(text).expect("two days");
        assert!(decide(&reversed, 0.0).expect_err("reversed").contains("before it begins"));
        let missing = params::<Params>(r#"{"freezes":[{"from":"2026-02-30"}]}"#);
        assert!(missing.expect_err("no day").contains("there is no day 2026-02-30"));
    }
}
