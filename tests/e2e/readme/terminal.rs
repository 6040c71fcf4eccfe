//! Terminals: a shell that is told one command after another, and commands that keep one for
//! themselves.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// A shell with a place, variables and jobs.
#[derive(Debug)]
pub(super) struct Terminal {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Processes that were started in the background, and still have to be ended.
    jobs: Vec<Pid>,
    _shell: Child,
}

impl Terminal {
    /// Opens one in a folder. In it, curl shows the status of each answer behind it.
    pub(super) fn open(folder: &Path) -> Self {
        std::fs::write(folder.join(".curlrc"), CURLRC).expect("written");
        let mut shell = bash(folder)
            .env("CURL_HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts");
        let input = shell.stdin.take().expect("piped");
        let output = BufReader::new(shell.stdout.take().expect("piped")).lines();
        Self { input, output, jobs: Vec::new(), _shell: shell }
    }

    /// Runs a command that has to succeed; gives what it has said.
    pub(super) async fn succeed(&mut self, command: &str) -> String {
        let (code, said) = self.run(command).await;
        assert_eq!(code, 0, "{command}\n{said}");
        said
    }

    /// Runs a command; gives its exit code, and what it has said.
    async fn run(&mut self, command: &str) -> (i32, String) {
        // With job control as in a terminal, and one output.
        let told = format!("set -m; exec 2>&1\n{command}\nprintf '\\n{DONE}%s\\n' \"$?\"\n");
        self.input.write_all(told.as_bytes()).await.expect("the shell listens");
        let mut said = String::new();
        let listening = async {
            loop {
                let line = self.output.next_line().await.expect("text").expect("the shell lives");
                match line.strip_prefix(DONE) {
                    Some(code) => return code.parse().expect("a code"),
                    None => said.extend([line.as_str(), "\n"]),
                }
            }
        };
        let code: Option<i32> = timeout(LONGEST, listening).await.ok();
        (code.unwrap_or_else(|| panic!("{command} does not end: {said}")), said)
    }

    /// Takes note of what runs in the background, so that it ends with this; gives the number.
    pub(super) async fn note_jobs(&mut self) -> usize {
        let listed = self.succeed("jobs -p").await;
        self.jobs = listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect();
        self.jobs.len()
    }

    /// Says that what was noted has ended.
    pub(super) fn forget_jobs(&mut self) {
        self.jobs.clear();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for job in &self.jobs {
            // It may have ended by itself.
            let _ = kill_process(*job, Signal::TERM);
        }
    }
}

/// A command that runs in a terminal of its own.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

/// What a person does to end one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    /// Presses Ctrl-C.
    CtrlC,
    /// Closes the terminal.
    Close,
}

impl Running {
    /// Starts it in a folder; what it says goes to a file.
    pub(super) fn start(folder: &Path, command: &str, log: PathBuf) -> Self {
        let file = File::create(&log).expect("a log");
        let child = bash(folder)
            .args(["-c", command])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("bash starts");
        Self { child, log }
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> String {
        let said = std::fs::read(&self.log).expect("a log");
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until it has said something.
    pub(super) async fn says(&mut self, what: &str) {
        let deadline = Instant::now() + LONGEST;
        loop {
            let ended = self.child.try_wait().expect("waited for");
            let said = self.said();
            if said.contains(what) {
                return;
            }
            assert!(ended.is_none(), "it ended without {what:?}: {said}");
            assert!(Instant::now() < deadline, "it does not say {what:?}: {said}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Does to everything in its terminal what a key does.
    pub(super) fn press(&self, key: Key) {
        let signal = match key {
            Key::CtrlC => Signal::INT,
            Key::Close => Signal::TERM,
        };
        self.signal(signal);
    }

    /// Waits for its end; gives its exit code, `None` if a signal has ended it.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let ended = timeout(LONGEST, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end: {}", self.said()));
        ended.expect("waited for").code()
    }

    fn signal(&self, signal: Signal) {
        // Without an id it has ended.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process_group(id, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A shell in a folder that finds the binary of this build first.
fn bash(folder: &Path) -> Command {
    let ours = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().expect("a folder").to_owned();
    let others: OsString = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(ours).chain(std::env::split_paths(&others));
    let mut bash = Command::new("bash");
    bash.current_dir(folder)
        .env("PATH", std::env::join_paths(path).expect("folders without colons"))
        .env("NO_COLOR", "1")
        .env_remove("TIDEGATE_TOKEN_FILE")
        .kill_on_drop(true);
    bash
}

const CURLRC: &str = "silent\nshow-error\nwrite-out = \"\\n%{http_code}\\n\"\n";
/// The beginning of the line that tells a command's exit code.
const DONE: &str = "@done ";
/// Longer than any command of the README takes, and any wait in it.
const LONGEST: Duration = Duration::from_secs(120);
