//! A slow green: blue is as quick as ever, slowness alone is no reason for a second attempt, and
//! where there is a time for the first try, blue answers after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use crate::kit::{Turn, until};
use crate::rig::{
    Method, Outcome, Plan, Row, Sample, Scene, Seen, Target, Traffic, answer_with, metric, p99_us,
    raise_own_limit, read_request, sized,
};

/// A target whose answers take as long as it is told.
struct Slow {
    target: Target,
    delay_ms: Arc<AtomicU64>,
}

impl Slow {
    async fn start(name: &'static str) -> Self {
        let delay_ms = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&delay_ms);
        let target =
            Target::start(move |stream, seen| serve(stream, seen, Arc::clone(&told), name)).await;
        Self { target, delay_ms }
    }

    fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).expect("a short time");
        self.delay_ms.store(ms, Ordering::SeqCst);
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Seen>,
    delay_ms: Arc<AtomicU64>,
    name: &'static str,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        seen.note(&request);
        let delay = delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        if !answer_with(&mut stream, name, "ok").await {
            return;
        }
    }
}

/// A time in the load, from its beginning to its end.
type Window = (Instant, Instant);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_green_slows_nobody_else_and_is_not_asked_again() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "green slow by 500 ms",
        "p99 of blue at most 1.1 times that without, plus 5 ms (50 ms in the reduced form), as \
         medians of windows; no second attempt; 0 failed",
    );
    let (blue, green) = (Slow::start("blue").await, Slow::start("green").await);
    let scene = Scene {
        blue: vec![blue.target.address()],
        green: vec![green.target.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "10%").await;
    let traffic = Traffic::start(tidegate.public(), plan(1, 0));
    until("the load is under way", async || traffic.begun() > 100).await;

    let (mut quiet, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..sized(4, 20) {
        for (delay, windows) in [(Duration::ZERO, &mut quiet), (SLOWNESS, &mut slow)] {
            green.delay(delay);
            // Until what was asked before this is answered.
            sleep_until(Instant::now() + SLOWNESS).await;
            let began = Instant::now();
            sleep_until(began + window()).await;
            windows.push((began, Instant::now()));
        }
    }
    let samples = traffic.stop().await;

    let failed = samples.iter().filter(|sample| sample.failure().is_some()).count();
    let of_green = samples.iter().filter(|sample| sample.outcome == Outcome::Green).count();
    let waited = samples
        .iter()
        .filter(|sample| sample.outcome == Outcome::Green && sample.took() >= SLOWNESS)
        .count();
    let seconds = metric(&api, "tidegate_retries_total", &[]).await;
    let (quiet_us, slow_us) = (median_p99(&samples, &quiet), median_p99(&samples, &slow));
    row.measure("requests", samples.len());
    row.measure("failed", failed);
    row.measure("of_green", of_green);
    row.measure("that_waited_for_green", waited);
    row.measure("second_attempts", seconds);
    row.measure("blue_p99_us_without", quiet_us);
    row.measure("blue_p99_us_beside_a_slow_green", slow_us);
    row.require("some waited for green", waited > 0);
    row.require("no request fails", failed == 0);
    row.require("slowness is not tried again", seconds == 0);
    row.require("green has each request once", green.target.seen().count() == of_green);
    row.require("blue is as quick as ever", slow_us <= quiet_us * 11 / 10 + slack_us());
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_answers_what_green_has_not_begun_to_answer_in_the_time_of_a_first_try() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "green slower than the time for a first try",
        "a GET is answered by blue within per_try + 0.5 s, a POST by green when it is ready; \
         doubled POST 0; 0 failed",
    );
    let (blue, green) = (Slow::start("blue").await, Slow::start("green").await);
    let scene = Scene {
        service: format!(", timeouts: {{ per_try: {}ms }}", PER_TRY.as_millis()),
        blue: vec![blue.target.address()],
        green: vec![green.target.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "10%").await;
    let traffic = Traffic::start(tidegate.public(), plan(2, 5));
    until("the load is under way", async || traffic.begun() > 400).await;
    green.delay(MUCH_SLOWER);
    let from = Instant::now();
    sleep_until(from + Duration::from_secs(sized(3, 20))).await;
    let to = Instant::now();
    green.delay(Duration::ZERO);
    let samples = traffic.stop().await;

    let failed = samples.iter().filter(|sample| sample.failure().is_some()).count();
    let within: Vec<&Sample> = samples.iter().filter(|s| from < s.began && s.began < to).collect();
    let of = |method: Method| within.iter().filter(move |sample| sample.method == method);
    let slowest_get = of(Method::Get).map(|sample| sample.took()).max().unwrap_or_default();
    let waiting_posts = of(Method::Post).filter(|sample| sample.took() >= MUCH_SLOWER).count();
    let rescues = metric(&api, "tidegate_retries_total", &["kind=\"rescue\""]).await;
    let seen = [blue.target.seen().requests(), green.target.seen().requests()].concat();
    let mut posts: Vec<&String> = seen.iter().filter(|line| line.starts_with("POST ")).collect();
    let all = posts.len();
    posts.sort_unstable();
    posts.dedup();
    row.measure("requests", samples.len());
    row.measure("failed", failed);
    row.measure("rescues", rescues);
    row.measure("slowest_get_ms", u64::try_from(slowest_get.as_millis()).unwrap_or(u64::MAX));
    row.measure("posts_that_waited_for_green", waiting_posts);
    row.measure("posts_doubled", all - posts.len());
    row.require("no request fails", failed == 0);
    row.require("some were rescued", rescues > 0);
    row.require("a GET does not wait for green", slowest_get <= PER_TRY + LEEWAY);
    row.require("a POST waits for green", waiting_posts > 0);
    row.require("no POST runs twice", all == posts.len());
    row.end();
}

/// So many connections that none is late for its next request because green is slow; `pause` is the
/// time between two requests of one, in seconds.
fn plan(pause: u32, post_every: u64) -> Plan {
    let connections = sized(400, 1_000);
    Plan { per_second: connections / pause, connections, post_every }
}

/// The median of the windows' slowest hundredths of blue, in microseconds.
fn median_p99(samples: &[Sample], windows: &[Window]) -> u64 {
    let of_window = |(from, to): &Window| {
        let within = |sample: &&Sample| {
            sample.outcome == Outcome::Blue && *from <= sample.began && sample.began < *to
        };
        p99_us(samples.iter().filter(within))
    };
    let mut all: Vec<u128> = windows.iter().filter_map(of_window).collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied().expect("blue has requests in every window");
    u64::try_from(median).expect("a short time")
}

/// How much later a hundredth may be because the machine is busy, in microseconds: a switch of the
/// system's is a few milliseconds, and many where other tests run.
fn slack_us() -> u64 {
    sized(50_000, 5_000)
}

fn window() -> Duration {
    Duration::from_millis(sized(500, 3_000))
}

/// How slow green is.
const SLOWNESS: Duration = Duration::from_millis(500);
/// How slow it is where nobody who may be answered by blue waits for it.
const MUCH_SLOWER: Duration = Duration::from_millis(1_500);
/// How long green may take for a first try.
const PER_TRY: Duration = Duration::from_millis(200);
/// For a machine that is busy.
const LEEWAY: Duration = Duration::from_millis(500);
