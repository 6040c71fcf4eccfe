//! The command line as a script uses it: the real binary with the token of a process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::{PATIENCE, Tidegate};

/// The command line of one process.
#[derive(Clone, Debug)]
pub(crate) struct Cli {
    admin: SocketAddr,
    token_file: PathBuf,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// The objects that it wrote, one from each line.
    pub(crate) shown: Vec<Value>,
    /// What it said about what went wrong.
    pub(crate) said: String,
}

impl Cli {
    /// The command line of a process.
    pub(crate) fn of(tidegate: &Tidegate) -> Self {
        let token_file = tidegate.home().path().join("admin.token");
        Self { admin: tidegate.ports().admin, token_file }
    }

    /// Carries out a line, whose words have single spaces between them.
    pub(crate) async fn run(&self, line: &str) -> Ran {
        let running = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(line.split(' '))
            .args(["--json", "--admin"])
            .arg(format!("http://{}", self.admin))
            .arg("--token-file")
            .arg(&self.token_file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = timeout(PATIENCE, running).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end: {line}")).expect("it runs");
        let object = |shown: &str| -> Value {
            serde_json::from_str(shown).unwrap_or_else(|error| panic!("{line}: {error}: {shown}"))
        };
        Ran {
            code: ended.status.code().expect("no signal ended it"),
            shown: String::from_utf8_lossy(&ended.stdout).lines().map(object).collect(),
            said: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The last object that it wrote, if it ended with this code.
    pub(crate) fn ended(&self, code: i32) -> &Value {
        assert_eq!(self.code, code, "{self:?}");
        self.shown.last().unwrap_or(&Value::Null)
    }

    /// Why it was refused.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.code, 3, "{self:?}");
        serde_json::from_str(&self.said).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
