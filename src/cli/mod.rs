//! The command line: clap for its form, the admin API for what it does.
//!
//! Whatever concerns a running process goes through its admin API, with the same rights as any
//! other tool; only `serve`, `upgrade`, `demo`, `check`, `simulate`, `plan`, `replay` and what the
//! author of a gate does work here.
//! A person gets tables and sentences, a script (`--json`) one object on a line, both an exit code
//! that says how it went ([`Exit`]).
//! Nothing here decides anything, and nothing here may take a token as an argument.

mod alarm;
mod args;
mod author;
mod check;
mod client;
mod exit;
mod explain;
mod failure;
mod forecast;
mod gate;
mod gate_list;
mod gate_replay;
mod ledger;
mod line;
mod plan;
mod rehearsal;
mod replay;
mod rollout;
mod screen;
mod service;
mod simulate;
mod status;
mod style;
mod table;
mod target_group;
mod token;
mod upgrade;
mod watch;
mod why;

#[cfg(test)]
mod fake;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anstream::ColorChoice;
use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use http::Method;

pub use args::{ServeArgs, UpgradeArgs};
pub use exit::Exit;

use crate::admin::json::Reloaded;
use crate::app::{TriedAddresses, UpgradeError, Upgraded};
use crate::config::Config;
use crate::core::ledger::Head;
use args::{AlarmCommand, Ask, Cli, Color, Command, GateCommand, LedgerCommand, Why};
use client::Client;
use failure::Failure;
use screen::Form;

/// What runs in this process: the entry points of the composition root, which this module must not
/// know by itself.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Runs the proxy.
    pub serve: fn(&ServeArgs) -> anyhow::Result<ExitCode>,
    /// Shows a rollout with made-up services; the argument says whether as JSON.
    pub demo: fn(json: bool) -> anyhow::Result<ExitCode>,
    /// Loads the gates of a configuration, checks the parameters of their uses, and resolves the
    /// names of its targets: a sentence for each that cannot be used.
    pub check: fn(&Config) -> Result<(), String>,
    /// Reads the whole ledger of a database that no process has open: gives its head, or names the
    /// first bad entry.
    pub verify: fn(&Path) -> Result<Head, String>,
    /// Starts a process that takes over from the one that runs, and waits until it does.
    pub upgrade: fn(&Config, &UpgradeArgs) -> Result<Upgraded, UpgradeError>,
    /// Tries whether the addresses of a configuration can be listened on.
    pub addresses: fn(&Config) -> TriedAddresses,
    /// Compiles the gate on the standard input into a folder, within limits that the whole process
    /// is put under: gives the code to end with.
    pub compile_gate: fn(&Path, &str) -> u8,
}

/// The form of the command line, for whoever wants to check a line without carrying it out.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Carries out a command line.
pub fn run(args: impl IntoIterator<Item = OsString>, entry: Entry) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with code 0. A closed pipe is no error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match cli.color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
    .write_global();
    let form = if cli.json { Form::Json } else { Form::Text };
    let ended = match cli.command {
        Command::Serve(args) => (entry.serve)(&args).map_err(Failure::from),
        Command::Upgrade(args) => upgrade::upgrade(&args, entry.upgrade, form).map(ExitCode::from),
        Command::Demo => (entry.demo)(cli.json).map_err(Failure::from),
        Command::Check(args) => check::check(&args, &entry, form).map(ExitCode::from),
        Command::Simulate(args) => simulate::simulate(&args, form).map(ExitCode::from),
        Command::Plan(args) => {
            let client = || Client::new(&cli.admin, cli.token_file.as_ref());
            forecast::plan(&args, client, form).map(ExitCode::from)
        }
        Command::Replay(args) => {
            let client = || Client::new(&cli.admin, cli.token_file.as_ref());
            replay::replay(&args, client, form).map(ExitCode::from)
        }
        Command::CompileGate { folder, limits } => {
            Ok(ExitCode::from((entry.compile_gate)(&folder, &limits)))
        }
        Command::Ask(Ask::Gate(GateCommand::Author(command))) => {
            let client = || Client::new(&cli.admin, cli.token_file.as_ref());
            author::run(&command, client, form).map(ExitCode::from)
        }
        Command::Ask(Ask::Ledger(LedgerCommand::Verify { store: Some(file) })) => {
            ledger::verify_file((entry.verify)(&file), form).map(ExitCode::from)
        }
        Command::Ask(command) => Client::new(&cli.admin, cli.token_file.as_ref())
            .and_then(|client| ask(&client, command, form))
            .map(ExitCode::from),
    };
    ended.unwrap_or_else(|failure| {
        form.fail(&failure);
        failure.exit().into()
    })
}

/// Carries out a command that the admin API answers.
fn ask(client: &Client, command: Ask, form: Form) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime can be made")?;
    runtime.block_on(async {
        match command {
            Ask::Status => status::status(client, form).await,
            Ask::Service(command) => service::run(client, command, form).await,
            Ask::TargetGroup(command) => target_group::run(client, command, form).await,
            Ask::Rollout(command) => rollout::run(client, command, form).await,
            Ask::Alarm(AlarmCommand::List) => alarm::list(client, form).await,
            Ask::Alarm(AlarmCommand::Push { alarm, state, why }) => {
                alarm::push(client, &alarm, state, why, form).await
            }
            Ask::Gate(command) => gate::run(client, command, form).await,
            Ask::Ledger(command) => ledger::run(client, command, form).await,
            Ask::Reload(why) => reload(client, why, form).await,
            Ask::Explain(args) => explain::explain(client, &args, form).await,
        }
    })
}

async fn reload(client: &Client, why: Why, form: Form) -> Result<Exit, Failure> {
    let done: Reloaded = client.change(Method::POST, "/v1/reload", &why.body()?).await?;
    form.show(&done, |done| {
        let ignored = done.ignored.iter().map(|line| format!("\nignored: {}", screen::plain(line)));
        format!("reloaded, generation {}", done.generation) + &ignored.collect::<String>()
    });
    Ok(Exit::Succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> ExitCode {
        let entry = Entry {
            serve: |args| {
                assert_eq!(args.config.as_os_str(), "t.yaml");
                Ok(ExitCode::from(42))
            },
            demo: |json| Ok(ExitCode::from(if json { 43 } else { 44 })),
            check: |_| Ok(()),
            verify: |_| Err("ledger entry 2: changed".to_owned()),
            upgrade: |_, _| Err(UpgradeError::Busy { pid: 7 }),
            addresses: |_| TriedAddresses::default(),
            compile_gate: |folder, limits| {
                assert_eq!(folder.as_os_str(), "/f");
                assert_eq!(limits, "1,2");
                45
            },
        };
        run(line.split(' ').map(OsString::from), entry)
    }

    #[test]
    fn what_runs_here_goes_to_the_entry_points() {
        assert_eq!(code("tidegate serve --config t.yaml"), ExitCode::from(42));
        assert_eq!(code("tidegate demo --json"), ExitCode::from(43));
        assert_eq!(code("tidegate demo"), ExitCode::from(44));
        assert_eq!(code("tidegate compile-gate /f 1,2"), ExitCode::from(45));
    }

    #[test]
    fn every_kind_of_failure_has_its_exit_code() {
        assert_eq!(code("tidegate --help"), ExitCode::SUCCESS);
        assert_eq!(code("tidegate nonsense"), ExitCode::from(2));
        assert_eq!(code("tidegate upgrade --config no-such-file.yaml"), ExitCode::from(2));
        assert_eq!(code("tidegate check no-such-file.yaml"), ExitCode::from(2));
        assert_eq!(code("tidegate status --token-file no-such-file"), ExitCode::from(2));
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "tg_1\n").expect("written");
        // Port 1 of a loopback address of its own: nobody listens there.
        let line =
            format!("tidegate status --admin http://127.9.9.9:1 --token-file {}", token.display());
        assert_eq!(code(&line), ExitCode::from(4));
    }
}
