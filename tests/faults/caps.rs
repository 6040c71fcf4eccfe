//! More connections than a client, or a listener, may have: what is above is refused, the others
//! never notice, and a place is free again when its connection ends.

use std::net::Ipv4Addr;

use crate::kit::{Tidegate, Turn, until};
use crate::rig::{Client, Row, Scene, Target, metric};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_a_cap_are_refused_and_the_others_served() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "connection caps",
        "above connections_per_client refused, another client served; above connections refused; \
         let in again after a close",
    );
    let blue = Target::sound("blue").await;
    let scene = Scene {
        listener: format!(
            ", limits: {{ connections: {ALL}, connections_per_client: {PER_CLIENT} }}"
        ),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let (mut kept, refused) = crowd(&tidegate, 1, PER_CLIENT + 5).await;
    row.measure("of_one_client_served", kept.len());
    row.measure("of_one_client_refused", refused);
    row.require("a client has as many as it may", kept.len() == PER_CLIENT && refused == 5);
    let (others, refused) = crowd(&tidegate, 2, PER_CLIENT).await;
    row.measure("of_another_served", others.len());
    row.require("another client is served", others.len() == PER_CLIENT && refused == 0);
    let (third, refused) = crowd(&tidegate, 3, PER_CLIENT).await;
    row.measure("of_a_third_served", third.len());
    row.measure("of_a_third_refused", refused);
    let left = ALL - 2 * PER_CLIENT;
    row.require("the listener has as many as it may", third.len() == left);
    let mut still = 0;
    for client in &mut kept {
        still += usize::from(client.ask(REQUEST).await.is_ok_and(|answer| answer.status == 200));
    }
    row.measure("of_one_client_still_served", still);
    row.require("those that are in stay in", still == PER_CLIENT);
    let api = tidegate.api();
    for (event, expected) in [("client_full", 5), ("listener_full", PER_CLIENT - left)] {
        let label = format!("\"{event}\"");
        let counted = metric(&api, "tidegate_edge_events_total", &[&label]).await;
        row.measure(event, counted);
        row.require(&format!("{event} is counted"), counted == expected as u64);
    }
    drop(kept);
    drop(others);
    until("there is room again", async || crowd(&tidegate, 1, 1).await.1 == 0).await;
    row.end();
}

/// Opens connections from an address and asks once on each; gives those that were served, and how
/// many were not.
async fn crowd(tidegate: &Tidegate, last: u8, connections: usize) -> (Vec<Client>, usize) {
    let (mut served, mut refused) = (Vec::new(), 0);
    for _ in 0..connections {
        let from = Ipv4Addr::new(127, 0, 0, last);
        let opened = Client::open_from(from, tidegate.public()).await;
        let mut client = opened.expect("the system lets everybody in");
        match client.ask(REQUEST).await {
            Ok(answer) if answer.status == 200 => served.push(client),
            Ok(_) | Err(_) => refused += 1,
        }
    }
    (served, refused)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
const PER_CLIENT: usize = 20;
const ALL: usize = 50;
