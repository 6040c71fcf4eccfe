//! Remainders: what was in flight when a rollout ended, and what became of that.

use crate::core::routing::MeterId;
use crate::telemetry::{Outcome, OutcomeKind};

use super::*;

const ANSWERED: OutcomeKind = OutcomeKind::Status(200);

impl Rig {
    /// Green's meter in the table that the next request loads.
    fn green_meter(&self) -> MeterId {
        self.table.load().services[&name("shop")].green.meter
    }

    /// Has so many requests to green begin.
    fn begin(&self, meter: MeterId, requests: u64) {
        (0..requests).for_each(|_| self.handle.recorder.begun(meter));
    }

    /// Has so many of them end.
    fn finish(&self, meter: MeterId, requests: u64, kind: OutcomeKind) {
        let outcome = Outcome { kind, latency_us: 1, rescued: false };
        (0..requests).for_each(|_| self.handle.recorder.record(meter, outcome));
    }

    /// Waits until the ledger was told so often what the requests of a rollout came to; gives what
    /// it was told last.
    async fn told(&self, id: &RolloutId, times: usize) -> serde_json::Value {
        let told = async {
            loop {
                let entries = self.ledger().await;
                let about = entries.into_iter().filter(|entry| entry.rollout.as_ref() == Some(id));
                let told: Vec<Entry> =
                    about.filter(|entry| entry.kind == "requests_counted").collect();
                if let Some(last) = told.last().filter(|_| told.len() >= times) {
                    assert_eq!(told.len(), times, "{told:?}");
                    return serde_json::from_str(&last.detail).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, told).await.expect("the ledger is told in time")
    }

    async fn aborted(&self, id: &RolloutId) {
        self.tell(id, Verb::Abort).await.expect("aborted");
        self.until_over(id, StateName::RolledBack).await;
    }
}

#[tokio::test]
async fn what_was_in_flight_at_the_end_is_counted_when_it_is_over() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let meter = rig.green_meter();
    rig.begin(meter, 21);
    rig.finish(meter, 16, ANSWERED);
    rig.aborted(&id).await;
    let told = rig.told(&id, 1).await;
    assert_eq!((&told["green_requests"], &told["in_flight"]), (&21.into(), &5.into()), "{told}");
    let tally = rig.rollout(&id).tally;
    assert_eq!((tally.green_requests, tally.green_failed, tally.in_flight), (21, 0, 5));

    // Also while the next one runs, which has nothing of it.
    let next = rig.shifting().await;
    rig.finish(meter, 3, OutcomeKind::Timeout);
    rig.finish(meter, 2, OutcomeKind::ClientGone);
    let told = rig.told(&id, 2).await;
    let number = |what: &str| told[what].as_u64().unwrap();
    assert_eq!(["green_requests", "green_failed", "leaked"].map(number), [21, 3, 3]);
    assert_eq!(["in_flight", "outcomes_missing"].map(number), [0, 0]);
    rig.saved().await;
    let (record, _) = record(&rig.store, &format!("rollout/{id}")).await.expect("it has one");
    assert_eq!(record["rollout"]["tally"]["green_failed"], 3, "{record}");
    assert_eq!(rig.rollout(&id).tally.green_failed, 3);
    assert_eq!(rig.rollout(&next).tally, Tally::default());

    let metrics = rig.handle.metrics();
    let check = |line: &str| assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    check("tidegate_rollout_green_requests_total{service=\"shop\",what=\"all\"} 21");
    check("tidegate_rollout_green_requests_total{service=\"shop\",what=\"failed\"} 3");
    check("tidegate_rollout_leaked_requests_total{service=\"shop\"} 3");
    let rig = rig.restart(SHOP).await;
    assert_eq!(rig.rollout(&id).tally.green_failed, 3);
}

#[tokio::test]
async fn the_ledger_is_told_once_where_nothing_was_in_flight() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let meter = rig.green_meter();
    rig.begin(meter, 2);
    rig.finish(meter, 2, ANSWERED);
    rig.aborted(&id).await;
    let next = rig.shifting().await;
    rig.begin(rig.green_meter(), 1);
    rig.aborted(&next).await;
    rig.finish(rig.green_meter(), 1, ANSWERED);
    // The second one is told of last: the first one would have been by then.
    rig.told(&next, 2).await;
    assert_eq!(rig.told(&id, 1).await["green_requests"], 2);
}

#[tokio::test]
async fn what_was_in_flight_when_the_process_ended_is_missing() {
    let rig = Rig::new().await;
    let over = rig.shifting().await;
    rig.begin(rig.green_meter(), 4);
    rig.aborted(&over).await;
    let running = rig.shifting().await;
    rig.begin(rig.green_meter(), 7);
    let rig = Remains { process: Process::new(), ..rig.stop().await }.start(SHOP).await;
    let missing = |id: &RolloutId| {
        let tally = rig.rollout(id).tally;
        (tally.green_requests, tally.in_flight, tally.outcomes_missing)
    };
    assert_eq!((missing(&over), missing(&running)), ((4, 0, 4), (7, 0, 7)));
    assert_eq!(rig.told(&over, 2).await["outcomes_missing"], 4);
    // It is told once, however often the process starts.
    let rig = rig.restart(SHOP).await;
    rig.saved().await;
    assert_eq!(rig.told(&over, 2).await["outcomes_missing"], 4);
    assert_eq!(rig.rollout(&over).tally.outcomes_missing, 4);
}

#[tokio::test]
async fn what_ends_while_no_writer_runs_is_counted_by_the_next_one_of_the_process() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let meter = rig.green_meter();
    rig.begin(meter, 3);
    rig.aborted(&id).await;
    let rig = rig.stop().await.start(SHOP).await;
    rig.finish(meter, 3, OutcomeKind::ConnectError);
    assert_eq!(rig.told(&id, 2).await["green_failed"], 3);
    assert_eq!(rig.rollout(&id).tally.outcomes_missing, 0);
}

#[tokio::test]
async fn what_green_is_given_after_a_stop_is_not_the_rollouts() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    let meter = rig.green_meter();
    rig.begin(meter, 2);
    rig.tell(&id, Verb::Stop).await.expect("stopped");
    rig.until_over(&id, StateName::Stopped).await;
    let later = rig.green_meter();
    assert_ne!(later, meter);
    rig.begin(later, 5);
    rig.finish(later, 5, OutcomeKind::Timeout);
    rig.finish(meter, 2, ANSWERED);
    let told = rig.told(&id, 2).await;
    assert_eq!((&told["green_requests"], &told["green_failed"]), (&2.into(), &0.into()), "{told}");
}

#[tokio::test]
async fn what_is_sent_after_any_verdict_is_counted_also_where_nothing_is_compared() {
    let config = SHOP.replacen("strategy: quick", "strategy: quick, analysis: off", 1);
    let rig = Remains::none().start(&config).await;
    let id = rig.shifting().await;
    let meter = rig.green_meter();
    rig.begin(meter, 3);
    rig.until("they are counted", |rig| rig.rollout(&id).tally.green_requests == 3).await;
    rig.push(AlarmState::Alarm).await;
    rig.until_over(&id, StateName::RolledBack).await;
    // From requests that had read the table before.
    rig.begin(meter, 2);
    rig.finish(meter, 5, ANSWERED);
    let told = rig.told(&id, 2).await;
    let number = |what: &str| told[what].as_u64().unwrap();
    assert_eq!(["green_requests", "sent_after_verdict"].map(number), [5, 2], "{told}");
}
