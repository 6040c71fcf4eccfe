//! A green that is worse is caught by the comparison alone, and a shared outage is not held against
//! it: 1 000 requests a second, a weight of 10 %, answers that take 50 ms.
//!
//! `make analysis-sockets` (`TIDEGATE_E2E_RUNS=20`) has the sizes of the promises: so many runs, an
//! outage of a minute in twenty services at once.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::admin::json::Rollout;
use tidegate::core::model::Weight;
use tidegate::core::rollout::StateName;
use tokio::time::{Instant, sleep};

use crate::kit::{Answers, Api, Load, Origin, Ports, Rate, Shop, Tidegate, Turn, report, until};

/// The load.
const RATE: Rate = Rate { per_second: 1_000, connections: 128 };
/// What of it must be reached; the first answers of a load are late by their latency.
const LEAST_PER_SECOND: f64 = 850.0;
const LATENCY: Duration = Duration::from_millis(50);
/// Of green, where it is slower by half.
const SLOWER: Duration = Duration::from_millis(75);
/// Requests to blue before a rollout: the most demanding threshold takes 1 000 answers.
const BEFORE: u64 = 1_200;

/// How many runs the reduced form has.
const FEW_RUNS: usize = 3;
/// How many requests a green that fails everything may fail, in the median of the runs.
const MOST_FAILED: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_green_that_fails_everything_is_rolled_back_after_at_most_thirty_failures() {
    let _turn = Turn::wait().await;
    let scene = Scene::set("rescue: false\n").await;
    let (mut recorded, mut seen) = (Vec::new(), Vec::new());
    for number in 1..=runs() {
        let (rollout, answers) = scene.run(number, |green| green.fail(10_000)).await;
        require_caught(&rollout, "");
        assert_eq!(rollout.rescued, 0, "{rollout:?}");
        assert!(rollout.green_failed > 0, "{rollout:?}");
        report(&format!(
            "run {number}: {} failed green requests in the record, {} seen by users, {} sent \
             after the verdict",
            rollout.green_failed, answers.errors, rollout.sent_after_verdict,
        ));
        recorded.push(rollout.green_failed);
        seen.push(answers.errors);
    }
    let (recorded, seen) = (median(recorded), median(seen));
    report(&format!("median: {recorded} in the record, {seen} seen by users"));
    assert!(recorded <= MOST_FAILED, "{recorded} failed green requests in the record");
    // The record ends with the rollout; those that green still had are counted here too.
    assert!(seen <= MOST_FAILED, "{seen} failures seen by users");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_users_saw_of_green_is_in_the_record_the_ledger_and_the_metrics_exactly() {
    let _turn = Turn::wait().await;
    let scene = Scene::set("rescue: false\n").await;
    let (rollout, answers) = scene.run(1, |green| green.fail(10_000)).await;
    let (api, id) = (scene.tidegate.api(), rollout.id.to_string());
    // The last of them may have ended after the verdict, and come with its end.
    until("all of them are over and counted", async || {
        let rollout = api.rollout(&id).await;
        rollout.in_flight == 0 && rollout.green_requests >= answers.green
    })
    .await;
    let rollout = api.rollout(&id).await;
    assert_eq!(rollout.green_requests, answers.green, "{answers:?}, {rollout:?}");
    assert_eq!(rollout.green_failed, answers.errors, "{answers:?}, {rollout:?}");
    assert_eq!((rollout.rescued, rollout.leaked), (0, answers.errors), "{rollout:?}");
    assert_eq!(rollout.outcomes_missing, 0, "{rollout:?}");
    assert!(rollout.sent_after_verdict < answers.green, "{rollout:?}");
    let counted = json!({
        "green_requests": rollout.green_requests, "green_failed": rollout.green_failed,
        "rescued": 0, "leaked": rollout.leaked,
        "sent_after_verdict": rollout.sent_after_verdict, "in_flight": 0, "outcomes_missing": 0,
    });
    until("the ledger says the same", async || {
        let mut told = api.ledger(Some(&id)).await.into_iter();
        let last = told.rfind(|entry| entry.kind == "requests_counted");
        last.is_some_and(|last| {
            let detail: Value = serde_json::from_str(&last.detail).expect("JSON");
            detail == counted
        })
    })
    .await;
    let wanted = [
        ("leaked_requests_total{service=\"shop\"}", rollout.leaked),
        ("green_requests_total{service=\"shop\",what=\"all\"}", rollout.green_requests),
        ("green_requests_total{service=\"shop\",what=\"failed\"}", rollout.green_failed),
        ("green_requests_total{service=\"shop\",what=\"rescued\"}", 0),
        (
            "green_requests_total{service=\"shop\",what=\"sent_after_verdict\"}",
            rollout.sent_after_verdict,
        ),
    ];
    let wanted = wanted.map(|(name, count)| format!("tidegate_rollout_{name} {count}"));
    until("so do the metrics", async || {
        let metrics = api.ask("GET", "/metrics", None).await.expect("an answer").body;
        wanted.iter().all(|wanted| metrics.lines().any(|line| line == wanted))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_rescue_no_user_sees_a_failure_and_the_rollback_still_comes() {
    let _turn = Turn::wait().await;
    let scene = Scene::set("rescue: true\n").await;
    let mut recorded = Vec::new();
    for number in 1..=runs() {
        let (rollout, answers) = scene.run(number, |green| green.fail(10_000)).await;
        require_caught(&rollout, "");
        assert_eq!(answers.errors, 0, "a user saw a failure: {answers:?}, {rollout:?}");
        assert!(rollout.rescued > 0, "{rollout:?}");
        report(&format!(
            "run {number}: {} failed green requests in the record, {} of them answered by blue",
            rollout.green_failed, rollout.rescued,
        ));
        recorded.push(rollout.green_failed);
    }
    let recorded = median(recorded);
    report(&format!("median: {recorded} in the record"));
    assert!(recorded <= MOST_FAILED, "as early as without: {recorded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_green_slower_by_half_is_caught_at_unchanged_errors() {
    let _turn = Turn::wait().await;
    let scene = Scene::set("rescue: false\n").await;
    let mut taken = Vec::new();
    for number in 1..=runs() {
        let (rollout, answers) = scene.run(number, |green| green.delay(SLOWER)).await;
        require_caught(&rollout, "lat_");
        assert_eq!((answers.errors, rollout.green_failed), (0, 0), "{answers:?}, {rollout:?}");
        report(&format!(
            "run {number}: caught after {} green requests; {}",
            rollout.green_requests,
            rollout.cause.as_deref().unwrap_or_default(),
        ));
        taken.push(rollout.green_requests);
    }
    report(&format!("median: {} green requests", median(taken)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_outage_rolls_nothing_back() {
    let _turn = Turn::wait().await;
    let (services, length) =
        if is_full() { (20, Duration::from_secs(60)) } else { (1, Duration::from_secs(5)) };
    let (a, b) = origins().await;
    let tidegate = Tidegate::start(|ports| many(ports, services, &a, &b)).await;
    let api = tidegate.api();
    let each = Rate {
        per_second: RATE.per_second / services,
        connections: (RATE.connections / services).max(8),
    };
    let loads: Vec<Load> = (0..services)
        .map(|number| Load::start(tidegate.public(), &format!("/s{number}/"), each))
        .collect();
    until("blue has had traffic", async || a.requests() >= BEFORE).await;
    let mut ids = Vec::new();
    for number in 0..services {
        let service = api.service(&format!("s{number}")).await;
        ids.push(api.roll_out(&service, "v1").await.expect("it starts").id.to_string());
    }
    let tenth = Weight::from_bp(1_000).expect("in range");
    for (number, id) in ids.iter().enumerate() {
        let name = format!("s{number}");
        until("green answers a tenth", async || {
            api.service(&name).await.weights.in_force.green == tenth
                && api.rollout(id).await.green_requests > 0
        })
        .await;
    }

    for origin in [&a, &b] {
        origin.fail(3_000);
    }
    let began = Instant::now();
    while began.elapsed() < length {
        require_standing(&api, &ids).await;
        sleep(Duration::from_millis(100)).await;
    }
    for origin in [&a, &b] {
        origin.fail(0);
    }
    let mut rate = 0.0;
    for load in loads {
        let (answers, its_rate) = load.stop().await;
        assert_eq!(answers.failed, 0, "{:?}", answers.failures);
        assert!(answers.errors > 0 && answers.green > 0, "{answers:?}");
        rate += its_rate;
    }
    require_standing(&api, &ids).await;
    for id in &ids {
        let rollout = api.rollout(id).await;
        assert!(rollout.green_failed > 0, "green had its part of the outage: {rollout:?}");
        let evidence = rollout.analysis.as_ref().map_or(0.0, |analysis| analysis.evidence);
        report(&format!(
            "{}: green failed {} of {}, evidence {evidence:.2}",
            rollout.service, rollout.green_failed, rollout.green_requests,
        ));
    }
    report(&format!("{rate:.0} requests a second over {services} services"));
    assert!(rate >= LEAST_PER_SECOND, "only {rate:.0} requests a second");
}

/// Fails the test if a rollout has ended, or the comparison speaks against its green.
async fn require_standing(api: &Api, ids: &[String]) {
    for id in ids {
        let rollout = api.rollout(id).await;
        assert_eq!(rollout.state, StateName::Shifting, "{rollout:?}");
        assert_eq!(rollout.green_bp, 1_000, "{rollout:?}");
        assert_eq!(rollout.cause, None, "{rollout:?}");
        let analysis = rollout.analysis.as_ref().expect("it is compared");
        assert_ne!(analysis.comparison, "fail", "{rollout:?}");
    }
}

/// Fails the test unless the comparison has taken a rollout back, most of all by a metric whose
/// name begins so: an error counts as slow, too, so that any of them may speak first against one.
fn require_caught(rollout: &Rollout, metric: &str) {
    assert_eq!(rollout.state, StateName::RolledBack, "{rollout:?}");
    let cause = rollout.cause.as_deref().unwrap_or_default();
    let expected = format!("green is worse than blue: {metric}");
    assert!(cause.starts_with(&expected), "{cause:?}: {rollout:?}");
    let analysis = rollout.analysis.as_ref().expect("it was compared");
    assert_eq!(analysis.comparison, "fail", "{rollout:?}");
}

/// One service, compared and nothing else: no alarm, no gate, no check and no ejection can take
/// its rollout back.
#[derive(Debug)]
struct Scene {
    blue: Origin,
    green: Origin,
    tidegate: Tidegate,
}

impl Scene {
    /// One with these keys of the service besides.
    async fn set(keys: &'static str) -> Self {
        let (blue, green) = origins().await;
        let shop = |ports: &Ports| {
            let scene = SHOP.config(ports, &blue, &green);
            scene.replace("    outlier_ejection", &format!("    {keys}    outlier_ejection"))
        };
        let tidegate = Tidegate::start(shop).await;
        Self { blue, green, tidegate }
    }

    /// One rollout of a new revision, whose green is spoilt before it begins, from its start to
    /// its rollback; gives its record, and what the load has come to.
    async fn run(&self, number: usize, spoil: impl Fn(&Origin)) -> (Rollout, Answers) {
        let api = self.tidegate.api();
        spoil(&self.green);
        let before = self.blue.requests();
        let load = Load::start(self.tidegate.public(), "/", RATE);
        until("blue has had traffic", async || self.blue.requests() >= before + BEFORE).await;
        let shop = api.service("shop").await;
        let rollout = api.roll_out(&shop, &format!("v{number}")).await.expect("it starts");
        let id = rollout.id.to_string();
        until("it is rolled back", async || api.rollout(&id).await.state == StateName::RolledBack)
            .await;
        let (answers, rate) = load.stop().await;
        let shop = api.service("shop").await;
        assert_eq!(shop.weights.in_force.green, Weight::ZERO, "the traffic is back");
        assert_eq!(answers.failed, 0, "{:?}", answers.failures);
        assert!(rate >= LEAST_PER_SECOND, "only {rate:.0} requests a second");
        (api.rollout(&id).await, answers)
    }
}

async fn origins() -> (Origin, Origin) {
    let (a, b) = (Origin::start("shop-a").await, Origin::start("shop-b").await);
    a.delay(LATENCY);
    b.delay(LATENCY);
    (a, b)
}

/// The full form, or `None`: how many runs it has.
fn wanted_runs() -> Option<usize> {
    let text = std::env::var("TIDEGATE_E2E_RUNS").ok()?;
    let number: Option<usize> = text.parse().ok().filter(|number| *number > 0);
    Some(number.unwrap_or_else(|| panic!("TIDEGATE_E2E_RUNS is a number from 1: {text:?}")))
}

fn runs() -> usize {
    wanted_runs().unwrap_or(FEW_RUNS)
}

fn is_full() -> bool {
    wanted_runs().is_some_and(|runs| runs > FEW_RUNS)
}

/// The middle one; of an even number the upper of the two.
fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of[of.len() / 2]
}

/// So many services, each on its own path, with the same two targets behind them.
fn many(ports: &Ports, services: u32, a: &Origin, b: &Origin) -> String {
    let Ports { public, admin } = ports;
    let (a, b) = (a.address(), b.address());
    let (mut rules, mut groups, mut shops) = (Vec::new(), String::new(), String::new());
    for n in 0..services {
        rules.push(format!("{{ match: {{ path_prefix: /s{n} }}, service: s{n} }}"));
        groups.push_str(&format!(
            "  s{n}-a: {{ targets: ['{a}'] }}\n  s{n}-b: {{ targets: ['{b}'] }}\n"
        ));
        shops.push_str(&format!("  s{n}:\n    target_groups: [s{n}-a, s{n}-b]\n"));
        // Blue can answer no better than green, and its failures are to be seen as they are.
        shops.push_str("    rescue: false\n");
        shops.extend(SHOP.service.lines().map(|line| format!("    {line}\n")));
    }
    let (rules, file) = (rules.join(", "), SHOP.file);
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{rules}] }}
target_groups:
{groups}services:
{shops}admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
{file}"
    )
}

const SHOP: Shop = Shop {
    service: "\
outlier_ejection: off
strategy: tenth
drain_timeout: 1s
tell_side: true
",
    file: "\
strategies:
  tenth: { steps: [{ weight: 10%, bake: 1h }] }
",
};
