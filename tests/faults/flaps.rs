//! Targets whose health checks pass and fail by turns: their health changes rarely, and no request
//! is lost for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use crate::kit::Turn;
use crate::rig::{Plan, Row, Scene, Target, Traffic, answer_with, read_request, sized};

/// A target that answers its checks by a script, over and over, and all else well.
struct Flapping {
    target: Target,
    checks: Arc<AtomicUsize>,
}

impl Flapping {
    async fn start(name: &'static str, script: &'static [bool]) -> Self {
        let checks = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&checks);
        let target = Target::start(move |mut stream, seen| {
            let checks = Arc::clone(&counting);
            async move {
                let mut buffer = Vec::new();
                while let Some(request) = read_request(&mut stream, &mut buffer).await {
                    seen.note(&request);
                    let passes = request.path != "/healthz" || {
                        // At first it is well, so that it is known.
                        let number = checks.fetch_add(1, Ordering::SeqCst);
                        number.checked_sub(WELL).is_none_or(|n| script[n % script.len()])
                    };
                    let stands = if passes {
                        answer_with(&mut stream, name, "ok").await
                    } else {
                        stream.write_all(UNAVAILABLE).await.is_ok()
                    };
                    if !stands {
                        return;
                    }
                }
            }
        })
        .await;
        Self { target, checks }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_that_flaps_changes_at_most_once_in_three_intervals() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "health checks that flap",
        "at most 1 change of state per 3 intervals on average, and no more than `flap_limit` and \
         one in all, for a check that flips each time and for one that keeps just to the \
         thresholds; 0 lost",
    );
    let by_turns = Flapping::start("by-turns", &[false, true]).await;
    let by_threshold = Flapping::start("by-threshold", &[false, false, false, true, true]).await;
    let scene = Scene {
        service: format!(
            ", health_check: {{ path: /healthz, interval: {}ms, timeout: 1s }}",
            INTERVAL.as_millis()
        ),
        blue: vec![by_turns.target.address()],
        green: vec![by_threshold.target.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "50%").await;
    let plan = Plan { per_second: sized(100, 500), connections: 8, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    let begun = [&by_turns, &by_threshold].map(|flapping| flapping.checks.load(Ordering::SeqCst));
    // Each health, with the number of checks before it was seen.
    let mut seen: [Vec<(String, usize)>; 2] = [Vec::new(), Vec::new()];
    let end = Instant::now() + INTERVAL * sized(60, 600);
    while Instant::now() < end {
        let service = api.service("shop").await;
        let of_both = [(service.blue, &by_turns), (service.green, &by_threshold)];
        for (seen, (side, flapping)) in seen.iter_mut().zip(of_both) {
            let health: String = side.targets.into_iter().map(|target| target.health).collect();
            if seen.last().is_none_or(|(last, _)| *last != health) {
                seen.push((health, flapping.checks.load(Ordering::SeqCst)));
            }
        }
        sleep(LOOK).await;
    }
    let samples = traffic.stop().await;

    for (number, flapping) in [&by_turns, &by_threshold].into_iter().enumerate() {
        let name = ["by_turns", "by_threshold"][number];
        let checks = flapping.checks.load(Ordering::SeqCst) - begun[number];
        let changes = seen[number].len().saturating_sub(1);
        row.measure(&format!("{name}: checks"), checks);
        row.measure(&format!("{name}: changes"), changes);
        // Not promised one by one: two successes after three failures are two changes in a row.
        if let Some(closest) =
            seen[number].windows(2).skip(1).map(|pair| pair[1].1 - pair[0].1).min()
        {
            row.measure(&format!("{name}: checks between the closest changes"), closest);
        }
        row.require(&format!("{name}: at most one in three intervals"), changes * 3 <= checks);
        row.require(&format!("{name}: at most the limit and one"), changes <= FLAP_LIMIT + 1);
    }
    let last = seen[1].last().map(|(health, _)| health.as_str());
    row.measure("by_threshold: at_last", last.unwrap_or_default());
    row.require("whoever keeps to the thresholds is held in the end", last == Some("unhealthy"));
    let lost = samples.iter().filter(|sample| sample.failure().is_some()).count();
    row.measure("requests", samples.len());
    row.measure("lost", lost);
    row.require("no request is lost", lost == 0);
    row.end();
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
/// How many changes within ten minutes are put up with, by default.
const FLAP_LIMIT: usize = 5;
/// How many checks pass at first.
const WELL: usize = 10;
const INTERVAL: Duration = Duration::from_millis(100);
/// The time between two looks at the health.
const LOOK: Duration = Duration::from_millis(10);
