//! A target that is killed: a process of its own, which is this binary once more.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::kit::until;
use crate::rig::{Link, Request, Wire, answer_with, read_request, reply_with, serve_streams};

/// The process; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Victim {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Victim {
    /// Starts one that answers everything with 200, after a moment, in HTTP/1.1 and in HTTP/2.
    pub(crate) async fn start() -> Self {
        let this = std::env::current_exe().expect("it is there");
        Self::start_with(Command::new(this), Ipv4Addr::LOCALHOST).await
    }

    /// The same at the far end of a link.
    pub(crate) async fn start_beyond(link: &Link) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", link.name()]);
        command.arg(std::env::current_exe().expect("it is there"));
        Self::start_with(command, link.far()).await
    }

    /// Runs a command that is this binary once more, and waits until it listens.
    async fn start_with(mut command: Command, ip: Ipv4Addr) -> Self {
        let folder = TempDir::new().expect("a folder");
        let child = command
            .args([THE_PROCESS, "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(IP, ip.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut address = None;
        until("the target listens", async || {
            let text = std::fs::read_to_string(folder.path().join(ADDRESS)).unwrap_or_default();
            address = text.parse().ok();
            address.is_some()
        })
        .await;
        Self { folder, address: address.expect("it was waited for"), child }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it: when this returns it is dead, and all of its connections with it.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it can be killed");
        self.child.wait().await.expect("it is dead");
    }

    /// The paths of the POST requests that it has seen, also after its death.
    pub(crate) fn posts(&self) -> Vec<String> {
        let begun = self.noted(BEGUN);
        let posts = begun.iter().filter_map(|request| request.strip_prefix("POST "));
        posts.map(str::to_owned).collect()
    }

    /// The paths of those of them that it has answered.
    pub(crate) fn answered_posts(&self) -> Vec<String> {
        let answered = self.noted(ANSWERED);
        let posts = answered.iter().filter_map(|request| request.strip_prefix("POST "));
        posts.map(str::to_owned).collect()
    }

    /// How many requests it has read and not answered, also after its death.
    pub(crate) fn unanswered(&self) -> usize {
        self.noted(BEGUN).len().saturating_sub(self.noted(ANSWERED).len())
    }

    fn noted(&self, file: &str) -> Vec<String> {
        let noted = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }
}

/// What the process runs; in the test run itself there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_to_be_killed_serves_until_then() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let ip: Ipv4Addr = std::env::var(IP).expect("it is set").parse().expect("an address");
    let listener = TcpListener::bind((ip, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    // Renamed, so that nobody reads half of it.
    let unfinished = folder.join("unfinished");
    std::fs::write(&unfinished, address).expect("written");
    std::fs::rename(&unfinished, folder.join(ADDRESS)).expect("renamed");
    // Whoever has started it holds the other end, so that it does not outlive the test.
    let mut alone = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("accepted");
                tokio::spawn(serve(stream, folder.clone()));
            }
            _ = &mut alone => return,
        }
    }
}

async fn serve(stream: TcpStream, folder: PathBuf) {
    let _ = stream.set_nodelay(true);
    match Wire::of(&stream).await {
        Some(Wire::Http1) => serve_http1(stream, folder).await,
        Some(Wire::Http2) => {
            let answer =
                move |request: Request, reply| answer_stream(request, reply, folder.clone());
            serve_streams(stream, answer).await;
        }
        None => {}
    }
}

async fn answer_stream(request: Request, mut reply: SendResponse<Bytes>, folder: PathBuf) {
    if request.path == "/healthz" {
        reply_with(&mut reply, "victim", "ok");
        return;
    }
    note(&folder.join(BEGUN), &request);
    sleep(WORK).await;
    if reply_with(&mut reply, "victim", "ok") {
        // The connection sends it after that, and who is killed before has not answered.
        sleep(ON_ITS_WAY).await;
        note(&folder.join(ANSWERED), &request);
    }
}

async fn serve_http1(mut stream: TcpStream, folder: PathBuf) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let is_check = request.path == "/healthz";
        if !is_check {
            note(&folder.join(BEGUN), &request);
            sleep(WORK).await;
        }
        if !answer_with(&mut stream, "victim", "ok").await {
            return;
        }
        if !is_check {
            note(&folder.join(ANSWERED), &request);
        }
    }
}

fn note(file: &Path, request: &Request) {
    let line = format!("{} {}\n", request.method, request.path);
    let file = OpenOptions::new().create(true).append(true).open(file);
    let noted = file.and_then(|mut file| file.write_all(line.as_bytes()));
    noted.expect("written");
}

const THE_PROCESS: &str = "victim::a_target_that_is_to_be_killed_serves_until_then";
/// The variable that makes a process a target, and says where its files are.
const FOLDER: &str = "TIDEGATE_FAULTS_VICTIM";
/// The variable that says at which address it listens.
const IP: &str = "TIDEGATE_FAULTS_VICTIM_IP";
const ADDRESS: &str = "address";
/// The requests that it has read.
const BEGUN: &str = "begun";
/// Those that it has answered.
const ANSWERED: &str = "answered";
/// How long an answer takes, so that some are always under way.
const WORK: Duration = Duration::from_millis(20);
/// How long an answer of HTTP/2 takes to be sent, with time to spare.
const ON_ITS_WAY: Duration = Duration::from_millis(5);
