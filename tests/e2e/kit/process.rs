//! The real binary in a folder of its own: started, killed, started again.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Api, PATIENCE, Ports, report, until};

/// How the binary is told to serve a configuration.
fn serve(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["serve", "--config"]).arg(config).env("NO_COLOR", "1");
    command.env("TIDEGATE_LOG", "pingora_core::connectors=error");
    command
}

/// A folder with a configuration in it, and what the processes that served it have said.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    /// A folder with this configuration.
    pub(crate) fn with(config: &str) -> Self {
        let home = Self { folder: TempDir::new().expect("a folder") };
        home.configure(config);
        home
    }

    /// Gives it another configuration.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.config(), config).expect("written");
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What is in it, by name, but for what the processes have said.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned())
            .filter(|name| name != SAID)
            .collect();
        names.sort();
        names
    }

    fn config(&self) -> PathBuf {
        self.path().join("tidegate.yaml")
    }

    /// Starts the binary.
    fn spawn(&self) -> Child {
        let said = self.path().join(SAID);
        let said = OpenOptions::new().create(true).append(true).open(said).expect("a log");
        self.spawn_saying_to(said.into())
    }

    /// Starts the binary with this as its standard error.
    fn spawn_saying_to(&self, stderr: Stdio) -> Child {
        serve(&self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts")
    }

    /// What the processes have said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path().join(SAID)).unwrap_or_default()
    }

    /// Starts the binary, which is expected to refuse; gives what it said about that.
    pub(crate) async fn refused(&self) -> String {
        File::create(self.path().join(SAID)).expect("a log");
        let mut child = self.spawn();
        let status = timeout(PATIENCE, child.wait()).await;
        let said = self.said();
        let status = status.unwrap_or_else(|_| panic!("it serves: {said}")).expect("it ended");
        assert!(!status.success(), "{said}");
        said
    }
}

/// A process that serves.
#[derive(Debug)]
pub(crate) struct Tidegate {
    home: Home,
    ports: Ports,
    /// `None` after it was killed or ended.
    child: Option<Child>,
}

impl Tidegate {
    /// Starts one that is ready, with the configuration that is written for its ports.
    pub(crate) async fn start(config: impl Fn(&Ports) -> String) -> Self {
        let mut tidegate = Self::spawn(config).await;
        tidegate.ready().await;
        tidegate
    }

    /// Starts one that lives, and need not be ready.
    pub(crate) async fn spawn(config: impl Fn(&Ports) -> String) -> Self {
        for _ in 0..PORT_CONFLICTS {
            let ports = Ports::free();
            let home = Home::with(&config(&ports));
            let child = Some(home.spawn());
            let mut tidegate = Self { home, ports, child };
            if tidegate.comes_to_life().await {
                return tidegate;
            }
        }
        panic!("no ports could be had");
    }

    /// Starts one that is ready and whose standard error is a pipe; what is given is the pipe's other
    /// end, which nobody reads.
    pub(crate) async fn start_unread(config: impl Fn(&Ports) -> String) -> (Self, PipeReader) {
        for _ in 0..PORT_CONFLICTS {
            let ports = Ports::free();
            let home = Home::with(&config(&ports));
            let (unread, stderr) = pipe().expect("a pipe");
            let child = Some(home.spawn_saying_to(stderr.into()));
            let mut tidegate = Self { home, ports, child };
            if tidegate.lives_or_ends().await.is_none() {
                tidegate.ready().await;
                return (tidegate, unread);
            }
        }
        panic!("no ports could be had");
    }

    /// Whether it lives, and not: somebody else was faster to have one of its ports.
    async fn comes_to_life(&mut self) -> bool {
        let Some(status) = self.lives_or_ends().await else { return true };
        let said = self.home.said();
        assert!(said.contains("is in use"), "it ended with {status}: {said}");
        false
    }

    /// Waits until it lives; how it ended, if it did that instead.
    async fn lives_or_ends(&mut self) -> Option<ExitStatus> {
        let mut ended = None;
        until("the admin API answers", async || {
            ended = self.child.as_mut().and_then(|child| child.try_wait().expect("waited for"));
            ended.is_some() || self.api().ask("GET", "/livez", None).await.is_ok()
        })
        .await;
        ended
    }

    /// Starts it again in the same place.
    pub(crate) async fn restart(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.child = Some(self.home.spawn());
        assert!(self.comes_to_life().await, "its ports were taken: {}", self.home.said());
        self.ready().await;
    }

    /// Waits until it has looked at every target.
    async fn ready(&mut self) {
        until("it is ready", async || {
            let reply = self.api().ask("GET", "/readyz", None).await;
            reply.is_ok_and(|reply| reply.status == 200)
        })
        .await;
    }

    /// Kills it as the system would: at once, and without a word.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.start_kill().expect("it can be killed");
        child.wait().await.expect("it is dead");
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("it can be told");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Pid {
        let id = self.child.as_ref().and_then(Child::id).expect("it runs");
        i32::try_from(id).ok().and_then(Pid::from_raw).expect("an id")
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        timeout(PATIENCE, child.wait()).await.expect("it ends in time").expect("it ended")
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn end(&mut self) {
        self.ask_to_end();
        let status = self.ended().await;
        assert!(status.success(), "it ended with {status}: {}", self.home.said());
    }

    /// Where its listener listens.
    pub(crate) fn public(&self) -> SocketAddr {
        self.ports.public
    }

    /// Its admin API.
    pub(crate) fn api(&self) -> Api {
        Api::of(self.ports.admin, self.home.path())
    }

    /// How many pooled connections to targets Pingora has given up since it took one in the moment
    /// in which its watcher let go of it. It says so each time.
    pub(crate) fn given_up_connections(&self) -> u64 {
        self.home.said().matches("failed to acquire reusable stream").count() as u64
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.home.said();
            let from = said.len().saturating_sub(SHOWN);
            report(&String::from_utf8_lossy(&said.as_bytes()[from..]));
        }
    }
}

/// Where a process's log goes.
const SAID: &str = "stderr.log";
/// How much of the log a failed test shows.
const SHOWN: usize = 16_384;
const PORT_CONFLICTS: usize = 5;
