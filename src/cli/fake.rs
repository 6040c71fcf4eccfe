//! For tests: an API that answers from a list, and what it tells of.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client::Client;
use crate::admin::json::{Rollout, Service};

/// An API that gives its answers one after the other, the last one again and again.
#[derive(Debug)]
pub(super) struct Fake {
    url: String,
    token: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Fake {
    pub(super) async fn start(answers: Vec<(u16, Value)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("admin.token");
        std::fs::write(&token, "tg_1\n").expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = tokio::spawn(serve(listener, answers, Arc::clone(&asked)));
        Self { url, token, asked, server, _folder: folder }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.url, Some(&self.token)).expect("a client")
    }

    /// Ends the API, and gives a client of it.
    pub(super) async fn gone(mut self) -> Client {
        let client = self.client();
        self.server.abort();
        let _ = (&mut self.server).await;
        client
    }

    /// The first line of every request.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, answers: Vec<(u16, Value)>, asked: Arc<Mutex<Vec<String>>>) {
    let mut answers = answers.into_iter();
    let mut last = None;
    while let Ok((stream, _)) = listener.accept().await {
        last = answers.next().or(last);
        let (status, body) = last.clone().expect("there is an answer");
        let line = answer(stream, status, &body.to_string()).await;
        asked.lock().expect("not poisoned").push(line);
    }
}

/// Answers one request whose head comes in one piece, and closes.
async fn answer(mut stream: TcpStream, status: u16, body: &str) -> String {
    let mut request = vec![0; 16 * 1024];
    let length = stream.read(&mut request).await.expect("a request");
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let text = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.expect("taken");
    request.lines().next().unwrap_or_default().to_owned()
}

pub(super) fn rollout() -> Rollout {
    serde_json::from_value(json!({
        "id": "d-ABCDEFGHI", "service": "shop", "state": "shifting", "stage": "AllowTraffic",
        "step": 0, "weight": "10%", "green_bp": 1000, "revision": "v2", "strategy": "careful",
        "steps": [
            { "weight": "10%", "green_bp": 1000, "bake": "2m", "bake_ms": 120_000, "samples": 500, "evidence": false },
            { "approval": { "timeout": "1h", "timeout_ms": 3_600_000, "on_timeout": "rollback" } },
            { "weight": "100%", "green_bp": 10000, "bake": "0s", "bake_ms": 0, "evidence": false },
        ],
        "final_bake": { "for": "15m", "for_ms": 900_000 },
        "description": "build 7", "created_by": "pipeline",
        "holds": [{ "kind": "samples", "text": "312 more green requests" }],
        "bake": { "length": "2m", "length_ms": 120_000, "watched": "30s", "watched_ms": 30_000, "scored": 188 },
        "green_requests": 188, "green_failed": 2, "created": "2026-01-31T12:00:00Z",
        "later": "fields that a newer API adds are no mistake",
    }))
    .expect("a rollout")
}

pub(super) fn service() -> Service {
    let target = |port: u16, health: &str| json!({ "address": format!("127.0.0.1:{port}"), "health": health, "in_flight": 0 });
    serde_json::from_value(json!({
        "name": "shop", "version": 7, "strategy": "careful", "active_rollout": "d-ABCDEFGHI",
        "blue": { "target_group": "shop-a", "revision": "v1", "registered": false, "healthy": 1,
            "targets": [target(9001, "healthy")], "requests": 10, "failed": 0 },
        "green": { "target_group": "shop-b", "revision": "v2", "registered": true, "healthy": 1,
            "targets": [target(9002, "healthy"), target(9003, "unhealthy")], "requests": 1, "failed": 0 },
        "weights": {
            "configured": { "green": "10.25%", "green_bp": 1025 },
            "in_force": { "green": "10%", "green_bp": 1000 },
            "observed": { "green": "12.5%", "green_bp": 1250, "green_requests": 1, "requests": 8 },
        },
    }))
    .expect("a service")
}
