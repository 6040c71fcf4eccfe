//! `tidegate serve`: runs until it is told to end.

use std::io;
use std::path::Path;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::control::Reply;
use crate::core::rollout::Actor;

use super::{App, AppError};

/// Serves a configuration until SIGTERM or SIGINT; SIGHUP reloads it, SIGUSR1 opens the access log
/// anew. Blocks.
///
/// # Errors
/// What could not be built.
pub fn serve(config: Config, file: &Path) -> Result<(), AppError> {
    // The signals come first: one that arrives while the process starts must not kill it.
    let failed = |error| AppError::Runtime { what: "signal", error };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = runtime.block_on(async { Signals::listen() }).map_err(failed)?;
    let app = App::start(config, Some(file.to_path_buf()))?;
    for (name, address) in app.listeners() {
        tracing::info!(listener = %name, %address, "listening");
    }
    if let Some(admin) = &app.admin {
        let token = admin.token.display();
        tracing::info!(address = %admin.address, %token, "admin API");
    }
    runtime.block_on(signals.until_told_to_end(&app));
    tracing::info!("draining");
    app.shutdown();
    Ok(())
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

    async fn until_told_to_end(mut self, app: &App) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(app).await,
                _ = self.reopen.recv() => app.reopen_access_log(),
            }
        }
    }
}

async fn reload(app: &App) {
    let actor = Actor { name: "operator".to_owned(), origin: "SIGHUP".to_owned() };
    match app.handle().reload(actor, None).await {
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
