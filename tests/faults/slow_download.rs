//! Slow downloads through a promotion and a rollback: those from the group that loses its weight
//! have the drain timeout to come to their end and are cut after it, and that is counted; the others
//! never notice.

use std::time::Duration;

use tidegate::core::rollout::StateName;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::kit::{Api, Tidegate, Turn};
use crate::rig::{
    Client, Row, Scene, Target, baking_at, ends_as, metric, ms, read_request, sized, tell,
};

/// A download whose header is there.
struct Download {
    client: Client,
    /// How many bytes it has.
    length: usize,
    /// The target that it comes from.
    target: String,
}

/// How downloads of one kind have ended.
#[derive(Default)]
struct Ends {
    whole: usize,
    cut: usize,
    /// Cut before the drain timeout was over.
    early: usize,
    last_ms: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_downloads_outlive_a_promotion_and_are_cut_after_the_drain_timeout() {
    let _turn = Turn::wait().await;
    let row = Row::begin("slow downloads through a promotion", bar());
    judge(row, "promote", "shop-a", StateName::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_downloads_outlive_a_rollback_and_are_cut_after_the_drain_timeout() {
    let _turn = Turn::wait().await;
    let row = Row::begin("slow downloads through a rollback", bar());
    judge(row, "abort", "shop-b", StateName::RolledBack).await;
}

fn bar() -> String {
    format!(
        "what ends within drain_timeout arrives whole; the rest is cut after it, within {} ms, and \
         counted; those of the other side arrive whole",
        cut_within_ms()
    )
}

/// How soon after the drain timeout the last download has to be cut, in milliseconds.
fn cut_within_ms() -> u64 {
    sized(4_000, 1_500)
}

/// Ends a rollout in the middle of downloads, so that a target has to be left.
async fn judge(mut row: Row, verb: &str, left: &str, end: StateName) {
    let (a, b) = (dripping("shop-a").await, dripping("shop-b").await);
    let scene = Scene {
        service: format!(", drain_timeout: {}s, min_green: 0", DRAIN_TIMEOUT.as_secs()),
        blue: vec![a.address()],
        green: vec![b.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    let rollout = baking_at(&api, "v1", "50%").await;
    // The long ones first: the short ones have to have a part of their time before them.
    let (long_leaving, long_staying) = open(&tidegate, LONG, left).await;
    let (short_leaving, short_staying) = open(&tidegate, SHORT, left).await;
    let leaving_long = long_leaving.len();
    let changed = Instant::now();
    tell(&api, &rollout, verb).await;

    let (short_leaving, short_staying, long_leaving, long_staying) = tokio::join!(
        ends(short_leaving, changed),
        ends(short_staying, changed),
        ends(long_leaving, changed),
        ends(long_staying, changed),
    );
    ends_as(&api, &rollout, end).await;
    let counted = counted(&api).await;
    row.measure("short_arrived_whole", short_leaving.whole + short_staying.whole);
    row.measure("short_cut", short_leaving.cut + short_staying.cut);
    row.measure("long_cut", long_leaving.cut);
    row.measure("long_cut_early", long_leaving.early);
    row.measure("last_cut_after_ms", long_leaving.last_ms);
    row.measure("counted_as_cut", counted);
    row.measure("long_of_the_other_side_whole", long_staying.whole);
    row.measure("long_of_the_other_side_cut", long_staying.cut);
    row.require(
        "what ends within the drain timeout arrives whole",
        short_leaving.cut + short_staying.cut == 0,
    );
    row.require("what does not is cut", long_leaving.cut == leaving_long);
    row.require("not before the drain timeout is over", long_leaving.early == 0);
    let limit = ms(DRAIN_TIMEOUT) + cut_within_ms();
    row.require("and soon after it", long_leaving.last_ms <= limit);
    row.require("each of them is counted", counted == leaving_long as u64);
    row.require("the other side keeps all of its own", long_staying.cut == 0);
    row.end();
}

/// How many streams were cut, as the process itself counts.
async fn counted(api: &Api) -> u64 {
    metric(api, "tidegate_edge_events_total", &["\"stream_cut\""]).await
}

/// Begins downloads of so many parts; gives those of the target that is going to be left, and the
/// others.
async fn open(tidegate: &Tidegate, parts: usize, left: &str) -> (Vec<Download>, Vec<Download>) {
    let mut opened = Vec::new();
    for _ in 0..sized(32, 200) {
        let mut client = Client::open(tidegate.public()).await.expect("connected");
        let request = format!("GET /{parts} HTTP/1.1\r\nhost: shop.test\r\n\r\n");
        client.send(request).await.expect("sent");
        let head = client.head().await.expect("a head").to_ascii_lowercase();
        let target = head.lines().find_map(|line| line.strip_prefix("x-origin: "));
        let target = target.unwrap_or_else(|| panic!("not of a target: {head}")).to_owned();
        opened.push(Download { client, length: parts * PART.len(), target });
    }
    let parted: (Vec<Download>, Vec<Download>) =
        opened.into_iter().partition(|download| download.target == left);
    assert!(!parted.0.is_empty() && !parted.1.is_empty(), "at half the weight both have some");
    parted
}

/// Waits for the end of each.
async fn ends(downloads: Vec<Download>, changed: Instant) -> Ends {
    let mut running = JoinSet::new();
    for mut download in downloads {
        running.spawn(async move {
            let mut come = 0;
            while come < download.length {
                match download.client.bytes().await {
                    Ok(part) if !part.is_empty() => come += part.len(),
                    Ok(_) | Err(_) => break,
                }
            }
            (come == download.length, changed.elapsed())
        });
    }
    let mut ends = Ends::default();
    while let Some(end) = running.join_next().await {
        let (is_whole, after) = end.expect("no panic");
        ends.whole += usize::from(is_whole);
        ends.cut += usize::from(!is_whole);
        ends.early += usize::from(!is_whole && after < DRAIN_TIMEOUT);
        ends.last_ms = ends.last_ms.max(ms(after));
    }
    ends
}

/// A target that answers a path that is a number with as many parts, one after the other.
async fn dripping(name: &'static str) -> Target {
    Target::start(move |mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
            let parts: usize = request.path.trim_start_matches('/').parse().unwrap_or(0);
            let length = parts * PART.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-origin: {name}\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
            for part in 0..parts {
                // The first one at once: the header of an answer with a length waits for it, and
                // for as much as makes a segment.
                if part > 0 {
                    sleep(PACE).await;
                }
                if stream.write_all(&PART).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
const PART: [u8; 2_048] = [b'd'; 2_048];
/// From one part to the next.
const PACE: Duration = Duration::from_millis(100);
/// A second and a half, half of the drain timeout.
const SHORT: usize = 15;
/// Six seconds: twice the drain timeout.
const LONG: usize = 60;
