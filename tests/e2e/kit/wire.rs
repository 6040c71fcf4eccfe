//! What the two processes of an upgrade say to each other: JSON, each message behind its length.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::PATIENCE;

/// One end of the connection between them.
#[derive(Debug)]
pub(super) struct Wire(UnixStream);

impl Wire {
    pub(super) fn over(stream: UnixStream) -> Self {
        Self(stream)
    }

    pub(super) async fn say(&mut self, message: &Value) {
        let body = message.to_string();
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.0.write_all(&[&length, body.as_bytes()].concat()).await.expect("said");
    }

    pub(super) async fn hear(&mut self) -> Value {
        let heard = async {
            let length = self.0.read_u32().await.expect("a length");
            let mut body = vec![0; usize::try_from(length).expect("short")];
            self.0.read_exact(&mut body).await.expect("a message");
            serde_json::from_slice(&body).expect("JSON")
        };
        timeout(PATIENCE, heard).await.expect("an answer in time")
    }
}
