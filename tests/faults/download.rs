//! A large download that spans three weight changes arrives whole, and nothing of it is kept: the
//! proxy's memory stays flat.

use crate::kit::Turn;
use crate::rig::{
    Client, LEEWAY_KIB, Memory, Row, Scene, Target, answer_large, byte_at, get, read_request, sized,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_download_outlives_weight_changes_and_takes_no_memory() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "a large download over three weight changes",
        "arrives whole; memory of the proxy grows by less than 16 MiB",
    );
    let (a, b) = (large().await, large().await);
    let scene = Scene { blue: vec![a.address()], green: vec![b.address()], ..Scene::default() };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "50%").await;
    for _ in 0..20 {
        let warm = get(tidegate.public(), &format!("/{WARM}")).await.expect("an answer");
        assert_eq!(warm.body.len() as u64, WARM);
    }
    let memory = Memory::watch(tidegate.id());
    let length: u64 = sized::<u64>(64, 1_024) * 1_024 * 1_024;
    let mut client = Client::open(tidegate.public()).await.expect("connected");
    let request = format!("GET /{length} HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    client.send(request).await.expect("sent");
    let head = client.head().await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut weights = ["10%", "90%", "30%"].into_iter();
    let (mut place, mut next, mut wrong, mut changes) = (0, length / 4, 0_u64, 0);
    loop {
        let part = client.bytes().await.unwrap_or_default();
        if part.is_empty() {
            break;
        }
        for byte in &part {
            wrong += u64::from(*byte != byte_at(place));
            place += 1;
        }
        if place >= next
            && let Some(weight) = weights.next()
        {
            api.split("shop", weight).await;
            changes += 1;
            next += length / 4;
        }
        if place == length {
            break;
        }
    }
    row.measure("bytes", place);
    row.measure("wrong_bytes", wrong);
    row.measure("weight_changes", changes);
    row.measure("memory_before_kib", memory.before_kib());
    row.measure("memory_grown_kib", memory.grown_kib());
    row.require("it arrives whole", place == length && wrong == 0);
    row.require("three weight changes fall into it", changes == 3);
    row.require("memory stays flat", memory.grown_kib() < LEEWAY_KIB);
    row.end();
}

/// A target that answers a path that is a number with as many bytes.
async fn large() -> Target {
    Target::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
            let length = request.path.trim_start_matches('/').parse().unwrap_or(0);
            if !answer_large(&mut stream, length).await {
                return;
            }
        }
    })
    .await
}

/// The length of a download that warms the process up.
const WARM: u64 = 8 * 1_024 * 1_024;
