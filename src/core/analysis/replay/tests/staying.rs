//! A target on which all the evidence rests, and which is not ejected.

use super::live::{head, written};
use super::*;
use crate::core::analysis::replay::recorder::Kind;
use crate::core::model::{Now, WallTime};

impl Live {
    /// The suspect may not be ejected, or is out, as is found after an evaluation.
    fn stay(&mut self, stays: bool) {
        self.evaluate();
        if stays {
            self.staying.begin(self.now);
        } else {
            self.staying.end();
        }
        let looked = self.look();
        self.recorder.stays(self.now, self.staying, Some(looked));
        self.log.extend(self.recorder.take());
    }

    /// Has the log begin as earlier releases began it: without a word on targets that stay in.
    fn tell_nothing_of_targets(&mut self) {
        let begun = self.recorder.take();
        let payload = frames::Frames::new(&begun).next().expect("a frame");
        let (head, told) = payload.split_at(payload.len() - 3);
        assert_eq!(told, [Kind::Stays as u8, 0, 0]);
        self.log = frames::frame(head);
    }
}

/// When a suspect that stays in begins to hold the weight, and when it does not any more.
fn holds(found: &Rerun) -> Vec<(u64, bool)> {
    let mut holds: Vec<(u64, bool)> = Vec::new();
    for decision in &found.decisions {
        if decision.stance.stays != holds.last().is_some_and(|last| last.1) {
            holds.push((decision.at_ms, decision.stance.stays));
        }
    }
    holds
}

/// What a log tells of targets that stay in: since when one does.
fn told(log: &[u8]) -> Vec<Option<u64>> {
    let mut told = Vec::new();
    for entry in Reader::new(log) {
        if let Happened::Stays { since_ms, .. } = entry.expect("it is whole").happened {
            told.push(since_ms);
        }
    }
    told
}

/// A green of which one target fails everything, so that all the evidence rests on it.
fn blaming_one_target() -> Live {
    let mut live = Live::start(17, Limit::default());
    live.blamed = Some(1);
    live.tell_nothing_of_targets();
    live
}

#[test]
fn a_suspect_that_stays_in_holds_at_the_same_moments() {
    let mut live = Live::start(17, Limit::default());
    live.blamed = Some(1);
    live.play(1_000, 30, 50, 1.0);
    assert!(live.one_target && live.comparator.crossed().is_none());
    live.stay(true);
    let begun = live.now.ms() - START;
    live.play(1_000, 50, 50, 1.0);
    live.stay(false);
    let ended = live.now.ms() - START;
    live.play(1_000, 50, 50, 1.0);
    live.stay(true);
    live.play(1_000, 50, 50, 1.0);
    // A person takes it upon themselves, and it is one decision for the rest of the rollout.
    live.staying.accept();
    live.recorder.accepted(live.now, false);
    live.split = SplitCheck::default();
    live.play(1_000, 10, 50, 1.0);
    live.stay(false);
    live.stay(true);
    live.play(1_000, 50, 50, 1.0);
    let found = live.require_reproduced();
    let holds = holds(&found);
    assert_eq!(holds.iter().map(|hold| hold.1).collect::<Vec<_>>(), [true, false, true, false]);
    assert!((begun + 3_000..begun + 3_200).contains(&holds[0].0), "{begun} {holds:?}");
    assert_eq!(holds[1].0, ended, "at once, and not with the next evaluation");
    assert_eq!((taken_back(&found), found.crossed), (None, None));
}

#[test]
fn after_a_gap_it_is_told_since_when_a_suspect_stays_in() {
    let mut live = Live::start(17, Limit::default());
    live.blamed = Some(1);
    live.play(1_000, 30, 50, 1.0);
    live.stay(true);
    let begun = live.now.ms() - START;
    live.play(1_000, 10, 50, 1.0);
    // Records are lost, and the log goes on from what the comparison has come to.
    let saved = live.comparator.saved();
    let now = Now { wall: WallTime::from_ms(77 + live.now.ms() - START), mono: live.now };
    live.recorder.begin(now, &written(&head(Cause::Gap, Some(saved))));
    live.recorder.stays(live.now, live.staying, None);
    let log = live.recorder.take();
    assert_eq!(told(&log), [None, Some(0)], "it is told anew, and is from before");
    live.log.extend(log);
    assert_eq!(told(&live.log), [None, Some(begun), None, Some(begun)], "since when it was");
}

#[test]
fn a_log_that_tells_nothing_of_targets_that_stay_in_is_read_and_says_so() {
    let mut live = blaming_one_target();
    live.play(1_000, 30, 50, 0.0);
    live.require_reproduced();
    live.play(1_000, 30, 50, 1.0);
    assert!(live.one_target);
    let found = again(&live.log);
    assert_eq!((found.agreement(), &found.recorded), (Agreement::Exact, &live.decided));
    let suspected = found.decisions.iter().find(|decision| decision.stance.one_target);
    assert_eq!(found.inexact.untold_ms, suspected.map(|decision| decision.at_ms));
    assert!(found.inexact.untold_ms.is_some() && found.inexact.is_approximate());
    // Another process of this release goes on with it: what it adds is known.
    let mut live = blaming_one_target();
    live.play(1_000, 30, 50, 0.0);
    live.restart();
    live.play(1_000, 30, 50, 1.0);
    live.stay(true);
    live.play(1_000, 50, 50, 1.0);
    let found = live.require_reproduced();
    assert_eq!(holds(&found).len(), 1);
}

#[test]
fn by_another_policy_a_target_that_stays_in_holds_while_it_is_suspected() {
    let mut live = Live::start(17, Limit::default());
    live.blamed = Some(1);
    live.play(1_000, 30, 50, 1.0);
    live.stay(true);
    live.play(1_000, 50, 50, 1.0);
    let with = |leave_one_out| {
        let compared = AnalysisSpec { leave_one_out, ..AnalysisSpec::default() };
        let slo = "99.9%".parse().ok();
        rerun(&live.log, read, Some(&OtherPolicy { compared, slo })).expect("a log")
    };
    let usual = live.head.terms.compared.expect("it is compared").leave_one_out;
    assert_eq!(holds(&with(usual)), holds(&live.require_reproduced()));
    let never = with(None);
    assert!(holds(&never).is_empty() && taken_back(&never).is_some());
}
