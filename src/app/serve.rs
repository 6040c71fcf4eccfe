//! `tidegate serve`: runs until it is told to end.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::config::Config;
use crate::control::Reply;
use crate::core::rollout::Actor;
use crate::telemetry::Log;

use super::upgrade::Offer;
use super::{App, AppError};

/// What a process finds when it begins to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nobody serves.
    Afresh,
    /// Another process serves, which it takes over from; it starts as usual if there is none.
    Takeover,
}

/// Serves a configuration until SIGTERM or SIGINT, or until another process has taken over; SIGHUP
/// reloads it, SIGUSR1 opens the access log anew. The log is what the process says itself, and its
/// losses are among the metrics. Blocks.
///
/// # Errors
/// What could not be built.
pub fn serve(config: Config, file: &Path, beginning: Beginning, log: Log) -> Result<(), AppError> {
    // The signals come first: one that arrives while the process starts must not kill it.
    let failed = |error| AppError::Runtime { what: "signal", error };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut signals = runtime.block_on(async { Signals::listen() }).map_err(failed)?;
    let file = Some(file.to_path_buf());
    let mut app = match beginning {
        Beginning::Afresh => {
            let mut app = App::start_with(config, file, Some(log))?;
            app.open_door();
            app
        }
        Beginning::Takeover => {
            // The terminal of whoever has started it is none of its business. One that leads a
            // group of processes cannot leave it, and stays with the shell that started it so.
            let _ = rustix::process::setsid();
            App::take_over(config, file.as_deref(), log)?
        }
    };
    for (name, address) in app.listeners() {
        tracing::info!(listener = %name, %address, "listening");
    }
    if let (Some(address), Some(token)) = (app.admin_address(), app.admin_token_file()) {
        tracing::info!(%address, token = %token.display(), "admin API");
    }
    loop {
        match runtime.block_on(signals.next(&mut app)) {
            Told::End => break,
            Told::Reload => runtime.block_on(reload(&app)),
            Told::Reopen => app.reopen_access_log(),
            Told::Successor(offer) => {
                if app.give_way(&offer) {
                    break;
                }
            }
            Told::Again => app.revive(),
        }
    }
    tracing::info!("draining");
    app.shutdown();
    Ok(())
}

/// What a running process is told.
enum Told {
    End,
    Reload,
    Reopen,
    Successor(Offer),
    /// Time to see whether the control side runs.
    Again,
}

/// The signals that a process is told things with.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reopen: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self, app: &mut App) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
            _ = self.reopen.recv() => Told::Reopen,
            offer = app.successor() => Told::Successor(offer),
            () = sleep(LOOK_AGAIN) => Told::Again,
        }
    }
}

async fn reload(app: &App) {
    let actor = Actor { name: "operator".to_owned(), origin: "SIGHUP".to_owned() };
    let Some(handle) = app.handle() else {
        app.lasting.recorder.reloads().refused();
        tracing::error!("not reloaded: the control side stands still");
        return;
    };
    match handle.reload(actor, None).await {
        Ok(Reply::Reloaded(report)) => {
            tracing::info!(generation = report.generation, "reloaded");
            for ignored in report.ignored {
                tracing::warn!("{ignored}");
            }
        }
        Ok(_) => {}
        Err(refusal) => tracing::error!(%refusal, "not reloaded: nothing changed"),
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);
