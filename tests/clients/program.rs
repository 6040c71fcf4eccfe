//! Programs: those that run to an end, and servers that run until they are no longer needed.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Runs a program that has to succeed; gives what it has said.
pub(crate) async fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A]) -> String {
    run_with(program, arguments, Stdio::null()).await
}

/// The same with something to read.
pub(crate) async fn run_with<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[A],
    input: Stdio,
) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let ended = timeout(LONGEST, command.output()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{shown} does not end"));
    let output = ended.unwrap_or_else(|error| panic!("{shown}: {error}; {INSTALL}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}: {}\n{said}{complained}", output.status);
    said
}

/// Runs one of the clients in Python, which names what is wrong.
pub(crate) async fn client(script: &str, arguments: &[&str]) {
    let script = self::script(script);
    let arguments: Vec<&OsStr> =
        [script.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new)).collect();
    run(python(), &arguments).await;
}

/// One of the servers in Python; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    _child: Child,
}

impl Server {
    /// Starts one that listens.
    pub(crate) async fn start(script: &str) -> Self {
        Self::start_with(script, &[]).await
    }

    /// The same with arguments.
    pub(crate) async fn start_with(script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(self::script(script))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{script}: {error}; {INSTALL}"));
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut port = String::new();
        let read = timeout(LONGEST, said.read_line(&mut port)).await;
        read.expect("it tells its port in time").expect("it tells its port");
        let port: u16 = port.trim().parse().unwrap_or_else(|_| panic!("{script} said {port:?}"));
        Self { address: (Ipv4Addr::LOCALHOST, port).into(), _child: child }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients-venv/bin/python")
}

const INSTALL: &str = "`scripts/prepare.sh test` installs what the tests run";
/// Longer than any of them takes.
const LONGEST: Duration = Duration::from_secs(180);
