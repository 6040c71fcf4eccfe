//! How others reach the writer, and see its state without queueing behind it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::config::Config;
use crate::core::ledger::Entry;
use crate::core::model::RolloutId;
use crate::core::rollout::Actor;
use crate::resolve::ListCount;
use crate::store::{EvidenceFolder, LedgerQuery, Store};
use crate::telemetry::{Gauges, Recorder, render};

use super::{Command, EvidenceReader, Gates, Message, Refusal, Reply, Request, View, Watchdog};

/// Loads what a configuration needs beyond itself (gates), before it is used; gives a sentence if
/// that is not possible. Blocking.
pub type Prepare = Arc<dyn Fn(&Config) -> Result<(), String> + Send + Sync>;

/// A way to the writer; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) gauges: Arc<ArcSwap<Gauges>>,
    pub(super) recorder: Arc<Recorder>,
    /// `None` when the store could not be read at the start.
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) watchdog: Watchdog,
    /// Where the configuration is read from again; `None` when it came from nowhere.
    pub(super) file: Option<PathBuf>,
    pub(super) prepare: Prepare,
    /// How many lists of targets the files gave that are watched.
    pub(super) lists: ListCount,
    /// Locked from the reading of a configuration until the writer has answered.
    pub(super) reloading: Arc<Mutex<()>>,
    /// Where the evidence of rollouts is; `None` where none is kept.
    pub(super) evidence: Option<EvidenceFolder>,
    /// Who takes uploaded gates; `None` where nobody does.
    pub(super) gates: Option<Arc<Gates>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Handle {
    /// Has the writer carry out a request.
    ///
    /// # Errors
    /// The reason why it did not; nothing was changed then.
    pub async fn send(&self, request: Request) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Request { request: Box::new(request), reply };
        self.inbox.send(message).await.map_err(|_| Refusal::ShuttingDown)?;
        answer.await.unwrap_or(Err(Refusal::ShuttingDown))
    }

    /// Reads the configuration file again and has the writer use it, one reload at a time: one that
    /// waits for DNS or gates must not replace what was read after it.
    ///
    /// # Errors
    /// Every mistake in the file, or what of it is in use; nothing was changed then.
    pub async fn reload(&self, actor: Actor, reason: Option<String>) -> Result<Reply, Refusal> {
        let _alone = self.reloading.lock().await;
        let refused = || self.recorder.reloads().refused();
        let command = self.read_again().await.inspect_err(|_| refused())?;
        let answer = self.send(Request { command, actor, reason, if_match: None }).await;
        if matches!(answer, Err(Refusal::ShuttingDown)) {
            // No writer was there to count it.
            refused();
        }
        answer
    }

    /// What has the writer use the configuration file as it is now.
    async fn read_again(&self) -> Result<Command, Refusal> {
        let file = self.file.clone().ok_or_else(|| {
            Refusal::Reload("this process was not started from a file".to_owned())
        })?;
        let (prepare, gates) = (Arc::clone(&self.prepare), self.gates.clone());
        // Before anything is read: what is heard from now on is younger than that.
        let read = self.lists.last();
        let loaded = tokio::task::spawn_blocking(move || {
            let mut config = Config::load(&file).map_err(|mistakes| mistakes.to_string())?;
            if let Some(gates) = gates {
                gates.merge(&mut config)?;
            }
            prepare(&config)?;
            Ok::<_, String>(config)
        });
        let config = loaded
            .await
            .map_err(|error| Refusal::Reload(error.to_string()))?
            .map_err(Refusal::Reload)?;
        Ok(Command::Reload { config: Arc::new(config), read })
    }

    /// The state as it was a moment ago.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Whether the writer comes round: decides, judges, takes requests.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.watchdog.is_silent()
    }

    /// A page of the ledger.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn ledger(&self, query: LedgerQuery) -> Result<Vec<Entry>, Refusal> {
        let store = self.store.as_ref().ok_or_else(|| {
            Refusal::StoreUnreadable("it could not be opened at the start".to_owned())
        })?;
        store.ledger(query).await.map_err(Refusal::Store)
    }

    /// The log of a rollout's evidence, as of a few seconds ago; `None` if there is none.
    ///
    /// # Errors
    /// A sentence: it cannot be opened.
    pub async fn evidence(&self, rollout: RolloutId) -> Result<Option<EvidenceReader>, String> {
        let Some(folder) = self.evidence.clone() else {
            return Ok(None);
        };
        let open = tokio::task::spawn_blocking(move || folder.open(&rollout));
        let opened = open.await.map_err(|error| error.to_string())?;
        opened.map(|log| log.map(EvidenceReader::new)).map_err(|error| error.to_string())
    }

    /// The record of a rollout's calls of gates, as of a moment ago; `None` if there is none.
    ///
    /// # Errors
    /// A sentence: it cannot be opened.
    pub async fn gate_calls(&self, rollout: RolloutId) -> Result<Option<EvidenceReader>, String> {
        let Some(folder) = self.evidence.clone() else {
            return Ok(None);
        };
        let open = tokio::task::spawn_blocking(move || folder.open_calls(&rollout));
        let opened = open.await.map_err(|error| error.to_string())?;
        opened.map(|log| log.map(EvidenceReader::new)).map_err(|error| error.to_string())
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        // The gauges are as old as the writer's last round; how old that is it cannot say itself.
        let writer_silent = self.watchdog.silence();
        let tick_lateness = self.watchdog.lateness();
        let gauges = Gauges { writer_silent, tick_lateness, ..Gauges::clone(&self.gauges.load()) };
        render(&self.recorder, &gauges)
    }
}

#[cfg(test)]
impl Handle {
    /// For tests of the admin API: requests arrive at the given channel.
    pub(crate) fn detached(
        inbox: mpsc::Sender<Message>,
        view: Arc<ArcSwap<View>>,
        store: Option<Arc<dyn Store>>,
    ) -> Self {
        Self {
            inbox,
            view,
            gauges: Arc::default(),
            recorder: Arc::default(),
            store,
            watchdog: Watchdog::new(crate::clock::Clock::started_before()),
            file: None,
            prepare: Arc::new(|_| Ok(())),
            lists: ListCount::default(),
            reloading: Arc::default(),
            evidence: None,
            gates: None,
        }
    }

    /// The same with a folder of evidence.
    pub(crate) fn with_evidence(self, folder: EvidenceFolder) -> Self {
        Self { evidence: Some(folder), ..self }
    }

    /// Makes it as if the writer had not come round for long.
    pub(crate) fn fall_silent(&self) {
        self.watchdog.fall_silent();
    }
}
