//! A process that is being taken over from, and goes no further than the test wants.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::wire::Wire;
use super::{Home, PATIENCE};

/// The old process of an upgrade, without a socket to hand over.
#[derive(Debug)]
pub(crate) struct FakePredecessor {
    wire: Wire,
    successor: JoinHandle<Output>,
}

impl FakePredecessor {
    /// Has a process take over that serves what is in a folder, up to where it wants the store.
    pub(crate) async fn paused(home: &Home) -> Self {
        let door = UnixListener::bind(home.path().join("tidegate.upgrade.sock")).expect("bound");
        let successor = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--takeover", "--config"])
            .arg(home.path().join("tidegate.yaml"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let successor = async { timeout(PATIENCE, successor).await.expect("it ends in time") };
        let successor = tokio::spawn(async { successor.await.expect("it runs") });
        let accepted = timeout(PATIENCE, door.accept()).await.expect("it asks in time");
        let (stream, _) = accepted.expect("a connection");
        let mut fake = Self { wire: Wire::over(stream), successor };
        let asked = fake.wire.hear().await;
        assert!(asked.get("take").is_some(), "{asked}");
        fake.wire.say(&json!("all_sockets")).await;
        assert_eq!(fake.wire.hear().await, json!("pause"));
        fake
    }

    /// Lets go of the store; gives what the new process says to that, and how it has ended.
    pub(crate) async fn lets_go(mut self) -> (Value, Output) {
        self.wire.say(&json!("paused")).await;
        let said = self.wire.hear().await;
        drop(self.wire);
        (said, self.successor.await.expect("no panic"))
    }
}
