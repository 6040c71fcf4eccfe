//! The evidence that is kept of a rollout, run again, comes to what the writer came to, whatever had
//! its say besides the bets.

use super::burns::with_objective;
use super::remains::EVIDENCE;
use super::sticky::sticky;
use super::suspects::{THREE, USUAL, with_targets};
use super::warming::starting_slowly;
use super::*;
use crate::core::analysis::Staying;
use crate::core::analysis::comparison::Metric;
use crate::core::analysis::replay::{Agreement, Entry, Happened, Reader, Rerun, rerun};
use crate::core::model::Side;
use crate::core::rollout::Hold;
use crate::store::EvidenceFolder;

/// A process that keeps evidence.
pub(super) async fn keeping(config: &str) -> Rig {
    let remains = Remains::none();
    std::fs::create_dir(remains.folder.path().join(EVIDENCE)).unwrap();
    remains.start(config).await
}

impl Rig {
    /// What is written of a rollout's evidence; empty while there is nothing.
    fn log(&self, id: &RolloutId) -> Vec<u8> {
        let folder = EvidenceFolder::new(self.folder.path().join(EVIDENCE));
        folder.read(id).unwrap().unwrap_or_default()
    }

    /// The same run again; `None` while there is nothing.
    fn replayed(&self, id: &RolloutId) -> Option<Rerun> {
        rerun(&self.log(id), |head| serde_json::from_slice(head).ok(), None).ok()
    }

    /// Waits until what is written tells of something, and requires that all of it is reproduced.
    pub(super) async fn reproduced(
        &self,
        id: &RolloutId,
        what: &str,
        tells: impl Fn(&Rerun) -> bool,
    ) -> Rerun {
        let condition = |rig: &Self| rig.replayed(id).is_some_and(|found| tells(&found));
        self.until(what, condition).await;
        let found = self.replayed(id).expect("it was there");
        assert_eq!(found.agreement(), Agreement::Exact, "{found:?}");
        assert!(!found.inexact.is_approximate(), "{found:?}");
        found
    }
}

#[tokio::test]
async fn a_rollback_for_a_burn_rate_is_reproduced() {
    let rig = keeping(&with_objective()).await;
    let id = rig.started("baked").await;
    rig.until("green has everything", |rig| rig.green() == Weight::FULL).await;
    rig.until("it is taken back", |rig| {
        rig.answered(Side::Green, 1, 1);
        rig.green() == Weight::ZERO
    })
    .await;
    rig.until_over(&id, StateName::RolledBack).await;
    let taken_back = |found: &Rerun| found.taken_back().is_some();
    let found = rig.reproduced(&id, "the rollback is written", taken_back).await;
    let says = found.taken_back().map(|decision| decision.stance.says());
    assert_eq!(says, Some("roll back: green breaks its objective, alone"));
}

#[tokio::test]
async fn a_hold_for_a_burn_rate_and_its_end_are_reproduced() {
    let rig = keeping(&with_objective()).await;
    let id = rig.shifting().await;
    let held = |found: &Rerun| {
        let last = found.decisions.last();
        last.is_some_and(|last| last.stance.says() == "hold: green breaks its objective")
    };
    rig.until("the hold is written", |rig| {
        rig.answered(Side::Green, 1, 1);
        rig.replayed(&id).is_some_and(|found| held(&found))
    })
    .await;
    rig.reproduced(&id, "the hold is written", held).await;
    let resume = Verb::Resume { override_regression: true };
    rig.tell(&id, resume).await.expect("there is something to override");
    rig.reproduced(&id, "its end is written", |found| !held(found)).await;
}

#[tokio::test]
async fn evidence_that_rests_on_one_target_is_reproduced() {
    let rig = keeping(&with_targets(&THREE, USUAL)).await;
    let id = rig.shifting().await;
    let bad = rig.of_green(1);
    rig.fail_on(&[1], "the bad one is ejected", |_| bad.is_ejected()).await;
    let rests = |found: &Rerun| found.decisions.iter().any(|one| one.stance.one_target);
    let found = rig.reproduced(&id, "the suspicion is written", rests).await;
    assert_eq!((found.taken_back(), found.crossed), (None, None));
    // The version is bad after all.
    rig.fail_on(&[0, 2], "it is taken back", |rig| rig.green() == Weight::ZERO).await;
    rig.until_over(&id, StateName::RolledBack).await;
    let taken_back = |found: &Rerun| found.taken_back().is_some();
    let found = rig.reproduced(&id, "the rollback is written", taken_back).await;
    assert_eq!(found.crossed, rig.analysis(&id).cohort);
}

#[tokio::test]
async fn a_hold_for_a_suspect_that_may_not_be_ejected_and_its_end_are_reproduced() {
    let keys = "outlier_ejection: off, analysis: { leave_one_out: 2 }";
    let rig = keeping(&with_targets(&THREE[..2], keys)).await;
    let id = rig.shifting().await;
    let held = |rig: &Rig| {
        rig.rollout(&id).holds.iter().any(
            |hold| matches!(hold, Hold::Degraded { reason } if reason.contains("is not ejected")),
        )
    };
    rig.fail_on(&[0], "the weight is held", held).await;
    let holds = |found: &Rerun| found.decisions.last().is_some_and(|last| last.stance.stays);
    let found = rig.reproduced(&id, "the hold is written", holds).await;
    let suspected = found.decisions.iter().find(|one| one.stance.one_target);
    let (suspected, hold) = (suspected.expect("before that"), found.decisions.last());
    let hold = hold.expect("it is the last one");
    assert!(hold.at_ms >= suspected.at_ms + Staying::PATIENCE.ms(), "{found:?}");
    assert!(hold.stance.holds() && !suspected.stance.holds(), "{found:?}");
    assert_eq!(hold.stance.says(), "hold: the evidence rests on one target, which is not ejected");
    let resume = Verb::Resume { override_regression: true };
    rig.tell(&id, resume).await.expect("there is something to override");
    rig.until("nothing holds it", |rig| !held(rig)).await;
    let goes_on = |found: &Rerun| !holds(found);
    let found = rig.reproduced(&id, "its end is written", goes_on).await;
    assert_eq!((found.taken_back(), found.crossed), (None, None));
}

#[tokio::test]
async fn latencies_that_rest_are_in_the_evidence_as_resting() {
    let rig = keeping(&starting_slowly("1h")).await;
    let live = Arc::clone(&rig.table.load().services[&name("shop")].live);
    (0..2_000).for_each(|_| live.latencies.record(50_000));
    let id = rig.shifting().await;
    // Whether they rest in the last cohort that is written; `None` before the first.
    let rest = |log: &[u8]| {
        let opened = Reader::new(log).filter_map(|entry| match entry {
            Ok(Entry { happened: Happened::Opened(cohort), .. }) => Some(cohort.dormant),
            Ok(_) | Err(_) => None,
        });
        let last = opened.last()?;
        Some(Metric::LATENCIES.iter().all(|metric| last.contains(*metric)))
    };
    rig.until("they rest", |rig| rest(&rig.log(&id)) == Some(true)).await;
    rig.reload(&starting_slowly("1ms")).await.expect("reloaded");
    rig.until("they do not any more", |rig| rest(&rig.log(&id)) == Some(false)).await;
    rig.reproduced(&id, "it is reproduced", |found| found.evaluations > 0).await;
}

#[tokio::test]
async fn users_of_an_earlier_process_are_reproduced_and_are_not_in_the_log() {
    let rig = keeping(&sticky()).await;
    let id = rig.shifting().await;
    rig.failed_for(&[1, 2, 1, 2]).await;
    rig.until("both are evidence", |rig| rig.bad(&id) == 2).await;
    rig.tell(&id, Verb::Pause).await.expect("paused");
    let rig = rig.restart(&sticky()).await;
    rig.failed_for(&[1, 2, 3]).await;
    rig.until("the new one is evidence", |rig| rig.bad(&id) == 3).await;
    let evidence = rig.analysis(&id).evidence;
    let knows = |found: &Rerun| (found.highest / evidence - 1.0).abs() < 1e-9;
    let found = rig.reproduced(&id, "the new one is written", knows).await;
    assert_eq!(found.restarts, 1);
    let told = String::from_utf8_lossy(&rig.log(&id)).into_owned();
    assert!(told.contains("folded") && !told.contains("\"met\""), "who was counted tells nothing");
}
