//! A client of the admin API.

use std::net::SocketAddr;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use tidegate::admin::json::{LedgerEntry, Page, Problem, Rollout, Service};
use tidegate::core::ledger::Entry;

use super::PATIENCE;

/// The admin API of one process.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    address: SocketAddr,
    /// `None` sends no token.
    token: Option<String>,
}

/// An answer of it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

impl Api {
    /// The API at an address, with the token that the first start has left in a folder.
    pub(crate) fn of(address: SocketAddr, folder: &Path) -> Self {
        let token = std::fs::read_to_string(folder.join("admin.token")).ok();
        Self { address, token: token.map(|token| token.trim().to_owned()) }
    }

    /// The same with another token.
    pub(crate) fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// Asks something, `body` as it is.
    ///
    /// # Errors
    /// There was no whole answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<Reply, String> {
        let asked = timeout(PATIENCE, self.exchange(method, path, body)).await;
        let answer = asked.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.map_err(|error| error.to_string())?;
        let whole = || format!("not an answer: {answer:?}");
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(whole)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Reply { status: status.ok_or_else(whole)?, body: body.to_owned() })
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> std::io::Result<String> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        head.push_str("connection: close\r\n");
        if let Some(token) = &self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if let Some(body) = body {
            let length = body.len();
            head.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        let request = format!("{head}\r\n{}", body.unwrap_or_default());
        let mut stream = TcpStream::connect(self.address).await?;
        // A request that is refused for its length may be answered before it is written.
        let written = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        if answer.is_empty() {
            written.and(read.map(drop))?;
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Changes something.
    ///
    /// # Errors
    /// Why it was refused.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<T, Problem> {
        let reply = self.ask(method, path, Some(&body.to_string())).await.expect("an answer");
        if reply.status < 300 { Ok(reply.read()) } else { Err(reply.read()) }
    }

    /// Reads something that is there.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let reply = self.ask("GET", path, None).await.expect("an answer");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.read()
    }

    /// A service.
    pub(crate) async fn service(&self, name: &str) -> Service {
        self.read(&format!("/v1/services/{name}")).await
    }

    /// A rollout without its history.
    pub(crate) async fn rollout(&self, id: &str) -> Rollout {
        self.read(&format!("/v1/rollouts/{id}?history=false")).await
    }

    /// Sets a split by hand.
    pub(crate) async fn split(&self, service: &str, green: &str) -> Service {
        let path = format!("/v1/services/{service}/split");
        self.change("PUT", &path, &json!({ "green": green })).await.expect("a split")
    }

    /// Starts a rollout onto the targets that green has already.
    ///
    /// # Errors
    /// Why it was refused.
    pub(crate) async fn roll_out(&self, service: &Service, to: &str) -> Result<Rollout, Problem> {
        let targets: Vec<&String> = service.green.targets.iter().map(|t| &t.address).collect();
        let path = format!("/v1/services/{}/rollouts", service.name);
        self.change("POST", &path, &json!({ "revision": to, "targets": targets })).await
    }

    /// The whole ledger, or what of it is about one rollout, oldest first.
    pub(crate) async fn ledger(&self, rollout: Option<&str>) -> Vec<Entry> {
        let about = rollout.map(|id| format!("&rollout={id}")).unwrap_or_default();
        let mut entries = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/ledger?order=oldest&limit=1000{about}{cursor}");
            let page: Page<LedgerEntry> = self.read(&path).await;
            entries.extend(page.items.into_iter().map(Entry::from));
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return entries,
            }
        }
    }
}

impl Reply {
    /// The body as what it is expected to be.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.body))
    }
}
