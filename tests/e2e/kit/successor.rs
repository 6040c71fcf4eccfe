//! Processes that take over from the one that a test has started.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::wire::Wire;
use super::{Home, PATIENCE, until};

/// Has the process in a folder upgraded, and waits for the command's end.
pub(crate) async fn upgrade(home: &Home, more: &[&str]) -> Output {
    let upgrading = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["upgrade", "--json", "--config"])
        .arg(home.path().join("tidegate.yaml"))
        .args(more)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(PATIENCE, upgrading).await.expect("it ends in time").expect("it runs")
}

/// A process that serves now; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Successor {
    pid: Pid,
}

impl Successor {
    /// The process that a successful upgrade names.
    pub(crate) fn named_by(upgraded: &Output) -> Self {
        let said = String::from_utf8_lossy(&upgraded.stdout);
        let failed = String::from_utf8_lossy(&upgraded.stderr);
        assert!(upgraded.status.success(), "{}: {said}{failed}", upgraded.status);
        let said: Value = serde_json::from_str(&said).expect("an object");
        let pid = said["new_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        Self { pid: pid.and_then(Pid::from_raw).expect("a process id") }
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        kill_process(self.pid, Signal::TERM).expect("it can be asked");
    }

    /// The file that it runs.
    pub(crate) fn binary(&self) -> PathBuf {
        let link = format!("/proc/{}/exe", self.pid.as_raw_pid());
        std::fs::read_link(link).expect("it runs")
    }

    /// Whether it has ended; nobody here is its parent.
    pub(crate) fn is_gone(&self) -> bool {
        let stat = format!("/proc/{}/stat", self.pid.as_raw_pid());
        let stat = std::fs::read_to_string(stat).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        state.is_none_or(|state| state == "Z" || state == "X")
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_gone() {
            // It may have gone just now.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }
}

/// A process that begins to take over and goes no further than the test wants; it breaks off when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct FakeSuccessor {
    wire: Wire,
}

impl FakeSuccessor {
    /// Asks for the sockets, and is given them.
    pub(crate) async fn take(home: &Home) -> Self {
        let door = home.path().join("tidegate.upgrade.sock");
        until("it can be asked to give way", async || door.exists()).await;
        let mut fake = Self { wire: Wire::over(connect(&door).await) };
        fake.wire.say(&json!({ "take": { "protocol": 2, "version": "0.0.0" } })).await;
        while fake.hear().await != json!("all_sockets") {}
        fake
    }

    /// Has the process that serves let go of its store.
    pub(crate) async fn pause(&mut self) {
        self.wire.say(&json!("pause")).await;
        while self.hear().await != json!("paused") {}
    }

    async fn hear(&mut self) -> Value {
        let message = self.wire.hear().await;
        assert!(message.get("no").is_none(), "{message}");
        message
    }
}

async fn connect(path: &Path) -> UnixStream {
    UnixStream::connect(path).await.expect("the process can be asked")
}
