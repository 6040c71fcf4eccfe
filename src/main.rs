//! The `tidegate` binary: the command line on top of the composition root.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use anyhow::Context as _;
use tidegate::app::{self, Beginning, UpgradeError, UpgradeOptions, Upgraded, demo::DemoOptions};
use tidegate::cli::{self, Entry, Exit, ServeArgs, UpgradeArgs};
use tidegate::config::Config;
use tidegate::telemetry::Log;
use tikv_jemallocator::Jemalloc;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The C library's allocator keeps what a burst of requests took: the process would stay at its
/// `overload.memory_limit` and go on refusing requests that it has room for.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run(
        std::env::args_os(),
        Entry {
            serve,
            demo,
            check: app::check_config,
            verify: app::verify_ledger,
            upgrade,
            addresses: app::try_addresses,
            compile_gate: app::compile_gate,
        },
    )
}

fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    // A copy of its own: the thread that waits for a reader must not hold the lock on the original.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.context("the standard error cannot be used for the log")?;
    let (log, writer) = Log::start(File::from(stderr)).context("the log has no thread")?;
    tell_panics(log.clone());
    let exit = serve_and_tell(args, &log);
    // What nobody reads is no reason not to end.
    writer.close();
    Ok(exit.into())
}

/// Serves, and says everything in the log: nothing that goes to the standard error waits for a
/// reader, the reason why there is nothing to serve included.
fn serve_and_tell(args: &ServeArgs, log: &Log) -> Exit {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(mistakes) => {
            mistakes.to_string().lines().for_each(|line| log.say(&format!("{line}\n")));
            return Exit::Usage;
        }
    };
    let writer = log.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(told(args.log.as_ref())).init();
    let beginning = if args.takeover { Beginning::Takeover } else { Beginning::Afresh };
    match app::serve(config, &args.config, beginning, log.clone()) {
        Ok(()) => Exit::Succeeded,
        Err(error) => {
            log.say(&format!("error: {error}\n"));
            if error.is_a_mistake() { Exit::Usage } else { Exit::Internal }
        }
    }
}

/// What is logged by default, and what was asked for instead of parts of it.
fn told(asked: Option<&Targets>) -> Targets {
    // Pingora tells of every client that breaks off as of an error: anybody could fill the disk.
    let mut told = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets([("pingora_proxy", LevelFilter::OFF), ("pingora_core", LevelFilter::OFF)]);
    if let Some(asked) = asked {
        if let Some(level) = asked.default_level() {
            told = told.with_default(level);
        }
        told.extend(asked);
    }
    told
}

/// Has panics told in the log: the thread that panics must not wait for a reader either.
fn tell_panics(log: Log) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        let trace = Backtrace::capture();
        let is_wanted = trace.status() == BacktraceStatus::Captured;
        let trace = if is_wanted { format!("{trace}\n") } else { String::new() };
        log.say(&format!("thread '{name}' {panic}\n{trace}"));
    }));
}

fn demo(json: bool) -> anyhow::Result<ExitCode> {
    app::demo::run(&DemoOptions { json, gate: None })?;
    Ok(ExitCode::SUCCESS)
}

fn upgrade(config: &Config, args: &UpgradeArgs) -> Result<Upgraded, UpgradeError> {
    let (file, binary) = (args.config.clone(), args.binary.clone());
    app::upgrade(config, &UpgradeOptions { file, binary, timeout: args.timeout })
}
