//! Connections that wait in the pool, and that their target closes at the moment at which they are
//! used again: what may be repeated is, what may not is told, and nothing runs twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::kit::Turn;
use crate::rig::{
    Method, Plan, Row, Sample, Scene, Seen, Target, Traffic, answer_with, read_request, sized,
};

/// How a target closes its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closes {
    /// In good order, right after an answer.
    AtOnce,
    /// In good order, after a second without a request.
    Idle,
    /// By a reset, right after an answer.
    Reset,
}

impl Closes {
    const ALL: [Self; 3] = [Self::AtOnce, Self::Idle, Self::Reset];

    async fn serve(self, mut stream: TcpStream, seen: Arc<Seen>) {
        let _ = stream.set_nodelay(true);
        let mut buffer = Vec::new();
        let mut answers = 0;
        loop {
            let request = read_request(&mut stream, &mut buffer);
            let request = match self {
                Self::Idle => timeout(IDLE, request).await.ok().flatten(),
                Self::AtOnce | Self::Reset => request.await,
            };
            let Some(request) = request else { return };
            seen.note(&request);
            if !answer_with(&mut stream, "closing", "ok").await {
                return;
            }
            answers += 1;
            match self {
                Self::Idle => {}
                Self::AtOnce if answers == ANSWERS => return,
                Self::Reset if answers == ANSWERS => {
                    // What was sent has to arrive before the reset throws it away.
                    sleep(ARRIVES).await;
                    let _ = stream.set_zero_linger();
                    return;
                }
                Self::AtOnce | Self::Reset => {}
            }
        }
    }

    /// The load at which its connections end while somebody may want them.
    fn load(self, address: SocketAddr) -> Vec<Traffic> {
        match self {
            Self::AtOnce | Self::Reset => {
                let per_second = sized(1_000, 2_000);
                vec![Traffic::start(address, Plan { per_second, connections: 16, post_every: 4 })]
            }
            // All at once, and again when their connections have been idle for as long as they may.
            Self::Idle => (0..8)
                .map(|number| {
                    // The paths of POST requests are their own in one of them alone.
                    let post_every = u64::from(number == 0);
                    Traffic::start(address, Plan { per_second: 1, connections: 1, post_every })
                })
                .collect(),
        }
    }

    fn requests(self) -> u64 {
        match self {
            Self::AtOnce | Self::Reset => sized(1_500, 49_800),
            Self::Idle => sized(32, 400),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_as_it_is_used_again_loses_no_get_and_doubles_no_post() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "pooled connection closed by the target at the moment of reuse",
        "0 lost GET, 0 doubled POST; a POST is answered or a 502",
    );
    for closes in Closes::ALL {
        let target = Target::start(move |stream, seen| closes.serve(stream, seen)).await;
        let scene = Scene {
            // One target alone, so that no other one can help out.
            service: ", outlier_ejection: off".to_owned(),
            blue: vec![target.address()],
            green: Vec::new(),
            ..Scene::default()
        };
        let tidegate = scene.start().await;
        let load = closes.load(tidegate.public());
        let in_time = timeout(LONGEST, all_asked(&load, closes.requests())).await.is_ok();
        let mut samples = Vec::new();
        for traffic in load {
            samples.append(&mut traffic.stop().await);
        }
        let name = format!("{closes:?}");
        row.require(&format!("{name}: in time"), in_time);
        judge(&mut row, &name, &samples, &target.seen().requests());
    }
    row.end();
}

/// Resolves when so many requests have begun.
async fn all_asked(load: &[Traffic], requests: u64) {
    while load.iter().map(Traffic::begun).sum::<u64>() < requests {
        sleep(Duration::from_millis(10)).await;
    }
}

fn judge(row: &mut Row, name: &str, samples: &[Sample], seen: &[String]) {
    let failed: Vec<&Sample> = samples.iter().filter(|s| s.failure().is_some()).collect();
    let gets = failed.iter().filter(|sample| sample.method == Method::Get).count();
    let posts = failed.len() - gets;
    let untold = failed.iter().filter(|sample| {
        let why = sample.failure().unwrap_or_default();
        !why.starts_with("HTTP/1.1 502 ") || !why.contains("target_broken")
    });
    let untold = untold.count();
    let mut times: HashMap<&str, u32> = HashMap::new();
    for post in seen.iter().filter(|request| request.starts_with("POST ")) {
        *times.entry(post).or_default() += 1;
    }
    let doubled = times.values().filter(|times| **times > 1).count();
    row.measure(&format!("{name}: requests"), samples.len());
    row.measure(&format!("{name}: seen_by_the_target"), seen.len());
    row.measure(&format!("{name}: failed_gets"), gets);
    row.measure(&format!("{name}: posts_answered_502"), posts);
    row.measure(&format!("{name}: posts_doubled"), doubled);
    if let Some(why) = failed.iter().find_map(|sample| sample.failure()) {
        row.measure(&format!("{name}: failure"), why);
    }
    row.require(&format!("{name}: no GET is lost"), gets == 0);
    row.require(&format!("{name}: no POST runs twice"), doubled == 0);
    row.require(&format!("{name}: what fails is told"), untold == 0);
}

/// So many answers a connection gives.
const ANSWERS: u32 = 10;
/// How long the load may take.
const LONGEST: Duration = Duration::from_secs(120);
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(1);
/// Longer than an answer takes to the other side of a loopback.
const ARRIVES: Duration = Duration::from_millis(1);
