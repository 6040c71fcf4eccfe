//! The next life.

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::core::model::Split;
use crate::core::rollout::{Cause, GateState as _, Hold};
use crate::telemetry::{Outcome, OutcomeKind};

#[tokio::test]
async fn a_rollout_goes_on_after_a_restart_in_every_state() {
    let parked = [
        (GateStage::BeforeInstall, StateName::Created),
        (GateStage::AfterInstall, StateName::Installing),
        (GateStage::AfterAllowTestTraffic, StateName::Testing),
        (GateStage::BeforeAllowTraffic, StateName::Ready),
        (GateStage::BeforeStep, StateName::Shifting),
        (GateStage::DuringStep, StateName::Shifting),
        (GateStage::AfterAllowTraffic, StateName::Shifting),
    ];
    for (stage, state) in parked {
        let rig = Remains::none().start(&gated()).await;
        rig.silence([stage]);
        let id = rig.started("quick").await;
        let asked = |rig: &Rig| rig.gates.asked.lock().unwrap().iter().any(|c| c.stage == stage);
        rig.until("the gate is asked", asked).await;
        rig.until_state(&id, state).await;
        let served = |rig: &Rig| (rig.green(), rig.exposure().green_exists, rig.rollout(&id).state);
        let before = served(&rig);
        let rig = rig.restart(&gated()).await;
        assert_eq!(served(&rig), before, "{stage}");
        rig.until_over(&id, StateName::Succeeded).await;
        assert_eq!(rig.shop().blue.group, name("b"));
        rig.saved().await;
        let story = rig.story(&id).await;
        assert_eq!(story.iter().filter(|kind| *kind == "restored").count(), 1, "{stage}");
    }
}

/// Has green answer requests, of which nobody takes note yet.
pub(super) fn answer(recorder: &Recorder, table: &ArcSwap<RoutingTable>, requests: usize) {
    let meter = table.load().services[&name("shop")].green.meter;
    let outcome = Outcome { kind: OutcomeKind::Status(200), latency_us: 1, rescued: false };
    (0..requests).for_each(|_| recorder.record(meter, outcome));
}

#[tokio::test]
async fn what_green_answered_until_the_process_was_told_to_end_is_the_rollouts() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.saved().await;
    answer(&rig.handle.recorder, &rig.table, 7);
    let rig = Remains { process: Process::new(), ..rig.stop().await }.start(SHOP).await;
    assert_eq!(rig.rollout(&id).tally.green_requests, 7);
}

#[tokio::test]
async fn a_final_bake_goes_on_after_a_restart() {
    let rig = Rig::new().await;
    let id = rig.started("baked").await;
    rig.until_state(&id, StateName::Baking).await;
    let rig = rig.restart(SHOP).await;
    assert_eq!((rig.green(), rig.rollout(&id).state), (Weight::FULL, StateName::Baking));
    rig.until_over(&id, StateName::Succeeded).await;
    assert_eq!(rig.shop().blue.group, name("b"));
}

#[tokio::test]
async fn the_lower_of_store_and_table_file_is_served() {
    for (stored, served, expected) in
        [("50%", "10%", "10%"), ("10%", "50%", "10%"), ("10%", "0%", "0%")]
    {
        let rig = Rig::new().await;
        rig.set_split(stored).await.expect("raised");
        let mut remains = rig.crash().await;
        let image = remains.served.as_mut().expect("written");
        let shop = image.services.get_mut(&name("shop")).expect("written");
        shop.exposure.split = Split::with_green(percent(served));
        let generation = image.generation;
        let rig = remains.start(SHOP).await;
        assert_eq!((rig.green(), rig.shop().configured), (percent(expected), percent(expected)));
        assert!(rig.table.load().generation > generation);
    }
}

#[tokio::test]
async fn a_raise_that_was_saved_but_not_served_is_not_served_after_a_restart() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.saved().await;
    let mut remains = rig.crash().await;
    let image = remains.served.as_mut().expect("written");
    let shop = image.services.get_mut(&name("shop")).expect("written");
    shop.exposure.split = Split::ALL_BLUE;
    let rig = remains.start(SHOP).await;
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);
    assert!(rig.exposure().green_exists);
    rig.until("green has 10% again", |rig| rig.green() == percent("10%")).await;
}

#[tokio::test]
async fn a_lost_store_does_not_lose_what_the_table_file_knows() {
    let rig = Rig::new().await;
    let start = StartRollout { targets: Some(targets(&[9_005])), ..rig.start("quick") };
    let id = id_of(rig.send(Command::StartRollout(Box::new(start))).await.expect("started"));
    rig.until_over(&id, StateName::Succeeded).await;
    let mut remains = rig.crash().await;
    remains.store = Arc::new(Faulty::new(MemoryStore::new()));
    let rig = remains.start(SHOP).await;
    let blue = rig.shop().blue;
    assert_eq!((blue.group, blue.revision), (name("b"), Some(name("v1"))));
    assert_eq!(blue.targets[0].address, name("127.0.0.1:9005"));
    rig.started("quick").await;
}

#[tokio::test]
async fn traffic_flows_from_the_table_file_where_the_store_cannot_be_read() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let before = rig.exposure();
    let rig = rig.crash().await.start_unreadable(SHOP).expect("there is a table file");
    check_unreadable(&rig, before).await;
    refused(rig.tell(&id, Verb::Abort).await, "store_unreadable");
    let page = rig.handle.ledger(LedgerQuery::default()).await;
    assert_eq!(page.expect_err("no store").code(), "store_unreadable");
}

#[tokio::test]
async fn a_record_that_this_release_cannot_read_is_left_as_it_is() {
    let rig = Rig::new().await;
    rig.shifting().await;
    rig.saved().await;
    let before = rig.exposure();
    let remains = rig.crash().await;
    put(&remains.store, "rollout/d-NEWER0000", "{\"from\":\"the future\"}".to_owned()).await;
    let revision = remains.store.inner().load().await.unwrap().revision;
    let without = Remains { store: Arc::clone(&remains.store), ..Remains::none() };
    let error = without.try_start(SHOP).await.map(|_| ()).expect_err("no table file");
    assert!(matches!(error, RecoverError::Record { .. }), "{error}");

    let rig = remains.start(SHOP).await;
    check_unreadable(&rig, before).await;
    rig.saved().await;
    assert_eq!(rig.store.inner().load().await.unwrap().revision, revision);
}

/// Checks that traffic flows as before, and that nothing can be changed.
async fn check_unreadable(rig: &Rig, before: Exposure) {
    assert_eq!(rig.exposure(), before);
    assert!(matches!(rig.handle.view().store, StoreState::Unreadable(_)));
    assert_eq!((rig.shop().in_force, rig.shop().active), (before.split.green(), None));
    let group = GroupRef::GreenOf(name("shop"));
    let all = [
        split("0%"),
        roles(RoleChange::Revert),
        Command::StartRollout(Box::new(rig.start("quick"))),
        Command::SetTargets { group, targets: targets(&[9_003]), revision: None },
        Command::ResetTargets { group: name("a") },
        Command::PushAlarm { alarm: name("pager"), state: AlarmState::Alarm },
    ];
    for command in all {
        refused(rig.send(command).await, "store_unreadable");
    }
    refused(rig.reload(SHOP).await.map(Reply::Reloaded), "store_unreadable");
    assert_eq!(rig.exposure(), before);
}

#[tokio::test]
async fn a_configuration_that_took_away_what_serves_is_an_error() {
    let rig = Rig::new().await;
    let id = rig.started("quick").await;
    rig.until_over(&id, StateName::Succeeded).await;
    let other = SHOP.replace("[a, b]", "[a, c]").replace("b: {", "c: {");
    let error = rig.crash().await.try_start(&other).await.map(|_| ()).expect_err("blue is gone");
    let expected = RecoverError::BlueIsGone { service: name("shop"), group: name("b") };
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_configuration_that_took_away_what_a_rollout_moves_is_an_error() {
    for (from, to) in [("shop", "cart"), ("[a, b]", "[a, c]")] {
        let rig = Rig::new().await;
        let id = rig.shifting().await;
        let other = SHOP.replace(from, to).replace("target_groups: {", "target_groups: { c: {},");
        let error = rig.crash().await.try_start(&other).await.map(|_| ()).expect_err("in use");
        assert!(matches!(error, RecoverError::RolloutWithoutService { .. }), "{error}");
        assert!(error.to_string().contains(id.as_str()), "{error}");
    }
}

#[tokio::test]
async fn targets_that_are_not_known_yet_are_not_taken_for_unhealthy_after_a_restart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    let check = "health_check: { path: /, interval: 150ms, timeout: 100ms, healthy_after: 3 }";
    let checked = SHOP
        .replace("9001", &port.to_string())
        .replace("9002", &port.to_string())
        .replace("min_green", &format!("{check}, min_green"));
    let rig = Remains::none().start(&checked).await;
    let id = rig.shifting().await;
    let rig = rig.restart(&checked).await;
    rig.until("it is judged", |rig| rig.handle.view().health == HealthView::Settled).await;
    assert_eq!((rig.rollout(&id).state, rig.green()), (StateName::Shifting, percent("10%")));
    answering.abort();
}

#[tokio::test]
async fn a_rollout_is_judged_by_its_alarms_as_they_were_when_it_was_created() {
    let own = "own: { metric: error_rate }, above: 1%, datapoints: 1 of 1, period: 1s";
    let file = SHOP.replace("pushed: true", own);
    let rig = Remains::none().start(&file).await;
    let id = rig.shifting().await;
    let rig = rig.restart(&file.replace("above: 1%", "above: 90%")).await;
    rig.until("it is judged", |rig| rig.handle.view().health == HealthView::Settled).await;
    let meter = rig.table.load().services[&name("shop")].green.meter;
    for kind in [OutcomeKind::Status(200), OutcomeKind::Timeout] {
        rig.handle.recorder.record(meter, Outcome { kind, latency_us: 1, rescued: false });
    }
    rig.until_state(&id, StateName::RolledBack).await;
    assert_eq!(rig.rollout(&id).cause, Some(Cause::Alarm { alarm: name("pager") }));
}

#[tokio::test]
async fn an_alarm_that_left_the_file_judges_the_rollout_that_was_created_with_it() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let without = SHOP.replace(", alarms: [pager]", "");
    let without: String = without
        .lines()
        .filter(|l| !l.starts_with("alarms:"))
        .fold(String::new(), |text, line| text + line + "\n");
    let rig = rig.restart(&without).await;
    rig.push(AlarmState::Alarm).await;
    rig.until_over(&id, StateName::RolledBack).await;
    let push = Command::PushAlarm { alarm: name("pager"), state: AlarmState::Ok };
    refused(rig.send(push).await, "no_such_alarm");
}

#[tokio::test]
async fn a_rollout_whose_gate_left_the_file_waits_for_a_person() {
    let rig = Remains::none().start(&gated()).await;
    let id = rig.shifting().await;
    let other = gated().replace("gate: probe", "gate: other").replace(" probe:", " other:");
    let rig = rig.restart(&other).await;
    let paused = |hold: &Hold| {
        matches!(hold, Hold::Paused { by, reason: Some(reason) }
            if by == "tidegate" && reason.contains("gate probe"))
    };
    assert!(rig.rollout(&id).holds.iter().any(paused), "{:?}", rig.rollout(&id).holds);
    assert_eq!((rig.rollout(&id).state, rig.green()), (StateName::Shifting, percent("10%")));
}

#[tokio::test]
async fn a_rollout_does_not_wait_for_the_targets_of_another_service() {
    let check = "health_check: { path: /, interval: 1h, timeout: 1s }";
    let cart = format!("services:\n  cart: {{ target_groups: [c, d], {check} }}\n");
    let both = SHOP.replace("services:\n", &cart).replace(
        "target_groups: { a:",
        "target_groups: { c: { targets: ['127.0.0.1:1'] }, d: {}, a:",
    );
    let rig = Remains::none().start(&both).await;
    let id = rig.shifting().await;
    let rig = rig.restart(&both).await;
    rig.until("it is judged", |rig| rig.rollout(&id).holds.is_empty()).await;
    assert_eq!(rig.handle.view().health, HealthView::Starting, "the other one is not known yet");
    assert_eq!((rig.rollout(&id).state, rig.green()), (StateName::Shifting, percent("10%")));
}

#[tokio::test]
async fn a_rollout_waits_for_the_first_datapoint_of_its_alarm_after_a_restart() {
    let own = "own: { metric: error_rate }, above: 1%, datapoints: 1 of 1, period: 2s";
    let file = SHOP.replace("pushed: true", own);
    let rig = Remains::none().start(&file).await;
    let id = rig.shifting().await;
    let rig = rig.restart(&file).await;
    let restarting = |rig: &Rig| rig.rollout(&id).holds.contains(&Hold::Restarting);
    rig.until("targets are known", |rig| rig.handle.view().health == HealthView::Settled).await;
    assert!(restarting(&rig), "the alarm is not");
    let meter = rig.table.load().services[&name("shop")].green.meter;
    let kind = OutcomeKind::Status(200);
    rig.handle.recorder.record(meter, Outcome { kind, latency_us: 1, rescued: false });
    rig.until("it is judged", |rig| !restarting(rig)).await;
    assert_eq!(rig.handle.view().alarms[0].state, AlarmState::Ok);
}

#[tokio::test]
async fn the_gates_after_a_rollback_are_asked_after_a_crash_before_its_record_was_confirmed() {
    let rig = Remains::none().start(&gated()).await;
    let id = rig.shifting().await;
    rig.tell(&id, Verb::Abort).await.expect("aborted");
    rig.until_over(&id, StateName::RolledBack).await;
    let last = rig.shifting().await;
    rig.saved().await;
    // The end is saved, and the process dies before it hears of that.
    rig.store.lose_answers(outage());
    let aborting = rig.sending(Command::Rollout { id: last.clone(), verb: Verb::Abort });
    let key = format!("rollout/{last}");
    let ended = async {
        while record(&rig.store, &key).await.expect("saved").0["rollout"]["ended"].is_null() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the end is saved");
    assert!(!persisted(&aborting.await.unwrap().expect("aborted")));
    let asked = |rig: &Rig, id: &RolloutId| {
        let calls = rig.gates.asked.lock().unwrap();
        let of = |c: &&GateCall| c.stage == GateStage::AfterRollback && c.rollout == *id;
        calls.iter().filter(of).count()
    };
    assert_eq!((asked(&rig, &id), asked(&rig, &last)), (1, 0));

    let rig = rig.crash().await.start(&gated()).await;
    rig.until("they are asked", |rig| asked(rig, &last) == 1).await;
    rig.until_over(&last, StateName::RolledBack).await;
    let RollbackOf::RolledBackBy(rollback) = rig.rollout(&last).link.clone() else {
        panic!("no rollback")
    };
    assert_eq!(rig.rollout(&rollback).link, RollbackOf::RollbackOf(last.clone()));
    assert_eq!(asked(&rig, &id), 0, "those of the one before were");
    assert_eq!((rig.green(), rig.exposure().green_exists), (Weight::ZERO, false));

    let rig = rig.restart(&gated()).await;
    rig.until("it has looked", |rig| rig.handle.view().health == HealthView::Settled).await;
    assert_eq!(asked(&rig, &last), 0, "nobody is asked twice");
    rig.started("quick").await;
}

#[tokio::test]
async fn what_gates_keep_outlives_a_process_that_ends_and_one_that_crashes() {
    let (shop, probe) = (name("shop"), name("probe"));
    let rig = Remains::none().start(&gated()).await;
    let value = |rig: &Rig| rig.gates.state.value(&shop, &probe, "polls");
    let set = |rig: &Rig, value| rig.gates.state.set_value(&shop, &probe, "polls", value);
    assert_eq!(set(&rig, "1"), Ok(()));
    let rig = Remains { process: Process::new(), ..rig.stop().await }.start(&gated()).await;
    assert_eq!(value(&rig), Some("1".to_owned()), "it was saved when the writer ended");
    assert_eq!(set(&rig, "2"), Ok(()));
    until_kept(&rig, |records| records.iter().any(|record| record.contains("\"2\""))).await;
    let rig = rig.crash().await.start(&gated()).await;
    assert_eq!(value(&rig), Some("2".to_owned()), "it was saved within a second or so");
    assert_eq!(set(&rig, ""), Ok(()));
    until_kept(&rig, <[String]>::is_empty).await;
}

/// Waits until the records of what gates keep are so.
pub(super) async fn until_kept(rig: &Rig, so: impl Fn(&[String]) -> bool) {
    let look = async {
        loop {
            let snapshot = rig.store.inner().load().await.expect("the store is there");
            let kept = snapshot.records.into_iter().filter(|r| r.key.kind() == "gate-state");
            if so(&kept.map(|record| record.value).collect::<Vec<_>>()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, look).await.expect("what gates keep is saved in time");
}
