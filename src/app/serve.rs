//! `tidegate serve`: runs until it is told to end.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::control::Reply;
use crate::core::rollout::Actor;

use super::{App, AppError};

/// Serves a configuration until SIGTERM or SIGINT; SIGHUP reloads it. Blocks.
///
/// # Errors
/// What could not be built.
pub fn serve(config: Config, file: &Path) -> Result<(), AppError> {
    let app = App::start(config, Some(file.to_path_buf()))?;
    for (name, address) in app.listeners() {
        tracing::info!(listener = %name, %address, "listening");
    }
    if let Some(admin) = &app.admin {
        let token = admin.token.display();
        tracing::info!(address = %admin.address, %token, "admin API");
    }
    app.control_runtime.block_on(until_told_to_end(&app))?;
    tracing::info!("draining");
    app.shutdown();
    Ok(())
}

async fn until_told_to_end(app: &App) -> Result<(), AppError> {
    let listen = |kind| signal(kind).map_err(|error| AppError::Runtime { what: "signal", error });
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(app).await,
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
