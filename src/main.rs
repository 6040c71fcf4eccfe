//! The `tidegate` binary: the command line on top of the composition root.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use tidegate::app::{self, Beginning, UpgradeError, UpgradeOptions, Upgraded, demo::DemoOptions};
use tidegate::cli::{self, Entry, Exit, ServeArgs, UpgradeArgs};
use tidegate::config::Config;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
        },
    )
}

fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(mistakes) => {
            anstream::eprintln!("{mistakes}");
            return Ok(Exit::Usage.into());
        }
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Pingora tells of every client that breaks off as of an error: anybody could fill the disk.
    let told = Targets::new().with_default(LevelFilter::INFO).with_targets([
        ("pingora_proxy", LevelFilter::OFF),
        ("pingora_core", LevelFilter::OFF),
        ("pingora_core::services::listening", LevelFilter::ERROR),
    ]);
    tracing_subscriber::registry().with(lines).with(told).init();
    let beginning = if args.takeover { Beginning::Takeover } else { Beginning::Afresh };
    match app::serve(config, &args.config, beginning) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is_a_mistake() => {
            anstream::eprintln!("error: {error}");
            Ok(Exit::Usage.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn demo(json: bool) -> anyhow::Result<ExitCode> {
    app::demo::run(&DemoOptions { json, gate: None })?;
    Ok(ExitCode::SUCCESS)
}

fn upgrade(config: &Config, args: &UpgradeArgs) -> Result<Upgraded, UpgradeError> {
    let (file, binary) = (args.config.clone(), args.binary.clone());
    app::upgrade(config, &UpgradeOptions { file, binary, timeout: args.timeout })
}
