//! Open WebSockets through a promotion and a rollback: those of the group that loses its weight
//! live on for the drain timeout and are then closed in their own protocol; the others never
//! notice.

use std::sync::Arc;
use std::time::Duration;

use tidegate::core::rollout::StateName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::{Chat, Said, Tidegate, Turn, serve_chat};
use crate::rig::{
    Row, Scene, Seen, Target, baking_at, ends_as, metric, raise_own_limit, read_request, sized,
    tell,
};

/// How the WebSockets of a group that had to go have ended.
#[derive(Default)]
struct Farewells {
    /// With 1001, in its time.
    clean: usize,
    /// Before the drain timeout was over.
    early: usize,
    /// In any other way.
    cut: usize,
    last_ms: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_outlive_a_promotion_and_a_rollback_and_are_closed_cleanly() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "open WebSockets through promotion and rollback",
        "0 forced closes within drain_timeout; all closed with 1001 after it; the others untouched",
    );
    let (a, b) = (echo("shop-a").await, echo("shop-b").await);
    let scene = Scene {
        service: ", drain_timeout: 2s, min_green: 0".to_owned(),
        blue: vec![a.address()],
        green: vec![b.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();

    let first = baking_at(&api, "v1", "50%").await;
    let (leaving, staying) = open_both(&tidegate, "shop-a").await;
    row.measure("through_promotion", leaving.len() + staying.len());
    let changed = Instant::now();
    tell(&api, &first, "promote").await;
    judge(&mut row, "promotion", &farewells(leaving, changed).await);
    let staying = still_echo(&mut row, "promotion", staying).await;
    ends_as(&api, &first, StateName::Succeeded).await;
    drop(staying);

    let second = baking_at(&api, "v2", "50%").await;
    let (leaving, staying) = open_both(&tidegate, "shop-a").await;
    row.measure("through_rollback", leaving.len() + staying.len());
    let changed = Instant::now();
    tell(&api, &second, "abort").await;
    judge(&mut row, "rollback", &farewells(leaving, changed).await);
    drop(still_echo(&mut row, "rollback", staying).await);
    ends_as(&api, &second, StateName::RolledBack).await;

    let cut = metric(&api, "tidegate_edge_events_total", &["\"stream_cut\""]).await;
    row.measure("counted_as_cut", cut);
    row.require("none is counted as cut", cut == 0);
    row.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_is_to_cut_closes_websockets_of_green_at_once_and_no_others() {
    let _turn = Turn::wait().await;
    raise_own_limit();
    let mut row = Row::begin(
        "open WebSockets through a rollback with streams_on_rollback: cut",
        "all of green closed with 1001 within 2 s of the abort, long before drain_timeout; the \
         others untouched",
    );
    let (a, b) = (echo("shop-a").await, echo("shop-b").await);
    let scene = Scene {
        service: ", drain_timeout: 1h, streams_on_rollback: cut, min_green: 0".to_owned(),
        blue: vec![a.address()],
        green: vec![b.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    let rollout = baking_at(&api, "v1", "50%").await;
    let (leaving, staying) = open_both(&tidegate, "shop-b").await;
    row.measure("through_rollback", leaving.len() + staying.len());
    let changed = Instant::now();
    tell(&api, &rollout, "abort").await;
    let Farewells { clean, early: _, cut, last_ms } = farewells(leaving, changed).await;
    row.measure("closed_with_1001", clean);
    row.measure("cut", cut);
    row.measure("last_after_ms", last_ms);
    row.require("all with 1001", cut == 0);
    row.require("all at once", last_ms <= 2_000);
    drop(still_echo(&mut row, "rollback", staying).await);
    ends_as(&api, &rollout, StateName::RolledBack).await;
    row.end();
}

/// Opens all of them; gives those at the target that is going to leave, and the others.
async fn open_both(tidegate: &Tidegate, leaving: &str) -> (Vec<Chat>, Vec<Chat>) {
    let mut opened = Vec::new();
    for _ in 0..sized(100, 1_000) {
        opened.push(Chat::open(tidegate.public()).await.expect("open"));
    }
    for chat in &mut opened {
        let said = chat.say().await;
        assert_eq!(said, Ok(Said::Echoed), "it does not work before anything happened");
    }
    let parted: (Vec<Chat>, Vec<Chat>) =
        opened.into_iter().partition(|chat| chat.target == leaving);
    assert!(!parted.0.is_empty() && !parted.1.is_empty(), "at half the weight both have some");
    parted
}

async fn still_echo(row: &mut Row, about: &str, mut chats: Vec<Chat>) -> Vec<Chat> {
    let mut dead = 0;
    for chat in &mut chats {
        dead += usize::from(chat.say().await != Ok(Said::Echoed));
    }
    row.measure(&format!("{about}_lost_on_the_other_side"), dead);
    row.require(&format!("{about}: the other side keeps all of its own"), dead == 0);
    chats
}

/// Waits for the end of each.
async fn farewells(chats: Vec<Chat>, changed: Instant) -> Farewells {
    let mut ends = JoinSet::new();
    for mut chat in chats {
        ends.spawn(async move {
            let heard = chat.hear().await;
            let after = changed.elapsed();
            let is_closed = chat.answer_goodbye().await == Ok(true);
            (is_closed && heard == Ok(Said::GoneAway), after)
        });
    }
    let mut farewells = Farewells::default();
    while let Some(end) = ends.join_next().await {
        let (is_clean, after) = end.expect("no panic");
        farewells.clean += usize::from(is_clean);
        farewells.cut += usize::from(!is_clean);
        farewells.early += usize::from(after < DRAIN_TIMEOUT);
        let ms = u64::try_from(after.as_millis()).expect("a short time");
        farewells.last_ms = farewells.last_ms.max(ms);
    }
    farewells
}

fn judge(row: &mut Row, about: &str, farewells: &Farewells) {
    let Farewells { clean, early, cut, last_ms } = farewells;
    row.measure(&format!("{about}_closed_with_1001"), *clean);
    row.measure(&format!("{about}_closed_early"), *early);
    row.measure(&format!("{about}_cut"), *cut);
    row.measure(&format!("{about}_last_after_ms"), *last_ms);
    row.require(&format!("{about}: none before the drain timeout"), *early == 0);
    row.require(&format!("{about}: all with 1001"), *cut == 0);
    row.require(&format!("{about}: all soon after the drain timeout"), *last_ms < 10_000);
}

/// A target that sends every message back.
async fn echo(name: &'static str) -> Target {
    Target::start(move |stream, seen| serve(stream, seen, name)).await
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>, name: &'static str) {
    let mut buffer = Vec::new();
    let Some(request) = read_request(&mut stream, &mut buffer).await else { return };
    seen.note(&request);
    serve_chat(&mut stream, name).await;
}

const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
