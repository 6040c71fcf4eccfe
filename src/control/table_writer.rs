//! Writing the table file: always the newest table, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::store::{TableFile, TableImage};

/// Hands tables to the task that writes them; cheap to clone.
#[derive(Clone, Debug)]
pub struct TableWriter {
    newest: Arc<watch::Sender<Option<TableImage>>>,
}

/// The wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

impl TableWriter {
    /// A writer, and the end that its task reads.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Option<TableImage>>) {
        let (newest, images) = watch::channel(None);
        (Self { newest: Arc::new(newest) }, images)
    }

    /// Has a table written; one that was not written yet is skipped.
    pub(super) fn write(&self, image: TableImage) {
        self.newest.send_replace(Some(image));
    }

    /// Writes the newest table whenever there is one, until the writer is gone.
    pub async fn run(file: TableFile, mut images: watch::Receiver<Option<TableImage>>) {
        while images.changed().await.is_ok() {
            let Some(image) = images.borrow_and_update().clone() else {
                continue;
            };
            let (to, task_image) = (file.clone(), image);
            let written = tokio::task::spawn_blocking(move || to.write(&task_image)).await;
            let failure = match written {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::error!(error = failure, "the table file was not written; it is tried again");
            tokio::time::sleep(RETRY).await;
            // The newest one, which may be another by then.
            images.mark_changed();
        }
    }
}
