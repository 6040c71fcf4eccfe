//! How often targets are tried that are all dead: twice at the most, as the targets themselves and
//! the access log count it, where Pingora by itself tries sixteen times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::kit::{PATIENCE, Ports, Tidegate, until};

/// Targets that accept a connection, read a request and break off.
struct Broken {
    addresses: Vec<SocketAddr>,
    /// How many connections they were asked on.
    asked: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_break_off_are_tried_twice_and_for_a_post_once() {
    let broken = Broken::start().await;
    let tidegate = Tidegate::start(|ports| config(ports, &broken.addresses)).await;
    for (method, most) in [("POST", 1), ("GET", 2)] {
        let before = broken.asked();
        for number in 0..REQUESTS {
            let status = ask(tidegate.public(), method, number).await;
            assert_eq!(status, "502", "{method}");
        }
        let asked = broken.asked() - before;
        let range = REQUESTS..=REQUESTS * most;
        assert!(range.contains(&asked), "{REQUESTS} x {method} came {asked} times");
        // The budget has let the first of them have a second attempt.
        assert!(method == "POST" || asked > REQUESTS, "no second attempt: {asked}");
    }
    let attempts = attempts(&tidegate, REQUESTS * 2).await;
    assert!(attempts.iter().all(|tries| (1..=2).contains(tries)), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_refuse_connections_are_tried_twice() {
    // Nothing listens below the ports that anybody may have; each address is a target of its own.
    let nobody: Vec<SocketAddr> = (1..=3).map(|last| ([127, 0, 0, last], 1).into()).collect();
    let tidegate = Tidegate::start(|ports| config(ports, &nobody)).await;
    for number in 0..REQUESTS {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let status = ask(tidegate.public(), method, number).await;
        // A 503 once they are known to be down; they are tried all the same.
        assert!(["502", "503"].contains(&status.as_str()), "{method}: {status}");
    }
    let attempts = attempts(&tidegate, REQUESTS).await;
    assert!(attempts.iter().all(|tries| (1..=2).contains(tries)), "{attempts:?}");
    assert_eq!(attempts.iter().max(), Some(&2), "no second attempt");
}

impl Broken {
    async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let (mut addresses, mut accepting) = (Vec::new(), JoinSet::new());
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            addresses.push(listener.local_addr().expect("bound"));
            let asked = Arc::clone(&asked);
            accepting.spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut some = [0; 1_024];
                    if stream.read(&mut some).await.is_ok_and(|count| count > 0) {
                        asked.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        Self { addresses, asked, _accepting: accepting }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// How many attempts each request had, as the access log says once it has so many.
async fn attempts(tidegate: &Tidegate, asked: usize) -> Vec<u64> {
    let file = tidegate.home().path().join("access.log");
    let mut log = String::new();
    until("the access log has them all", async || {
        log = std::fs::read_to_string(&file).unwrap_or_default();
        log.lines().filter(|line| line.contains("/asked/")).count() == asked && log.ends_with('\n')
    })
    .await;
    let lines = log.lines().filter(|line| line.contains("/asked/"));
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("an object");
            line["attempts"].as_u64().expect("a number")
        })
        .collect()
}

/// Asks once, on a connection of its own; gives the status.
async fn ask(public: SocketAddr, method: &str, number: usize) -> String {
    let request = format!(
        "{method} /asked/{number} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    let asked = async {
        let mut stream = TcpStream::connect(public).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    timeout(PATIENCE, asked).await.expect("an answer in time")
}

fn config(ports: &Ports, targets: &[SocketAddr]) -> String {
    let Ports { public, admin } = ports;
    let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
    let targets = targets.join(", ");
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: [{targets}] }}
  shop-b: {{ targets: [] }}
services:
  # Each request has to meet the same dead targets.
  shop: {{ target_groups: [shop-a, shop-b], outlier_ejection: off }}
access_log: {{ path: access.log }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}

/// Few enough for their second attempts to be within the least that a budget allows.
const REQUESTS: usize = 8;
