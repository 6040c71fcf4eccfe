//! The process' own log: nothing said before the end is lost, and nobody waits for a reader, least
//! of all whoever wants to end the process.

use crate::kit::{Origin, Ports, Successor, Tidegate, dropped_lines, flood_log, until, upgrade};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_says_before_its_end_is_in_its_log() {
    let blue = Origin::start("shop-a").await;
    let mut tidegate = Tidegate::start(|ports| config(ports, &blue)).await;
    tidegate.end().await;
    let said = tidegate.home().said();
    for part in ["listening", "admin API", "draining"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_log_nobody_reads_hands_over_and_ends_as_asked() {
    let blue = Origin::start("shop-a").await;
    let (mut tidegate, unread) = Tidegate::start_unread(|ports| config(ports, &blue)).await;
    let door = tidegate.home().path().join("tidegate.upgrade.sock");
    until("it can be asked to give way", async || door.exists()).await;
    flood_log(&tidegate).await;
    let next = Successor::named_by(&upgrade(tidegate.home(), &[]).await);
    assert!(tidegate.ended().await.success());
    // It says it to the same pipe, which is full, and has a buffer of its own.
    assert_eq!(dropped_lines(&tidegate.api()).await, 0);
    let service = tidegate.api().split("shop", "10%").await;
    assert_eq!(service.weights.in_force.green.to_string(), "10%");
    next.ask_to_end();
    until("the successor has ended", async || next.is_gone()).await;
    drop(unread);
}

fn config(ports: &Ports, blue: &Origin) -> String {
    let Ports { public, admin } = ports;
    let blue = blue.address();
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{blue}'] }}
  shop-b: {{ targets: ['{blue}'] }}
services:
  shop: {{ target_groups: [shop-a, shop-b] }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
shutdown: {{ drain: 10s }}
"
    )
}
