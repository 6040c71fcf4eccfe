//! Where guests run: a thread and a tokio runtime of their own, fed by a bounded queue.
//!
//! Two looping guests on a shared runtime starve everything else on it, whatever they yield. On
//! their own they starve only each other, and a single worker leaves the other cores to the proxy.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wasmtime::Engine;

use super::GateError;
use super::call::failed;
use super::engine::CONCURRENT_CALLS;
use super::imports::Views;
use super::registry::Registry;
use crate::clock::Clock;
use crate::core::rollout::{GateAnswer, GateCall, GateErrorKind, GateEvidence};

/// How many calls may wait in the queue, and as many again for one of the [`CONCURRENT_CALLS`].
pub(super) const WAITING_CALLS: usize = 64;
const WORKERS: usize = 1;
/// One for what is loaded, the others for names that are looked up.
const BLOCKING_THREADS: usize = 3;

/// What every call needs.
pub(super) struct Guests {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) views: Views,
    pub(super) registry: Registry,
}

/// A question and where its answer goes.
pub(super) struct Job {
    pub(super) call: GateCall,
    pub(super) evidence: Option<GateEvidence>,
    pub(super) reply: Box<dyn FnOnce(GateAnswer) + Send>,
}

impl Job {
    fn refuse(self, kind: GateErrorKind, text: &str) {
        (self.reply)(failed((kind, text.to_owned())));
    }
}

/// The thread, its queue and the way to end it.
pub(super) struct Runtime {
    queue: mpsc::Sender<Job>,
    /// Dropped or used, it ends the dispatcher.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    handle: Handle,
}

impl Runtime {
    /// Starts the thread.
    pub(super) fn start(guests: Arc<Guests>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("gate")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (queue, jobs) = mpsc::channel(WAITING_CALLS);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("gate-host".to_owned())
            .spawn(move || runtime.block_on(dispatch(guests, jobs, stopped)))?;
        Ok(Self { queue, stop, thread, handle })
    }

    /// Puts a job into the queue, or answers it here and now.
    pub(super) fn submit(&self, job: Job) {
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                job.refuse(GateErrorKind::Busy, "too many calls of gates are waiting");
            }
            Err(TrySendError::Closed(job)) => job.refuse(GateErrorKind::Unavailable, STOPPING),
        }
    }

    /// Runs work that may take long on the gates' own blocking thread, and waits for it.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle) -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let handle = self.handle.clone();
        self.handle.spawn_blocking(move || {
            // The receiver is waiting below; it cannot have gone.
            let _ = sender.send(work(&handle));
        });
        receiver.recv().map_err(|_| GateError::Stopped)
    }

    /// Answers what is waiting with an error, lets running calls come to their end, and joins.
    pub(super) fn shutdown(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the gate host panicked");
        }
    }
}

/// The calls that are taken out of the queue: those that run, and those that wait for a place.
const TAKEN_CALLS: usize = CONCURRENT_CALLS + WAITING_CALLS;
/// How long a call waits for a place; with its deadline it is shorter than the rollout's patience.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
const STOPPING: &str = "the gate host is shutting down";

async fn dispatch(
    guests: Arc<Guests>,
    mut jobs: mpsc::Receiver<Job>,
    mut stopped: oneshot::Receiver<()>,
) {
    // Each call waits for a place of its gate first, so that one gate cannot hold all of these.
    let places = Arc::new(Semaphore::new(CONCURRENT_CALLS));
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = running.join_next() => {}
            job = jobs.recv(), if running.len() < TAKEN_CALLS => match job {
                Some(job) => {
                    running.spawn(run(guests.clone(), places.clone(), job));
                }
                None => break,
            },
        }
    }
    places.close();
    jobs.close();
    while let Ok(job) = jobs.try_recv() {
        job.refuse(GateErrorKind::Unavailable, STOPPING);
    }
    while running.join_next().await.is_some() {}
}

/// Evaluates in a task of its own, so that a panic in the host is an answer too.
async fn run(guests: Arc<Guests>, places: Arc<Semaphore>, job: Job) {
    let Job { call, evidence, reply } = job;
    let Some(gate) = guests.registry.find(call.name(), call.digest) else {
        let text = format!("gate {} with the digest {} is not loaded", call.name(), call.digest);
        return reply(failed((GateErrorKind::Unavailable, text)));
    };
    let waiting = async { (gate.places.acquire().await, places.acquire().await) };
    let place = timeout(LONGEST_WAIT, waiting).await;
    let refusal = match &place {
        Ok((Ok(_), Ok(_))) => None,
        Ok((Err(_), _) | (_, Err(_))) => Some((GateErrorKind::Unavailable, STOPPING)),
        Err(_) => Some((GateErrorKind::Busy, "too many calls of gates are running")),
    };
    if let Some((kind, text)) = refusal {
        return reply(failed((kind, text.to_owned())));
    }
    let asked = Arc::clone(&gate);
    let evaluation = tokio::spawn(async move { guests.evaluate(&asked, &call, evidence).await });
    reply(evaluation.await.unwrap_or_else(|_| {
        failed((GateErrorKind::Unavailable, "the host panicked while the gate ran".to_owned()))
    }));
}
