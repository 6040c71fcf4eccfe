//! The demo as a newcomer sees it: the real binary shows a release and a rollback within two
//! minutes, and leaves nothing behind.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kit::Turn;

/// What is promised.
const LONGEST: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_a_release_and_a_rollback_within_two_minutes() {
    let _turn = Turn::wait().await;
    let folder = TempDir::new().expect("a folder");
    let demo = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = timeout(LONGEST, demo).await.expect("two minutes are enough").expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{}: {said}", ended.status);
    let shown = Shown::read(&String::from_utf8_lossy(&ended.stdout));

    let summary = &shown.summary;
    let ends: Vec<_> = shown.acts().iter().map(|act| (&act["revision"], &act["found"])).collect();
    assert_eq!(ends, [(&json!("v2"), &json!("succeeded")), (&json!("v3"), &json!("rolled_back"))]);
    assert_eq!((&summary["shift_errors"], &summary["blue_failed"]), (&json!(0), &json!(0)));
    for number in ["sent", "blue", "green", "leaked", "first_bad_to_zero_green_ms"] {
        assert!(summary[number].as_u64().is_some_and(|n| n > 0), "{number}: {summary}");
    }
    for act in shown.acts() {
        assert!(act["verdicts"].as_u64().is_some_and(|n| n > 0), "the gate was asked: {act}");
    }

    let raised = shown.details("green_raised");
    let steps: Vec<&Value> = raised.iter().take(4).map(|detail| &detail["to"]).collect();
    assert_eq!(steps, ["10%", "25%", "50%", "100%"], "{raised:?}");
    assert!(raised.len() > 4, "the bad revision had traffic, too");
    let lowered = shown.details("green_lowered");
    assert_eq!(lowered.last().map(|detail| &detail["to"]), Some(&json!("0%")), "{lowered:?}");
    assert!(shown.statuses > 10, "only {} times it said where it stands", shown.statuses);

    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "{left} things are left behind");
}

/// What the demo showed to a machine.
struct Shown {
    events: Vec<Value>,
    statuses: usize,
    /// Its last line.
    summary: Value,
}

impl Shown {
    fn read(text: &str) -> Self {
        let object = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let mut lines: Vec<Value> = text.lines().map(object).collect();
        let mut last = lines.pop().expect("it shows something");
        let statuses = lines.iter().filter(|line| line["status"].is_object()).count();
        let events = lines.into_iter().map(|mut line| line["event"].take());
        Self {
            events: events.filter(Value::is_object).collect(),
            statuses,
            summary: last["summary"].take(),
        }
    }

    /// How each act went.
    fn acts(&self) -> &[Value] {
        self.summary["acts"].as_array().expect("a summary at the end")
    }

    /// What is told of each event of a kind.
    fn details(&self, kind: &str) -> Vec<&Value> {
        let of_kind = self.events.iter().filter(|event| event["kind"] == kind);
        of_kind.map(|event| &event["detail"]).collect()
    }
}
