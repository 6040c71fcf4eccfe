//! Daemons that other people wrote, each in a folder and on a port of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::kit::{PATIENCE, Ports, report, until};

/// A port on which nothing listens now.
pub(crate) fn free_port() -> SocketAddr {
    Ports::free().public
}

/// A daemon that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Daemon {
    /// Starts Debian's Prometheus with a configuration.
    pub(crate) async fn prometheus(address: SocketAddr, config: &str) -> Self {
        Self::start("prometheus", address, config, "/-/ready", |folder, config| {
            vec![
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--web.listen-address={address}"),
            ]
        })
        .await
    }

    /// Starts Debian's Alertmanager with a configuration.
    pub(crate) async fn alertmanager(address: SocketAddr, config: &str) -> Self {
        Self::start("prometheus-alertmanager", address, config, "/-/ready", |folder, config| {
            vec![
                format!("--config.file={}", config.display()),
                format!("--storage.path={}", folder.join("data").display()),
                format!("--web.listen-address={address}"),
                // It is alone.
                "--cluster.listen-address=".to_owned(),
            ]
        })
        .await
    }

    async fn start(
        program: &str,
        address: SocketAddr,
        config: &str,
        ready: &str,
        arguments: impl Fn(&Path, &Path) -> Vec<String>,
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).expect("written");
        let said = File::create(folder.path().join(SAID)).expect("a log");
        let child = Command::new(program)
            .args(arguments(folder.path(), &file))
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a second handle"))
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; {INSTALL}"));
        let mut daemon = Self { address, folder, child };
        until(&format!("{program} is ready"), async || {
            let ended = daemon.child.try_wait().expect("waited for");
            assert!(ended.is_none(), "{program} ended: {}", daemon.said());
            daemon.ask("GET", ready, None).await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        daemon
    }

    /// Asks it something; `None` without an answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Option<(u16, String)> {
        let body = body.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            Some(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(PATIENCE, asked).await.ok()??;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer))
    }

    /// Kills it.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(SAID)).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            report(&lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
        }
    }
}

const INSTALL: &str = "`scripts/prepare.sh test` installs what the tests run";
const SAID: &str = "said.log";
/// How many lines a failed test shows.
const SHOWN: usize = 60;
