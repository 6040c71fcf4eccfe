//! Where guests run: a thread and a tokio runtime of their own, fed by a bounded queue.
//!
//! Two looping guests on a shared runtime starve everything else on it, whatever they yield. On
//! their own they starve only each other, a single worker leaves the other cores to the proxy, and
//! on the last core it is nice to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
use super::compiler::Compiler;
use super::engine::CONCURRENT_CALLS;
use super::imports::Views;
use super::records::Records;
use super::registry::Registry;
use crate::clock::Clock;
use crate::core::rollout::{GateAnswer, GateCall, GateErrorKind, GateEvidence, GateHearing};

/// How many calls may wait in the queue, and as many again for one of the [`CONCURRENT_CALLS`].
pub(super) const WAITING_CALLS: usize = 64;
/// How many gates may be loaded or wait for that at once.
const LOADS: usize = 16;
const WORKERS: usize = 1;
/// One for what is loaded, the others for names that are looked up.
const BLOCKING_THREADS: usize = 3;
/// How nice the threads are that run guests.
const NICE: i32 = 10;

/// What every call needs.
pub(super) struct Guests {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) views: Views,
    pub(super) registry: Registry,
    pub(super) compiler: Compiler,
    pub(super) records: Records,
}

/// A question and where its answer goes.
pub(super) struct Job {
    pub(super) call: GateCall,
    pub(super) evidence: Option<GateEvidence>,
    pub(super) reply: Box<Reply>,
}

/// Takes an answer, and what the gate was told; `None` if it was not asked.
pub(super) type Reply = dyn FnOnce(GateAnswer, Option<Box<GateHearing>>) + Send;

impl Job {
    fn refuse(self, kind: GateErrorKind, text: &str) {
        (self.reply)(failed((kind, text.to_owned())), None);
    }
}

/// The thread, its queue and the way to end it.
pub(super) struct Runtime {
    queue: mpsc::Sender<Job>,
    /// Dropped or used, it ends the dispatcher.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    handle: Handle,
    loads: Arc<AtomicUsize>,
    /// Held by whoever loads.
    loading: Mutex<()>,
}

impl Runtime {
    /// Starts the thread.
    pub(super) fn start(guests: Arc<Guests>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("gate")
            .on_thread_start(be_nice)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (queue, jobs) = mpsc::channel(WAITING_CALLS);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("gate-host".to_owned()).spawn(move || {
            be_nice();
            runtime.block_on(dispatch(guests, jobs, stopped));
        })?;
        Ok(Self { queue, stop, thread, handle, loads: Arc::default(), loading: Mutex::default() })
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

    /// Runs work that may take long on a blocking thread of the gates' own, one piece after the
    /// other, and waits for it; refuses if too much of it waits.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle) -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let place = Place::take(&self.loads)?;
        // Who waits here holds no thread that names are looked up on; no two are compiled at once.
        let _turn = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let handle = self.handle.clone();
        self.handle.spawn_blocking(move || {
            // The receiver is waiting below; it cannot have gone.
            let _ = sender.send(work(&handle));
            drop(place);
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

/// One of the [`LOADS`], until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(loads: &Arc<AtomicUsize>) -> Result<Self, GateError> {
        // Counted first: what is too much takes its own count back.
        let (place, waiting) = (Self(Arc::clone(loads)), loads.fetch_add(1, Ordering::Relaxed));
        if waiting >= LOADS { Err(GateError::Busy { waiting }) } else { Ok(place) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes this thread, and no other, give way to the proxy's.
fn be_nice() {
    // A process that was started nicer than this stays so.
    let _ = rustix::process::setpriority_process(None, NICE);
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
        return reply(failed((GateErrorKind::Unavailable, text)), None);
    };
    let waiting = async { (gate.places.acquire().await, places.acquire().await) };
    let place = timeout(LONGEST_WAIT, waiting).await;
    let refusal = match &place {
        Ok((Ok(_), Ok(_))) => None,
        Ok((Err(_), _) | (_, Err(_))) => Some((GateErrorKind::Unavailable, STOPPING)),
        Err(_) => Some((GateErrorKind::Busy, "too many calls of gates are running")),
    };
    if let Some((kind, text)) = refusal {
        return reply(failed((kind, text.to_owned())), None);
    }
    let (name, digest) = (call.name().clone(), call.digest);
    // Not before it is its turn: what failed in the meantime counts, and a call that is tried runs.
    if let Err(why) = guests.records.admit(&name, digest, guests.clock.mono()) {
        return reply(failed((GateErrorKind::CircuitOpen, why)), None);
    }
    let begun = guests.clock.mono_us();
    let (host, asked) = (Arc::clone(&guests), Arc::clone(&gate));
    let evaluation = tokio::spawn(async move { host.evaluate(&asked, &call, evidence).await });
    let (answer, hearing) = evaluation.await.unwrap_or_else(|_| {
        let text = "the host panicked while the gate ran".to_owned();
        (failed((GateErrorKind::Unavailable, text)), None)
    });
    let took_us = guests.clock.mono_us().saturating_sub(begun);
    guests.records.settle(&name, digest, &answer, took_us, guests.clock.mono());
    reply(answer, hearing);
}
