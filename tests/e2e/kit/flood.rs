//! A process that says more than anybody reads.

use rustix::process::Signal;

use super::{Api, Tidegate, until};

/// Has a process whose log nobody reads say so much that it drops lines: reloads of a configuration
/// with a great many mistakes, which it tells one by one.
pub(crate) async fn flood_log(tidegate: &Tidegate) {
    let home = tidegate.home();
    let good = std::fs::read_to_string(home.path().join("tidegate.yaml")).expect("configured");
    let name = "x".repeat(100);
    let mistakes: Vec<String> =
        (0..MISTAKES).map(|number| format!("{name}{number}: 1\n")).collect();
    home.configure(&format!("{good}\n{}", mistakes.concat()));
    until("lines are dropped", async || {
        tidegate.signal(Signal::HUP);
        dropped_lines(&tidegate.api()).await > 0
    })
    .await;
    home.configure(&good);
}

/// How many lines of its log a process has dropped.
pub(crate) async fn dropped_lines(api: &Api) -> u64 {
    let reply = api.ask("GET", "/metrics", None).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let mut lines = reply.body.lines();
    let value = lines.find_map(|line| line.strip_prefix("tidegate_log_lines_dropped_total "));
    value.and_then(|value| value.parse().ok()).expect("the metric is there")
}

/// As many as are told of one configuration.
const MISTAKES: u32 = 1_000;
