//! The judge of an alarm on a query: m of n answers, and what a server that does not answer means.
//!
//! | the last answer | state |
//! |---|---|
//! | a number | by m of n, as for own numbers |
//! | no number (no series, NaN, infinity) | a missing datapoint, and never OK by older ones unless missing datapoints are left out or count as bad |
//! | one that shows a mistake in the query | INSUFFICIENT_DATA: nothing is known, whatever was before |
//! | none, fewer times in a row than the limit | as before |
//! | none, so many times in a row, or nothing at all for long | unavailable: INSUFFICIENT_DATA, or ALARM with `rollback` |
//!
//! A judge begins without a past: an answer that was there before it looked for the first time is
//! about something else (another revision, another query), and so are the datapoints from before an
//! outage.

use crate::core::model::{
    AlarmBound, AlarmSource, AlarmState, MissingData, MonoTime, OnUnavailable, QueryAnswer,
    Reading, Span,
};

use super::datapoints::{Datapoint, Datapoints};

/// Judges one alarm on a query; shown the last answer again and again.
#[derive(Clone, Debug)]
pub struct QueryJudge {
    bound: AlarmBound,
    missing: MissingData,
    unavailable_after: u32,
    on_unavailable: OnUnavailable,
    /// How long nothing at all may come.
    patience: Span,
    datapoints: Datapoints,
    /// The number of the last reading that was taken or passed over; `None` before the first look.
    last: Option<u64>,
    /// When something came last, or it began to wait.
    heard: MonoTime,
    latest: Latest,
}

/// What is known of the last answer.
#[derive(Clone, Debug, PartialEq)]
enum Latest {
    /// None came.
    Nothing,
    Value(f64),
    NoData(String),
    Mistaken(String),
    /// None that could be read, fewer times in a row than the limit.
    Failing(String),
    /// The server is unavailable.
    Unavailable(String),
}

impl QueryJudge {
    /// A judge without datapoints; `None` if the alarm's state comes from elsewhere.
    #[must_use]
    pub fn new(source: &AlarmSource) -> Option<Self> {
        match source {
            AlarmSource::Prometheus {
                server: _,
                query: _,
                timeout,
                bound,
                bad,
                of,
                period,
                missing,
                unavailable_after,
                on_unavailable,
            } => Some(Self {
                bound: *bound,
                missing: *missing,
                unavailable_after: (*unavailable_after).max(1),
                on_unavailable: *on_unavailable,
                patience: patience(*period, *timeout),
                datapoints: Datapoints::new(*bad, *of, *missing),
                last: None,
                heard: MonoTime::default(),
                latest: Latest::Nothing,
            }),
            AlarmSource::Own { .. }
            | AlarmSource::Pushed { .. }
            | AlarmSource::Alertmanager { .. } => None,
        }
    }

    /// Forgets everything: what comes from now on is about something else.
    pub fn begin_anew(&mut self) {
        self.datapoints.clear();
        self.last = None;
        self.latest = Latest::Nothing;
    }

    /// Looks at the last reading, which need not be a new one, and says what the alarm's state is.
    pub fn observe(&mut self, now: MonoTime, reading: Option<&Reading>) -> AlarmState {
        let Some(last) = self.last else {
            self.last = Some(reading.map_or(0, |reading| reading.number));
            self.heard = now;
            return self.state();
        };
        match reading.filter(|reading| reading.number > last) {
            Some(reading) => {
                self.last = Some(reading.number);
                self.heard = now;
                self.take(reading);
            }
            None if now.since(self.heard) > self.patience => {
                let silence = self.patience;
                self.give_up(format!("nothing was heard for more than {silence}"));
            }
            None => {}
        }
        self.state()
    }

    /// The state as of the last look.
    #[must_use]
    pub fn state(&self) -> AlarmState {
        match (&self.latest, self.datapoints.state()) {
            (Latest::Unavailable(_), _) => match self.on_unavailable {
                OnUnavailable::Hold | OnUnavailable::Ignore => AlarmState::InsufficientData,
                OnUnavailable::Rollback => AlarmState::Alarm,
            },
            (Latest::NoData(_), AlarmState::Ok) if self.missing == MissingData::Insufficient => {
                AlarmState::InsufficientData
            }
            (
                Latest::Nothing
                | Latest::Value(_)
                | Latest::NoData(_)
                | Latest::Mistaken(_)
                | Latest::Failing(_),
                state,
            ) => state,
        }
    }

    /// The state as rollouts see it: to them a server that is unavailable may be nothing.
    #[must_use]
    pub fn state_for_rollouts(&self) -> AlarmState {
        match (&self.latest, self.on_unavailable) {
            (Latest::Unavailable(_), OnUnavailable::Ignore) => AlarmState::Ok,
            (
                Latest::Nothing
                | Latest::Value(_)
                | Latest::NoData(_)
                | Latest::Mistaken(_)
                | Latest::Failing(_)
                | Latest::Unavailable(_),
                _,
            ) => self.state(),
        }
    }

    /// Why it says so; `None` before there was an answer.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        match &self.latest {
            Latest::Nothing => None,
            Latest::Value(value) if self.bound.is_broken_by(*value) => {
                Some(format!("the last answer is {value}, {}", self.bound))
            }
            Latest::Value(value) => Some(format!("the last answer is {value}")),
            Latest::NoData(why) => Some(format!("no number: {why}")),
            Latest::Mistaken(why) => Some(format!("the query is mistaken: {why}")),
            Latest::Failing(why) => Some(format!("the last query failed: {why}")),
            Latest::Unavailable(why) => Some(format!("unavailable: {why}")),
        }
    }

    /// Whether the alarm was evaluated once, be it that there was no number or no server.
    #[must_use]
    pub fn has_judged(&self) -> bool {
        match self.latest {
            Latest::Value(_) | Latest::NoData(_) | Latest::Mistaken(_) | Latest::Unavailable(_) => {
                true
            }
            Latest::Nothing | Latest::Failing(_) => false,
        }
    }

    fn take(&mut self, reading: &Reading) {
        match &reading.answer {
            QueryAnswer::Value(value) => {
                self.datapoints.enter(Datapoint::of(Some(*value), self.bound));
                self.latest = Latest::Value(*value);
            }
            QueryAnswer::NoData { why } => {
                self.datapoints.enter(Datapoint::Missing);
                self.latest = Latest::NoData(why.clone());
            }
            QueryAnswer::Mistaken { why } => {
                self.datapoints.clear();
                self.latest = Latest::Mistaken(why.clone());
            }
            QueryAnswer::Failed { why } if reading.failures >= self.unavailable_after => {
                self.give_up(format!("{} failures in a row, the last: {why}", reading.failures));
            }
            QueryAnswer::Failed { why } => self.latest = Latest::Failing(why.clone()),
        }
    }

    fn give_up(&mut self, why: String) {
        self.datapoints.clear();
        self.latest = Latest::Unavailable(why);
    }
}

/// How long nothing at all may come: the longest time from one reading to the next, with room for
/// a machine that is busy.
fn patience(period: Span, timeout: Span) -> Span {
    let attempts = Span::from_ms(timeout.ms().saturating_mul(4));
    Span::from_ms(period.ms().saturating_mul(2)).saturating_add(attempts).saturating_add(SLACK)
}

const SLACK: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_MS: u64 = 1_000;

    fn source(missing: MissingData, on_unavailable: OnUnavailable) -> AlarmSource {
        AlarmSource::Prometheus {
            server: "main".parse().expect("valid"),
            query: "up".parse().expect("valid"),
            timeout: Span::from_secs(1),
            bound: AlarmBound::Above(2.0),
            bad: 2,
            of: 3,
            period: Span::from_ms(PERIOD_MS),
            missing,
            unavailable_after: 3,
            on_unavailable,
        }
    }

    fn judge(missing: MissingData, on_unavailable: OnUnavailable) -> QueryJudge {
        QueryJudge::new(&source(missing, on_unavailable)).expect("an alarm on a query")
    }

    /// An answer by its letter: `g`ood, `b`ad, `n`one, `m`istaken, `f`ailed.
    fn answer(letter: char) -> QueryAnswer {
        let why = || "because".to_owned();
        match letter {
            'g' => QueryAnswer::Value(2.0),
            'b' => QueryAnswer::Value(2.1),
            'n' => QueryAnswer::NoData { why: why() },
            'm' => QueryAnswer::Mistaken { why: why() },
            _ => QueryAnswer::Failed { why: why() },
        }
    }

    /// Shows the judge one answer per period, several times each, and writes down the state after
    /// each: `O`, `A` or `I`.
    fn states(judge: &mut QueryJudge, letters: &str) -> String {
        judge.observe(MonoTime::from_ms(0), None);
        let (mut number, mut failures, mut now_ms) = (0, 0, 0);
        letters
            .chars()
            .map(|letter| {
                number += 1;
                failures = if letter == 'f' { failures + 1 } else { 0 };
                let reading = Reading { number, failures, answer: answer(letter) };
                for _ in 0..10 {
                    now_ms += PERIOD_MS / 10;
                    judge.observe(MonoTime::from_ms(now_ms), Some(&reading));
                }
                judge.state().as_str().chars().next().expect("a state has a word")
            })
            .collect()
    }

    #[test]
    fn two_bad_answers_of_three_are_an_alarm_and_no_number_is_never_ok() {
        let check = |missing: MissingData, letters: &str, expected: &str| {
            let seen = states(&mut judge(missing, OnUnavailable::Hold), letters);
            assert_eq!(seen, expected, "{letters} with {missing:?}");
        };
        check(MissingData::Insufficient, "gggbgb", "OOOOOA");
        check(MissingData::Insufficient, "bb", "OA");
        check(MissingData::Insufficient, "nn", "II");
        check(MissingData::Insufficient, "gnng", "OIIO");
        check(MissingData::Insufficient, "bbnn", "OAAI");
        check(MissingData::Bad, "gnn", "OOA");
        check(MissingData::Bad, "nn", "IA");
        check(MissingData::Ignore, "gnnn", "OOOO");
        check(MissingData::Ignore, "bnb", "OOA");
    }

    #[test]
    fn a_mistaken_query_says_nothing_whatever_was_before() {
        for missing in [MissingData::Insufficient, MissingData::Bad, MissingData::Ignore] {
            assert_eq!(states(&mut judge(missing, OnUnavailable::Rollback), "ggm"), "OOI");
            assert_eq!(states(&mut judge(missing, OnUnavailable::Rollback), "bbmmmmb"), "OAIIIIO");
        }
    }

    #[test]
    fn a_server_is_unavailable_after_so_many_failures_in_a_row() {
        let check = |on_unavailable: OnUnavailable, letters: &str, expected: &str| {
            let seen = states(&mut judge(MissingData::Insufficient, on_unavailable), letters);
            assert_eq!(seen, expected, "{letters} with {on_unavailable:?}");
        };
        check(OnUnavailable::Hold, "gffgff", "OOOOOO");
        check(OnUnavailable::Hold, "gfffg", "OOOIO");
        check(OnUnavailable::Hold, "bbfff", "OAAAI");
        check(OnUnavailable::Hold, "bfffb", "OOOIO");
        check(OnUnavailable::Hold, "ffff", "IIII");
        check(OnUnavailable::Ignore, "gfff", "OOOI");
        check(OnUnavailable::Rollback, "gfffg", "OOOAO");
        check(OnUnavailable::Rollback, "ff", "II");
    }

    #[test]
    fn rollouts_do_not_see_what_they_shall_ignore() {
        let mut ignoring = judge(MissingData::Insufficient, OnUnavailable::Ignore);
        states(&mut ignoring, "gfff");
        assert_eq!(ignoring.state(), AlarmState::InsufficientData);
        assert_eq!(ignoring.state_for_rollouts(), AlarmState::Ok);
        let mut holding = judge(MissingData::Insufficient, OnUnavailable::Hold);
        states(&mut holding, "gfff");
        assert_eq!(holding.state_for_rollouts(), AlarmState::InsufficientData);
        let mut without = judge(MissingData::Insufficient, OnUnavailable::Ignore);
        states(&mut without, "n");
        assert_eq!(without.state_for_rollouts(), AlarmState::InsufficientData);
    }

    #[test]
    fn silence_is_a_failure_too() {
        let mut judge = judge(MissingData::Insufficient, OnUnavailable::Hold);
        let reading = Reading { number: 1, failures: 0, answer: answer('g') };
        let at = MonoTime::from_ms;
        judge.observe(at(0), None);
        assert_eq!(judge.observe(at(1_000), Some(&reading)), AlarmState::Ok);
        assert_eq!(judge.observe(at(17_000), Some(&reading)), AlarmState::Ok);
        assert_eq!(judge.observe(at(17_001), Some(&reading)), AlarmState::InsufficientData);
        let why = judge.why().expect("a reason");
        assert_eq!(why, "unavailable: nothing was heard for more than 16s");
        let reading = Reading { number: 2, ..reading };
        assert_eq!(judge.observe(at(17_100), Some(&reading)), AlarmState::Ok);
    }

    #[test]
    fn what_was_answered_before_it_began_is_not_its_own() {
        let mut judge = judge(MissingData::Insufficient, OnUnavailable::Hold);
        assert_eq!(states(&mut judge, "bb"), "OA");
        judge.begin_anew();
        let reading = |number| Reading { number, failures: 0, answer: answer('b') };
        let at = MonoTime::from_ms;
        let old = judge.observe(at(2_100), Some(&reading(2)));
        assert_eq!((old, judge.has_judged()), (AlarmState::InsufficientData, false));
        assert_eq!(judge.observe(at(3_000), Some(&reading(3))), AlarmState::Ok);
        assert_eq!(judge.observe(at(4_000), Some(&reading(4))), AlarmState::Alarm);
    }

    #[test]
    fn it_has_judged_when_something_is_known() {
        let check = |letters: &str, judged: bool| {
            let mut judge = judge(MissingData::Insufficient, OnUnavailable::Hold);
            states(&mut judge, letters);
            assert_eq!(judge.has_judged(), judged, "{letters}");
        };
        for (letters, judged) in [("", false), ("g", true), ("n", true), ("m", true)] {
            check(letters, judged);
        }
        check("ff", false);
        check("fff", true);
    }

    #[test]
    fn it_says_why() {
        let check = |letters: &str, expected: &str| {
            let mut judge = judge(MissingData::Insufficient, OnUnavailable::Hold);
            states(&mut judge, letters);
            assert_eq!(judge.why().as_deref(), Some(expected), "{letters}");
        };
        check("g", "the last answer is 2");
        check("b", "the last answer is 2.1, above 2");
        check("n", "no number: because");
        check("m", "the query is mistaken: because");
        check("f", "the last query failed: because");
        check("fff", "unavailable: 3 failures in a row, the last: because");
    }

    #[test]
    fn other_alarms_have_no_such_judge() {
        assert!(QueryJudge::new(&AlarmSource::Pushed { expires_after: None }).is_none());
    }
}
