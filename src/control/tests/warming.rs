//! B5 on the whole way: while green warms up, nobody's latencies are compared.

use super::comparing::OK;
use super::*;
use crate::core::analysis::comparison::Settled;
use crate::core::model::Side;

pub(super) fn starting_slowly(slow_start: &str) -> String {
    let keys = format!("strategy: quick, slow_start: {slow_start}");
    SHOP.replacen("strategy: quick", &keys, 1)
}

impl Rig {
    /// A rollout whose blue took 50 ms for as long as anybody remembers, in the middle of it.
    async fn compared_with_a_past(slow_start: &str) -> (Self, RolloutId) {
        let rig = Remains::none().start(&starting_slowly(slow_start)).await;
        let live = Arc::clone(&rig.table.load().services[&name("shop")].live);
        (0..2_000).for_each(|_| live.latencies.record(50_000));
        let id = rig.shifting().await;
        let known = |rig: &Self| {
            let latencies = rig.analysis(&id).metrics.into_iter().skip(2);
            latencies.filter(|metric| metric.blue_slow_us.is_some()).count() == 3
        };
        rig.until("it is known what is slow", known).await;
        (rig, id)
    }

    /// So many requests, of which 40 % take longer than blue's median on both sides alike.
    async fn send_alike(&self, id: &RolloutId, green: u64) {
        let before = self.of_latency(id);
        let mut sent = 0;
        for turn in 0..10 * green {
            let side = if turn % 10 == 0 { Side::Green } else { Side::Blue };
            let slow = (turn / 10 + turn) % 5 < 2;
            let latency_us = Some(if slow { 100_000 } else { 10_000 });
            sent += u64::from(self.counted(side, "10%", Settled { latency_us, ..OK }));
        }
        assert!(sent >= 9 * green, "{sent}");
        self.until("they are evaluated", |rig| {
            let errors = &rig.analysis(id).metrics[0];
            errors.green + errors.blue >= before.2 + sent
        })
        .await;
    }

    /// Green's and blue's requests that are compared by the median latency, and all by errors.
    fn of_latency(&self, id: &RolloutId) -> (u64, u64, u64) {
        let metrics = self.analysis(id).metrics;
        assert_eq!((metrics[0].metric.as_str(), metrics[2].metric.as_str()), ("errors", "lat_p50"));
        (metrics[2].green, metrics[2].blue, metrics[0].green + metrics[0].blue)
    }
}

#[tokio::test]
async fn b5_while_a_target_of_green_warms_up_latencies_rest_on_both_sides() {
    let (rig, id) = Rig::compared_with_a_past("1h").await;
    let rests = |rig: &Rig| rig.analysis(&id).resting.iter().any(|what| what.contains("warms up"));
    rig.until("it says so", rests).await;
    let (green, blue, _) = rig.of_latency(&id);
    // Everybody became faster. Were green's left out alone, blue's good ones would stand against
    // it: that takes a healthy green back within 3 000 requests.
    rig.send_alike(&id, 600).await;
    let (still_green, still_blue, _) = rig.of_latency(&id);
    assert_eq!((still_green, still_blue), (green, blue), "dropped on both sides or on none");
    let analysis = rig.analysis(&id);
    assert!(analysis.evidence < analysis.needed, "{analysis:?}");
    assert_eq!(rig.green(), percent("10%"));
    // Warm, it is compared: on both sides again.
    rig.reload(&starting_slowly("1ms")).await.expect("reloaded");
    rig.until("nothing rests", |rig| !rests(rig)).await;
    rig.send_alike(&id, 100).await;
    let (now_green, now_blue, _) = rig.of_latency(&id);
    assert!(now_green > green && now_blue > blue, "{now_green} {now_blue}");
}

#[tokio::test]
async fn b5_without_slow_start_latencies_are_compared_from_the_first_request_on() {
    let (rig, id) = Rig::compared_with_a_past("0s").await;
    rig.send_alike(&id, 100).await;
    let (green, blue, all) = rig.of_latency(&id);
    assert_eq!(green + blue, all);
    assert!(rig.analysis(&id).resting.is_empty());
}
