//! A process that is being taken over from, and goes no further than the test wants.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Home, PATIENCE};

/// The old process of an upgrade, without a socket to hand over.
#[derive(Debug)]
pub(crate) struct FakePredecessor {
    stream: UnixStream,
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
        let mut fake = Self { stream, successor };
        let asked = fake.hear().await;
        assert!(asked.get("take").is_some(), "{asked}");
        fake.say(&json!("all_sockets")).await;
        assert_eq!(fake.hear().await, json!("pause"));
        fake
    }

    /// Lets go of the store; gives what the new process says to that, and how it has ended.
    pub(crate) async fn lets_go(mut self) -> (Value, Output) {
        self.say(&json!("paused")).await;
        let said = self.hear().await;
        drop(self.stream);
        (said, self.successor.await.expect("no panic"))
    }

    async fn say(&mut self, message: &Value) {
        let body = message.to_string();
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.stream.write_all(&[&length, body.as_bytes()].concat()).await.expect("said");
    }

    async fn hear(&mut self) -> Value {
        let heard = async {
            let length = self.stream.read_u32().await.expect("a length");
            let mut body = vec![0; usize::try_from(length).expect("short")];
            self.stream.read_exact(&mut body).await.expect("a message");
            serde_json::from_slice(&body).expect("JSON")
        };
        timeout(PATIENCE, heard).await.expect("an answer in time")
    }
}
