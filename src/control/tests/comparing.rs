//! Evidence: what the request path counts, and what becomes of the rollout.
//!
//! The request path is played: requests are counted into what the table carries, at a weight, and
//! settled at once.

use crate::core::analysis::comparison::{Counters, Settled};
use crate::core::analysis::verdict::Word;
use crate::core::model::Side;
use crate::core::rollout::{Cause, Hold};
use crate::store::Transaction;

use super::*;

pub(super) const OK: Settled =
    Settled { errors: false, client4xx: false, latency_us: Some(5_000), endpoint: None };
pub(super) const BAD: Settled =
    Settled { errors: true, client4xx: false, latency_us: None, endpoint: None };

/// The same service, judged by an objective.
fn with_slo() -> String {
    SHOP.replacen("strategy: quick", "strategy: quick, slo: 99.9%", 1)
}

impl Rig {
    /// `None` while nothing is compared.
    pub(super) fn counters(&self) -> Option<Arc<Counters>> {
        self.table.load().services[&name("shop")].comparison.clone()
    }

    /// Counts a request at a weight; whether it was counted.
    pub(super) fn counted(&self, side: Side, weight: &str, settled: Settled) -> bool {
        let Some(counters) = self.counters() else {
            return false;
        };
        let Some(ticket) = counters.arrive(side, percent(weight), None) else {
            return false;
        };
        counters.settle(ticket, settled, self.clock.now().mono);
        if side == Side::Green && settled.errors {
            self.handle.recorder.tell_green_failed();
        }
        true
    }

    /// Counts a request once the cohort of its weight is open.
    pub(super) async fn feed(&self, side: Side, weight: &str, settled: Settled) {
        self.until("the request is counted", |rig| rig.counted(side, weight, settled)).await;
    }

    pub(super) fn analysis(&self, id: &RolloutId) -> AnalysisView {
        self.rollout(id).analysis.clone().expect("it is compared")
    }
}

#[tokio::test]
async fn a_green_that_fails_everything_is_taken_back_by_the_evidence() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.feed(Side::Blue, "10%", OK).await;
    let mut failed = 0;
    while rig.green() > Weight::ZERO {
        assert!(failed < 40, "{:?}", rig.analysis(&id));
        if rig.counted(Side::Green, "10%", BAD) {
            failed += 1;
        }
        for _ in 0..9 {
            rig.counted(Side::Blue, "10%", OK);
        }
        // Longer than the least time between two evaluations.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    rig.until_over(&id, StateName::RolledBack).await;
    assert!(rig.counters().is_none(), "the table keeps nothing of it");
    let rollout = rig.rollout(&id);
    assert!(matches!(&rollout.cause, Some(Cause::Evidence { .. })), "{:?}", rollout.cause);
    let analysis = rig.analysis(&id);
    assert_eq!(analysis.verdict, Word::Fail);
    assert!(analysis.evidence >= analysis.needed && analysis.cohort.is_some());
    assert!(analysis.p_value <= 0.001, "{analysis:?}");
    rig.saved().await;
    let story = rig.story(&id).await;
    let place = |kind: &str| story.iter().position(|entry| entry == kind);
    assert!(place("evidence_crossed").is_some(), "{story:?}");
    assert!(place("evidence_crossed") < place("regression_found"), "{story:?}");
    assert!(place("requests_counted") < place("ended"), "{story:?}");
    assert!(place("requests_counted").is_some(), "{story:?}");
    // What is kept of it is there after a restart.
    let rig = rig.restart(SHOP).await;
    let kept = rig.analysis(&id);
    assert_eq!((kept.verdict, kept.cohort), (Word::Fail, analysis.cohort));
}

#[tokio::test]
async fn a_failure_is_evaluated_between_two_ticks() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.feed(Side::Blue, "10%", OK).await;
    let before = rig.analysis(&id).evidence;
    rig.feed(Side::Green, "10%", BAD).await;
    rig.until("it is evidence", |rig| rig.analysis(&id).evidence > before.max(1.0)).await;
}

#[tokio::test]
async fn a_gate_is_told_what_the_comparison_says() {
    let rig = Remains::none().start(&gated()).await;
    rig.shifting().await;
    let told = |rig: &Rig| rig.gates.evidence.lock().unwrap().get(&GateStage::DuringStep).cloned();
    rig.until("the gate is asked during the step", |rig| told(rig).is_some()).await;
    let evidence = told(&rig).flatten().expect("it is compared");
    assert!(["none", "insufficient"].contains(&evidence.verdict), "{evidence:?}");
    assert!(evidence.needed > evidence.evidence && !evidence.reason.is_empty(), "{evidence:?}");
    let names: Vec<_> = evidence.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["errors", "client4xx", "lat_p50", "lat_p90", "lat_p99"]);
}

#[tokio::test]
async fn a_shared_outage_holds_and_takes_nothing_back() {
    let rig = Remains::none().start(&with_slo()).await;
    let id = rig.shifting().await;
    rig.feed(Side::Blue, "10%", BAD).await;
    let held = |rig: &Rig| {
        rig.rollout(&id).holds.iter().any(|hold| {
            matches!(hold, Hold::Degraded { reason } if reason.contains("shared degradation"))
        })
    };
    rig.until("shared degradation is seen", |rig| {
        for _ in 0..9 {
            rig.counted(Side::Blue, "10%", BAD);
        }
        rig.counted(Side::Green, "10%", BAD);
        held(rig)
    })
    .await;
    assert_eq!((rig.green(), rig.rollout(&id).state), (percent("10%"), StateName::Shifting));
    // A person has dealt with it: it begins anew.
    let resume = Verb::Resume { override_regression: true };
    rig.tell(&id, resume).await.expect("there is something to override");
    rig.until("nothing holds it", |rig| !held(rig)).await;
    assert_eq!(rig.green(), percent("10%"));
}

#[tokio::test]
async fn evidence_survives_a_restart() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    for _ in 0..20 {
        rig.feed(Side::Blue, "10%", OK).await;
    }
    for _ in 0..2 {
        rig.feed(Side::Green, "10%", BAD).await;
    }
    // Two failures are worth some 12, one is worth some 2.
    rig.until("both are evidence", |rig| rig.analysis(&id).evidence > 5.0).await;
    let evidence = rig.analysis(&id).evidence;
    // It is saved every few seconds, and with everything that is recorded.
    rig.tell(&id, Verb::Pause).await.expect("paused");
    let rig = rig.restart(SHOP).await;
    let restored = rig.analysis(&id).evidence;
    assert!((restored / evidence - 1.0).abs() < 1e-9, "{restored} {evidence}");
    // And it goes on: new requests are counted.
    rig.feed(Side::Green, "10%", OK).await;
}

#[tokio::test]
async fn another_weight_is_another_cohort() {
    let config = SHOP.replacen(
        "{ weight: 10%, bake: 1h }, { weight: 50%, bake: 1h }",
        "{ weight: 10%, bake: 600ms }, { weight: 50%, bake: 1h }",
        1,
    );
    let rig = Remains::none().start(&config).await;
    let id = rig.shifting().await;
    rig.feed(Side::Green, "10%", OK).await;
    assert!(!rig.counted(Side::Green, "50%", OK), "no request is drawn at this weight yet");
    rig.until("green has 50%", |rig| rig.green() == percent("50%")).await;
    rig.feed(Side::Green, "50%", OK).await;
    assert!(!rig.counted(Side::Green, "10%", BAD), "it is of the table before");
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);
}

#[tokio::test]
async fn each_attempt_at_a_revision_needs_more_evidence() {
    let rig = Rig::new().await;
    let mut needed = Vec::new();
    for _ in 0..2 {
        let start = StartRollout { revision: name("again"), ..rig.start("slow") };
        let start = Command::StartRollout(Box::new(start));
        let id = id_of(rig.send(start).await.expect("started"));
        needed.push((rig.analysis(&id).attempt, rig.analysis(&id).needed));
        rig.tell(&id, Verb::Abort).await.expect("aborted");
        rig.until("the slot is free", |rig| rig.shop().active.is_none()).await;
    }
    let id = rig.started("slow").await;
    needed.push((rig.analysis(&id).attempt, rig.analysis(&id).needed));
    let [(1, first), (2, second), (1, other)] = needed[..] else { panic!("{needed:?}") };
    assert!((second / first - 4.0).abs() < 1e-9 && (other - first).abs() < 1e-9, "{needed:?}");
}

#[tokio::test]
async fn attempts_are_remembered_when_the_history_has_forgotten_them() {
    let rig = Rig::new().await;
    let mut rig = Some(rig);
    let attempt = async |rig: &Rig| {
        let start = StartRollout { revision: name("again"), ..rig.start("slow") };
        let start = Command::StartRollout(Box::new(start));
        let id = id_of(rig.send(start).await.expect("started"));
        let attempt = rig.analysis(&id).attempt;
        rig.tell(&id, Verb::Abort).await.expect("aborted");
        rig.until("the slot is free", |rig| rig.shop().active.is_none()).await;
        attempt
    };
    for expected in 1..=3 {
        let running = rig.take().expect("it runs");
        assert_eq!(attempt(&running).await, expected);
        running.saved().await;
        // Every rollout leaves the history, as it does when it is old.
        let records = running.store.inner().load().await.unwrap().records;
        let rollouts = records.into_iter().filter(|record| record.key.kind() == "rollout");
        let deletes = rollouts.map(|record| record.key).collect();
        let transaction = Transaction { deletes, ..Transaction::default() };
        running.store.inner().commit(transaction).await.unwrap();
        let restarted = running.restart(SHOP).await;
        assert!(restarted.handle.view().rollouts.is_empty());
        rig = Some(restarted);
    }
}

#[tokio::test]
async fn attempts_that_an_earlier_release_did_not_count_are_taken_from_the_history() {
    let rig = Rig::new().await;
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Succeeded).await;
    let revision = rig.rollout(&id).revision.clone().expect("it has one");
    rig.saved().await;
    let key = "attempts/shop".parse().unwrap();
    let transaction = Transaction { deletes: vec![key], ..Transaction::default() };
    rig.store.inner().commit(transaction).await.unwrap();
    let rig = rig.restart(SHOP).await;
    let start = StartRollout { revision, ..rig.start("slow") };
    let start = Command::StartRollout(Box::new(start));
    let id = id_of(rig.send(start).await.expect("started"));
    assert_eq!(rig.analysis(&id).attempt, 2);
}

#[tokio::test]
async fn a_split_that_is_not_what_the_weight_says_holds() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let held = |rig: &Rig| {
        rig.rollout(&id).holds.iter().any(|hold| matches!(hold, Hold::SampleRatio { .. }))
    };
    rig.until("the split is found wrong", |rig| {
        for _ in 0..20 {
            rig.counted(Side::Green, "10%", OK);
        }
        held(rig)
    })
    .await;
    assert_eq!(rig.green(), percent("10%"));
    rig.saved().await;
    assert!(rig.story(&id).await.contains(&"hold_began".to_owned()));
}

#[tokio::test]
async fn what_is_switched_off_compares_nothing() {
    let config = SHOP.replacen("strategy: quick", "strategy: quick, analysis: off", 1);
    let rig = Remains::none().start(&config).await;
    let id = rig.shifting().await;
    assert!(rig.table.load().services[&name("shop")].comparison.is_none());
    assert!(rig.rollout(&id).analysis.is_none());
}

#[tokio::test]
async fn with_all_the_traffic_there_is_no_comparison_and_it_says_why() {
    let rig = Rig::new().await;
    let id = rig.started("baked").await;
    rig.until("green has everything", |rig| rig.green() == Weight::FULL).await;
    let none = |rig: &Rig| rig.analysis(&id).text.contains("green has all the traffic");
    rig.until("it says so", none).await;
    let analysis = rig.analysis(&id);
    assert_eq!(analysis.verdict, Word::None);
    assert!(analysis.text.contains("without an `slo`"), "{}", analysis.text);
}
