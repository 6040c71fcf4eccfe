//! The judge of an alarm on own numbers: m of n datapoints.
//!
//! Time is cut into datapoints of one period, counted from the first observation. A datapoint is
//! judged when it is over, never before: good, bad, or missing if there was nothing to measure.
//! Then, over the last `of` datapoints:
//!
//! | in view | state |
//! |---|---|
//! | at least `bad` bad ones, even if fewer than `of` are in view | ALARM |
//! | else at least one with data | OK |
//! | else | INSUFFICIENT_DATA |
//!
//! No traffic is never OK: a datapoint without requests is missing for every metric, for requests
//! per second too. Missing datapoints count as neither (`insufficient`), as bad ones (`bad`), or
//! are left out, so that older ones stay in view (`ignore`).
//!
//! When several periods pass between two observations, what was counted in the gap is judged as the
//! first of them, and the others are missing: nobody watched. Counts that go down come from another
//! meter or another life of the proxy and say nothing about what was before: the judge starts anew.

use crate::core::model::{AlarmBound, AlarmSource, AlarmState, MonoTime, OwnMetric, Span};

use super::Counts;
use super::datapoints::{Datapoint, Datapoints};

/// Judges one alarm on own numbers; fed with the cumulative counts of the alarm's side.
#[derive(Clone, Debug)]
pub struct AlarmJudge {
    metric: OwnMetric,
    bound: AlarmBound,
    period: Span,
    current: Option<Current>,
    datapoints: Datapoints,
    /// Whether a first datapoint is over, be it a missing one.
    judged: bool,
}

/// The datapoint that is not over.
#[derive(Clone, Debug)]
struct Current {
    /// When it began by the calendar of periods.
    from: MonoTime,
    /// When the counts were read that it starts from; at or after `from`.
    counted_from: MonoTime,
    first: Counts,
    latest: Counts,
}

impl AlarmJudge {
    /// A judge without datapoints; `None` if the alarm's state comes from elsewhere.
    #[must_use]
    pub fn new(source: &AlarmSource) -> Option<Self> {
        match source {
            AlarmSource::Own { metric, side: _, bound, bad, of, period, missing } => Some(Self {
                metric: *metric,
                bound: *bound,
                period: (*period).max(Span::from_ms(1)),
                current: None,
                datapoints: Datapoints::new(*bad, *of, *missing),
                judged: false,
            }),
            AlarmSource::Pushed { .. }
            | AlarmSource::Prometheus { .. }
            | AlarmSource::Alertmanager { .. } => None,
        }
    }

    /// Takes the counts of the alarm's side up to now, and says what the alarm's state is.
    pub fn observe(&mut self, now: MonoTime, counts: &Counts) -> AlarmState {
        let current = match self.current.take() {
            Some(current) if counts.continues(&current.latest) => {
                self.advance(current, now, counts)
            }
            Some(_) | None => {
                self.datapoints.clear();
                Current::new(now, now, counts)
            }
        };
        self.current = Some(current);
        self.state()
    }

    /// The state as of the last observation.
    #[must_use]
    pub fn state(&self) -> AlarmState {
        self.datapoints.state()
    }

    /// Whether the alarm was evaluated once: a first datapoint is over, with or without data.
    #[must_use]
    pub fn has_judged(&self) -> bool {
        self.judged
    }

    fn advance(&mut self, mut current: Current, now: MonoTime, counts: &Counts) -> Current {
        let over = now.since(current.from).ms() / self.period.ms();
        if over == 0 {
            current.latest.clone_from(counts);
            return current;
        }
        self.judged = true;
        let window = counts.since(&current.first);
        self.datapoints.enter(self.judge(&window, now.since(current.counted_from)));
        self.datapoints.enter_missing(over - 1);
        let from = current.from.plus(Span::from_ms(over * self.period.ms()));
        Current::new(from, now, counts)
    }

    fn judge(&self, window: &Counts, length: Span) -> Datapoint {
        let value = match self.metric {
            OwnMetric::ErrorRate => window.error_rate_percent(),
            OwnMetric::ClientErrorRate => window.client_error_rate_percent(),
            OwnMetric::LatencyP50 => window.latency_ms(0.5),
            OwnMetric::LatencyP90 => window.latency_ms(0.9),
            OwnMetric::LatencyP99 => window.latency_ms(0.99),
            OwnMetric::RequestsPerSecond => match window.requests() {
                0 => None,
                requests => Some(1_000.0 * requests as f64 / length.ms() as f64),
            },
        };
        Datapoint::of(value, self.bound)
    }
}

impl Current {
    fn new(from: MonoTime, counted_from: MonoTime, counts: &Counts) -> Self {
        Self { from, counted_from, first: counts.clone(), latest: counts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::bucket_of;
    use crate::core::model::{MissingData, Side};

    const PERIOD_MS: u64 = 10_000;

    fn source(metric: OwnMetric, bound: AlarmBound, missing: MissingData) -> AlarmSource {
        let period = Span::from_ms(PERIOD_MS);
        AlarmSource::Own { metric, side: Side::Green, bound, bad: 2, of: 3, period, missing }
    }

    fn error_judge(missing: MissingData) -> AlarmJudge {
        let source = source(OwnMetric::ErrorRate, AlarmBound::Above(2.0), missing);
        AlarmJudge::new(&source).expect("an alarm on own numbers")
    }

    #[test]
    fn it_has_judged_when_a_first_datapoint_is_over_even_without_data() {
        for missing in [MissingData::Insufficient, MissingData::Bad, MissingData::Ignore] {
            let mut judge = error_judge(missing);
            for (ms, judged) in [(0, false), (PERIOD_MS - 1, false), (PERIOD_MS, true)] {
                judge.observe(MonoTime::from_ms(ms), &Counts::default());
                assert_eq!(judge.has_judged(), judged, "{missing:?} at {ms}");
            }
        }
    }

    /// Counts that grow by what the letters say.
    #[derive(Default)]
    struct Traffic(Counts);

    impl Traffic {
        /// `g`: 100 good requests, `b`: 10 failed of 100, anything else: none.
        fn add(&mut self, letter: char) -> &Counts {
            let failed = match letter {
                'g' => 0,
                'b' => 10,
                _ => return &self.0,
            };
            self.0.by_class[1] += 100 - failed;
            self.0.by_class[4] += failed;
            &self.0
        }
    }

    /// Feeds one letter per period, looks every second, and writes down the state at the end of
    /// each period: `O`, `A` or `I`.
    fn states(judge: &mut AlarmJudge, letters: &str) -> String {
        let mut traffic = Traffic::default();
        judge.observe(MonoTime::from_ms(0), &traffic.0);
        let mut now_ms = 0;
        letters
            .chars()
            .map(|letter| {
                traffic.add(letter);
                let mut state = judge.state();
                for _ in 0..10 {
                    now_ms += PERIOD_MS / 10;
                    state = judge.observe(MonoTime::from_ms(now_ms), &traffic.0);
                }
                state.as_str().chars().next().expect("a state has a word")
            })
            .collect()
    }

    #[test]
    fn two_bad_datapoints_of_three_are_an_alarm() {
        let check = |missing: MissingData, letters: &str, expected: &str| {
            let seen = states(&mut error_judge(missing), letters);
            assert_eq!(seen, expected, "{letters} with {missing:?}");
        };
        check(MissingData::Insufficient, "ggg", "OOO");
        check(MissingData::Insufficient, "bb", "OA");
        check(MissingData::Insufficient, "bgbgg", "OOAOO");
        check(MissingData::Insufficient, "bggb", "OOOO");
        check(MissingData::Insufficient, "...", "III");
        check(MissingData::Insufficient, "g...g", "OOOIO");
        check(MissingData::Insufficient, "bb..", "OAAO");
        check(MissingData::Insufficient, "bb...", "OAAOI");
        check(MissingData::Insufficient, "b.b", "OOA");
        check(MissingData::Bad, ".", "I");
        check(MissingData::Bad, "..g", "IAA");
        check(MissingData::Bad, "ggg..", "OOOOA");
        check(MissingData::Bad, "b.", "OA");
        check(MissingData::Ignore, "..", "II");
        check(MissingData::Ignore, "b..b..gg", "OOOAAAAO");
        check(MissingData::Ignore, "g.....", "OOOOOO");
    }

    #[test]
    fn the_datapoint_that_is_not_over_is_not_judged() {
        let mut judge = error_judge(MissingData::Insufficient);
        let mut traffic = Traffic::default();
        judge.observe(MonoTime::from_ms(500), &traffic.0);
        traffic.add('g');
        let just_before = MonoTime::from_ms(500 + PERIOD_MS - 1);
        assert_eq!(judge.observe(just_before, &traffic.0), AlarmState::InsufficientData);
        let over = MonoTime::from_ms(500 + PERIOD_MS);
        assert_eq!(judge.observe(over, &traffic.0), AlarmState::Ok);
    }

    #[test]
    fn periods_that_nobody_watched_are_missing() {
        let check = |missing: MissingData, periods: u64, expected: AlarmState| {
            let mut judge = error_judge(missing);
            let mut traffic = Traffic::default();
            judge.observe(MonoTime::from_ms(0), &traffic.0);
            traffic.add('g');
            let after = MonoTime::from_ms(periods * PERIOD_MS);
            assert_eq!(judge.observe(after, &traffic.0), expected, "{missing:?}, {periods}");
        };
        check(MissingData::Insufficient, 3, AlarmState::Ok);
        check(MissingData::Insufficient, 4, AlarmState::InsufficientData);
        check(MissingData::Insufficient, 1_000_000_000_000, AlarmState::InsufficientData);
        check(MissingData::Bad, 2, AlarmState::Ok);
        check(MissingData::Bad, 3, AlarmState::Alarm);
        check(MissingData::Ignore, 1_000, AlarmState::Ok);
    }

    #[test]
    fn counts_that_go_down_start_anew() {
        let mut judge = error_judge(MissingData::Insufficient);
        assert_eq!(states(&mut judge, "bb"), "OA");
        let mut fresh = Traffic::default();
        let at = |periods: u64| MonoTime::from_ms(2 * PERIOD_MS + periods * PERIOD_MS);
        assert_eq!(judge.observe(at(0), fresh.add('b')), AlarmState::InsufficientData);
        assert_eq!(judge.observe(at(1), &fresh.0), AlarmState::InsufficientData);
        assert_eq!(judge.observe(at(2), fresh.add('g')), AlarmState::Ok);
    }

    #[test]
    fn a_reset_inside_a_datapoint_is_seen_even_if_the_counts_outgrow_its_start() {
        let mut judge = error_judge(MissingData::Insufficient);
        let mut old = Traffic::default();
        judge.observe(MonoTime::from_ms(0), &old.0);
        judge.observe(MonoTime::from_ms(1_000), old.add('g'));
        let mut fresh = Traffic::default();
        judge.observe(MonoTime::from_ms(2_000), &fresh.0);
        let state = judge.observe(MonoTime::from_ms(10_000), fresh.add('b'));
        assert_eq!(state, AlarmState::InsufficientData);
        assert_eq!(judge.observe(MonoTime::from_ms(12_000), &fresh.0), AlarmState::Ok);
    }

    #[test]
    fn every_metric_is_held_against_its_bound() {
        let mut counts = Counts { by_class: [0, 90, 0, 6, 4], ..Counts::default() };
        counts.latency[bucket_of(1_000)] = 80;
        counts.latency[bucket_of(20_000)] = 18;
        counts.latency[bucket_of(300_000)] = 2;
        let check = |metric: OwnMetric, below_it: f64, above_it: f64| {
            let judged = |bound: AlarmBound| {
                let source = source(metric, bound, MissingData::Insufficient);
                let mut judge = AlarmJudge::new(&source).expect("an alarm on own numbers");
                judge.observe(MonoTime::from_ms(0), &Counts::default());
                judge.observe(MonoTime::from_ms(PERIOD_MS), &counts);
                judge.observe(MonoTime::from_ms(2 * PERIOD_MS), &counts.merge(&counts))
            };
            assert_eq!(judged(AlarmBound::Above(below_it)), AlarmState::Alarm, "{metric:?}");
            assert_eq!(judged(AlarmBound::Above(above_it)), AlarmState::Ok, "{metric:?}");
            assert_eq!(judged(AlarmBound::Below(below_it)), AlarmState::Ok, "{metric:?}");
            assert_eq!(judged(AlarmBound::Below(above_it)), AlarmState::Alarm, "{metric:?}");
        };
        check(OwnMetric::ErrorRate, 3.9, 4.1);
        check(OwnMetric::ClientErrorRate, 5.9, 6.1);
        check(OwnMetric::LatencyP50, 0.99, 1.2);
        check(OwnMetric::LatencyP90, 19.0, 23.0);
        check(OwnMetric::LatencyP99, 299.0, 340.0);
        check(OwnMetric::RequestsPerSecond, 9.9, 10.1);
    }

    #[test]
    fn no_requests_are_missing_for_requests_per_second_too() {
        let source =
            source(OwnMetric::RequestsPerSecond, AlarmBound::Below(5.0), MissingData::Insufficient);
        let mut judge = AlarmJudge::new(&source).expect("an alarm on own numbers");
        assert_eq!(states(&mut judge, "...g"), "IIIO");
    }

    #[test]
    fn a_pushed_alarm_has_no_judge() {
        assert!(AlarmJudge::new(&AlarmSource::Pushed { expires_after: None }).is_none());
    }
}
