//! The `tidegate` binary: the command line on top of the composition root.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use tidegate::app::{self, demo::DemoOptions};
use tidegate::cli::{self, Entry, Exit, ServeArgs};
use tidegate::config::Config;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    cli::run(
        std::env::args_os(),
        Entry { serve, demo, check: app::check_config, verify: app::verify_ledger },
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
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(LevelFilter::INFO)
        .init();
    match app::serve(config, &args.config) {
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
