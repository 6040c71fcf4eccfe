//! The loop: one message at a time.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::core::analysis::comparison::Calendar;
use crate::core::model::Sha256;
use crate::core::rollout::{Event, GateAnswer, GateCall};
use crate::store::StoreError;
use crate::telemetry::Gauges;

use super::change::ReplyTo;
use super::{Handle, Request, StoreState, Stored, View, Watchdog, World};

/// What the writer takes.
#[derive(Debug)]
pub enum Message {
    /// Somebody wants something.
    Request {
        /// What.
        request: Box<Request>,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// A gate answered.
    Gate {
        /// What it was asked.
        call: Box<GateCall>,
        /// What it said.
        answer: GateAnswer,
        /// The digest of the component and all that it was told; `None` if it was not asked.
        digest: Option<Sha256>,
    },
    /// The store said something.
    Stored(Stored),
    /// The process ends; answered when the writer has stopped.
    Shutdown(oneshot::Sender<()>),
}

/// The single writer.
#[derive(Debug)]
pub struct Writer {
    world: World,
    inbox: mpsc::Receiver<Message>,
    view: Arc<ArcSwap<View>>,
    gauges: Arc<ArcSwap<Gauges>>,
    watchdog: Watchdog,
    ticks: u64,
}

/// How often it looks: evidence is evaluated each 100 ms.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// The view of a quiet system is made anew every so many ticks.
const QUIET_TICKS: u64 = 10;

impl Writer {
    /// The most messages that wait for the writer.
    pub const INBOX: usize = 4_096;

    /// A writer over a world that was recovered; the handle shows its view from now on.
    #[must_use]
    pub fn new(
        world: World,
        inbox: mpsc::Receiver<Message>,
        handle: &Handle,
        watchdog: Watchdog,
    ) -> Self {
        let (view, gauges) = (Arc::clone(&handle.view), Arc::clone(&handle.gauges));
        let mut writer = Self { world, inbox, view, gauges, watchdog, ticks: 0 };
        writer.show();
        writer
    }

    /// Waits a moment for names that have no address yet, and takes what they resolved to.
    pub async fn hear_names(&mut self) {
        self.world.hear_names().await;
        self.finish();
    }

    /// Takes messages until it is told to stop.
    pub async fn run(mut self) {
        self.work().await;
    }

    /// The same, and tells what the configuration was in the end.
    pub async fn run_and_tell_config(mut self) -> Arc<Config> {
        self.work().await;
        Arc::clone(&self.world.config)
    }

    async fn work(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = tokio::time::interval(Calendar::EVALUATION.into());
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let recorder = Arc::clone(&self.world.recorder);
        loop {
            let message = tokio::select! {
                // The tick first: no flood of messages may keep the writer from looking.
                biased;
                _ = tick.tick() => {
                    self.tick();
                    continue;
                }
                () = async {
                    pace.tick().await;
                    recorder.green_failed().await;
                } => {
                    self.green_failed();
                    // The pace is that of evaluations: what is heard sooner after the last one
                    // would be put off to the next tick.
                    pace.reset();
                    continue;
                }
                message = self.inbox.recv() => message,
            };
            match message {
                Some(Message::Shutdown(done)) => {
                    self.world.now = self.world.clock.now();
                    self.world.close();
                    // Who asked may be gone; the writer stops all the same.
                    let _ = done.send(());
                    return;
                }
                Some(message) => self.take(message),
                None => return,
            }
        }
    }

    fn tick(&mut self) {
        self.watchdog.beat();
        self.world.now = self.world.clock.now();
        self.world.tick();
        self.ticks += 1;
        if self.ticks.is_multiple_of(QUIET_TICKS) {
            self.world.save_gate_states();
        }
        let due = self.ticks.is_multiple_of(QUIET_TICKS) || !self.world.rollouts.is_empty();
        self.world.changed |= due;
        self.finish();
    }

    /// Green failed a request: its comparisons are evaluated at once.
    fn green_failed(&mut self) {
        self.world.now = self.world.clock.now();
        if self.world.compare_failures() {
            // It would be heard only with the next failure.
            self.world.recorder.tell_green_failed();
        }
        self.finish();
    }

    fn take(&mut self, message: Message) {
        self.world.now = self.world.clock.now();
        match message {
            Message::Request { request, reply } => self.world.request(&request, reply),
            Message::Gate { call, answer, digest } => {
                self.world.gate_answered(*call, answer, digest);
            }
            Message::Stored(stored) => self.stored(stored),
            Message::Shutdown(_) => {}
        }
        self.finish();
    }

    fn stored(&mut self, stored: Stored) {
        let world = &mut self.world;
        match stored {
            Stored::Kept { rollouts } => {
                world.store = StoreState::Good;
                for (id, seq) in rollouts {
                    world.feed(&id, Event::Saved { seq });
                    for waiter in world.changes.saved(&id, seq) {
                        world.answer_waiter(waiter, true);
                    }
                }
            }
            Stored::Change { id } => {
                world.store = StoreState::Good;
                world.change_saved(id);
            }
            Stored::ChangeFailed { id, error } => {
                world.note_trouble(&error);
                world.change_failed(id, error);
            }
            Stored::ChangeSkipped { id, error } => world.change_skipped(id, error),
            Stored::Failing { rollouts, error } => {
                world.note_trouble(&error);
                for id in rollouts {
                    world.feed(&id, Event::SaveFailed { reason: error.to_string() });
                }
            }
        }
        world.changed = true;
    }

    /// Shows the change, then answers: an author who looks sees it.
    fn finish(&mut self) {
        if self.world.changed {
            self.show();
        }
        for (reply, answer) in self.world.answers.drain(..) {
            // An author who went away needs no answer.
            let _ = reply.send(answer);
        }
    }

    fn show(&mut self) {
        let view = self.world.view();
        self.gauges.store(Arc::new(self.world.gauges(&view)));
        self.view.store(Arc::new(view));
        self.world.changed = false;
    }
}

impl World {
    fn note_trouble(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.store != StoreState::Failing(text.clone()) {
            tracing::error!(error = text, "the store does not save");
            self.store = StoreState::Failing(text);
        }
    }
}
