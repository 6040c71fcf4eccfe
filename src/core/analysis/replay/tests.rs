//! Runs that are recorded and run again, and logs that nobody wrote.

use proptest::prelude::*;

use crate::core::analysis::SplitCheck;
use crate::core::model::{AnalysisSpec, Side, Weight};

use super::*;

mod live;
mod staying;

use live::{Live, START};

fn read(head: &[u8]) -> Option<Head> {
    serde_json::from_slice(head).ok()
}

fn again(log: &[u8]) -> Rerun {
    rerun(log, read, None).expect("a log")
}

fn taken_back(found: &Rerun) -> Option<u64> {
    found.taken_back().map(|decision| decision.at_ms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_recorded_run_is_reproduced_exactly(
        seed: u64,
        hanging in 0.0..0.5_f64,
        parts in prop::collection::vec((1_u16..=10_000, 1_u64..40, 0_u64..60, 0.0..0.6), 1..6),
    ) {
        let mut live = Live::start(seed, Limit::default());
        live.hanging = hanging;
        for (bp, ticks, per_tick, failing) in parts {
            live.play(bp, ticks, per_tick, failing);
        }
        let found = live.require_reproduced();
        // Evidence and all: in one process there is not even a last digit between them.
        let evidence = |(found, live): (&Decision, &Recorded)| found.evidence == live.evidence;
        prop_assert!(found.decisions.iter().zip(&live.decided).all(evidence));
        prop_assert_eq!(found.highest, live.comparator.highest());
    }

    #[test]
    fn nothing_that_is_read_panics(bytes: Vec<u8>) {
        // As it is, as a frame's payload, and as records after a good head.
        let _ = rerun(&bytes, read, None);
        let _ = rerun(&frames::frame(&bytes), read, None);
        let mut live = Live::start(1, Limit::default());
        live.play(1_000, 3, 5, 0.5);
        live.log.extend(frames::frame(&bytes));
        let _ = rerun(&live.log, read, None);
        let _ = whole_frames(&bytes);
    }

    #[test]
    fn a_log_that_is_cut_off_is_read_up_to_there(at in 0.0..1.0_f64) {
        let mut live = Live::start(3, Limit::default());
        for _ in 0..5 {
            live.play(1_000, 5, 20, 0.3);
        }
        let end = (live.log.len() as f64 * at) as usize;
        match rerun(&live.log[..end], read, None) {
            Ok(found) => prop_assert!(live.decided.starts_with(&found.recorded)),
            Err(error) => prop_assert_eq!(error, ReplayError::Log(LogError::NoLog)),
        }
    }
}

#[test]
fn a_bad_green_is_taken_back_at_the_same_moment() {
    let mut live = Live::start(7, Limit::default());
    live.play(1_000, 20, 100, 0.01);
    live.play(1_000, 40, 100, 1.0);
    let found = live.require_reproduced();
    let at = taken_back(&found).expect("it is taken back");
    assert!((2_000..4_000).contains(&at), "{at}");
    assert!(found.crossed.is_some());
    assert_eq!(found.head, live.head);
}

#[test]
fn a_green_that_hangs_is_taken_back_at_the_same_moment_before_its_requests_end() {
    let mut live = Live::start(7, Limit::default());
    live.play(1_000, 20, 100, 0.01);
    live.hanging = 1.0;
    live.play(1_000, 40, 100, 0.0);
    let found = live.require_reproduced();
    let at = taken_back(&found).expect("it is taken back");
    assert!((2_300..6_000).contains(&at), "{at}");
    assert!(found.taken_back().is_some_and(|taken| taken.text.contains("lat_p")), "{found:?}");
}

#[test]
fn another_policy_decides_otherwise_by_the_same_evidence() {
    let mut live = Live::start(7, Limit::default());
    live.play(1_000, 300, 100, 0.013);
    let with = |compared| {
        rerun(&live.log, read, Some(&OtherPolicy { compared, slo: None })).expect("a log")
    };
    let own = live.require_reproduced();
    let same = with(AnalysisSpec::default());
    assert_eq!(taken_back(&same), taken_back(&own));
    let loose = Weight::from_bp(5_000).expect("half");
    let compared = AnalysisSpec { alpha: loose, ..AnalysisSpec::default() };
    let hasty = with(compared);
    assert!(hasty.decisions[0].needed < own.decisions[0].needed);
}

#[test]
fn a_restart_is_told_and_what_follows_is_reproduced() {
    let mut live = Live::start(5, Limit::default());
    live.play(1_000, 30, 50, 0.2);
    live.restart();
    live.play(1_000, 30, 50, 0.2);
    let found = again(&live.log);
    assert_eq!((found.restarts, found.inexact.gaps), (1, 0));
    assert_eq!(found.recorded, live.decided);
    assert_eq!(found.agreement(), Agreement::Exact, "{:?} {:?}", found.decisions, live.decided);
}

#[test]
fn another_policy_goes_on_after_a_crash_from_what_it_has_come_to() {
    let mut live = Live::start(5, Limit::default());
    live.play(1_000, 30, 20, 0.0);
    let saved = live.comparator.saved();
    live.play(1_000, 50, 20, 0.0);
    live.restart_from(saved);
    live.play(1_000, 40, 50, 1.0);
    let found = again(&live.log);
    assert_eq!(found.agreement(), Agreement::Exact, "{:?} {:?}", found.decisions, live.decided);
    let own = taken_back(&found).expect("all of green fails");
    let compared = AnalysisSpec::default();
    let other = OtherPolicy { compared, slo: found.head.terms.slo };
    let with = rerun(&live.log, read, Some(&other)).expect("a log");
    let with = taken_back(&with).expect("all of green fails");
    assert!(with.abs_diff(own) <= 500, "{with} {own}");
}

#[test]
fn burn_rates_that_page_are_reproduced_and_are_of_their_objective_alone() {
    let mut live = Live::start(21, Limit::default());
    live.play(1_000, 30, 20, 0.0);
    live.page([true, false]);
    live.page([true, true]);
    live.page([false, false]);
    live.play(10_000, 10, 20, 0.0);
    assert!(live.decided.iter().all(|decided| !decided.stance.takes_back()));
    // The rollout acts on it, and nothing is evaluated any more.
    live.page([true, false]);
    let found = live.require_reproduced();
    let taken = found.taken_back().expect("there is nobody to compare it with");
    assert_eq!(taken.at_ms, live.now.ms() - START);
    assert_eq!(taken.stance.says(), "roll back: green breaks its objective, alone");
    let freezes = found.decisions.iter().filter(|one| one.stance.says().starts_with("hold: "));
    let said: Vec<&str> = freezes.map(|one| one.stance.says()).collect();
    assert_eq!(said, ["hold: green breaks its objective", "hold: both break the objective"]);
    let with = |slo: Option<&str>| {
        let slo = slo.and_then(|slo| slo.parse().ok());
        let other = OtherPolicy { compared: AnalysisSpec::default(), slo };
        taken_back(&rerun(&live.log, read, Some(&other)).expect("a log"))
    };
    assert_eq!(with(Some("99.9%")), Some(taken.at_ms));
    assert_eq!((with(Some("99%")), with(None)), (None, None), "nobody watched these");
}

#[test]
fn what_a_person_accepted_begins_anew_in_both() {
    let mut live = Live::start(9, Limit::default());
    live.play(1_000, 50, 50, 0.01);
    live.comparator.rearm(Side::Green);
    live.comparator.rearm(Side::Blue);
    live.split = SplitCheck::default();
    live.recorder.accepted(live.now, true);
    live.play(1_000, 50, 50, 0.01);
    live.require_reproduced();
}

#[test]
fn a_run_over_the_bound_is_thinned_then_ends_and_says_so() {
    let limit = Limit { exact: 20_000, most: 40_000 };
    let mut live = Live::start(11, limit);
    let mut whole = Live::start(11, Limit::default());
    for _ in 0..60 {
        live.play(1_000, 50, 60, 0.02);
        whole.play(1_000, 50, 60, 0.02);
    }
    assert!(live.log.len() as u64 <= limit.most, "{}", live.log.len());
    assert!(whole.log.len() > live.log.len());
    let found = again(&live.log);
    let (thinned, full) = (found.inexact.thinned_ms, found.inexact.full_ms);
    assert!(thinned.is_some() && full > thinned, "{found:?}");
    assert!(found.inexact.is_approximate());
    whole.require_reproduced();
}

#[test]
fn thinned_evidence_comes_to_nearly_the_same() {
    let mut live = Live::start(13, Limit { exact: 5_000, most: 10 << 20 });
    live.play(1_000, 300, 60, 0.02);
    let found = again(&live.log);
    assert!(found.inexact.thinned_ms.is_some() && found.inexact.full_ms.is_none());
    let live_evidence = live.comparator.highest();
    assert!(found.highest <= 1.001 * live_evidence, "never more than was seen");
    live.play(1_000, 50, 60, 1.0);
    let found = again(&live.log);
    let decided = live.decided.iter().find(|decided| decided.stance.takes_back());
    let (found, decided) = (taken_back(&found), decided.map(|decided| decided.at_ms));
    let (found, decided) = (found.expect("taken back"), decided.expect("taken back"));
    assert!(found.abs_diff(decided) <= 1_000, "{found} {decided}");
}

#[test]
fn an_idle_rollout_takes_a_few_bytes_a_second() {
    let mut live = Live::start(1, Limit::default());
    live.play(1_000, 10, 10, 0.0);
    live.play(1_000, 50, 0, 0.0);
    let before = live.log.len();
    live.play(1_000, 100, 0, 0.0);
    let per_second = (live.log.len() - before) / 10;
    assert!(per_second <= 40, "{per_second}");
}

#[test]
fn a_log_of_another_format_or_none_is_told() {
    let error = |log: &[u8]| rerun(log, read, None).expect_err("no log");
    assert_eq!(error(b""), ReplayError::Log(LogError::NoLog));
    assert_eq!(error(b"evidence"), ReplayError::Log(LogError::NoLog));
    let later = frames::frame(&[0, 9]);
    let unknown = LogError::UnknownFormat { found: 9, supported: 1 };
    assert_eq!(error(&later), ReplayError::Log(unknown));
    let strange = frames::frame(&[0, 1, 0, 2, b'{', b'}']);
    assert_eq!(error(&strange), ReplayError::Head { at_ms: 0 });
}
