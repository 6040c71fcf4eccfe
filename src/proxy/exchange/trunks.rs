//! The connections of HTTP/2 that exchanges share: one to a target carries as many requests at once
//! as it takes, and who comes while it is being made waits for it.
//!
//! Connections lead to the same in the same way if their peers have the same key (`peer`). One that
//! ends is forgotten with its last request; one that carries none is kept for the time that its
//! service allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pingora_core::connectors::TransportConnector;
use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use pingora_core::{Error, ErrorType, Result};
use tokio::sync::watch;

use super::trunk::{Berth, MAX_STREAMS, Opened, Trunk};

/// All connections of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Trunks {
    ways: Arc<Mutex<HashMap<u64, Way>>>,
}

/// What leads to one target in one way.
#[derive(Debug, Default)]
struct Way {
    trunks: Vec<Arc<Trunk>>,
    /// A connection that is being made; `None` if nobody makes one.
    opening: Option<Opening>,
}

/// A connection that is being made.
#[derive(Debug)]
struct Opening {
    /// `None` until it is known; without a sender whoever made it has given up.
    outcome: watch::Receiver<Option<Outcome>>,
    /// How many wait for it.
    waiting: usize,
}

/// What came of a connection: it stands, or not.
type Outcome = Result<(), Failure>;

/// Why there is no connection, for all that waited for it.
#[derive(Clone, Debug)]
struct Failure {
    kind: ErrorType,
    cause: String,
}

impl Failure {
    fn of(error: &Error) -> Self {
        Self { kind: error.etype.clone(), cause: error.to_string() }
    }

    fn error(self) -> Box<Error> {
        Error::explain(self.kind, self.cause).into_up()
    }
}

/// What somebody who needs a place does next.
enum Step {
    /// There is one.
    Board(Berth),
    /// Somebody else connects.
    Wait(watch::Receiver<Option<Outcome>>),
    /// Connects, and tells those that wait; `None` if others are told by somebody else.
    Connect(Option<watch::Sender<Option<Outcome>>>),
}

impl Trunks {
    /// A place on a connection to a peer, and whether the connection stood before.
    ///
    /// # Errors
    /// No connection came to stand.
    pub(super) async fn berth(
        &self,
        connector: &TransportConnector,
        peer: &HttpPeer,
    ) -> Result<(Berth, bool)> {
        let idle = peer.idle_timeout();
        if idle == Some(Duration::ZERO) {
            // What is not kept is not shared.
            let (_, berth, driving) = Opened::to(connector, peer).await?.carry(None);
            tokio::spawn(driving);
            return Ok((berth, false));
        }
        let key = peer.reuse_hash();
        loop {
            match self.step(key) {
                Step::Board(berth) => {
                    // Its target may have ended it since.
                    if let Some(berth) = berth.ready().await {
                        return Ok((berth, true));
                    }
                }
                Step::Wait(outcome) => {
                    if let Some(Err(failure)) = outcome_of(outcome).await {
                        return Err(failure.error());
                    }
                }
                Step::Connect(announcer) => {
                    let opened = Opened::to(connector, peer).await;
                    return Ok((self.opened(key, idle, announcer, opened)?, false));
                }
            }
        }
    }

    fn ways(&self) -> MutexGuard<'_, HashMap<u64, Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, key: u64) -> Step {
        let mut ways = self.ways();
        let way = ways.entry(key).or_default();
        if let Some(berth) = way.trunks.iter().find_map(Trunk::board) {
            return Step::Board(berth);
        }
        match &mut way.opening {
            Some(opening) if !opening.is_given_up() => {
                if opening.waiting >= MAX_STREAMS {
                    return Step::Connect(None);
                }
                opening.waiting += 1;
                Step::Wait(opening.outcome.clone())
            }
            Some(_) | None => {
                let (announcer, outcome) = watch::channel(None);
                way.opening = Some(Opening { outcome, waiting: 1 });
                Step::Connect(Some(announcer))
            }
        }
    }

    /// Takes a connection in, and tells those that wait for it.
    fn opened(
        &self,
        key: u64,
        idle: Option<Duration>,
        announcer: Option<watch::Sender<Option<Outcome>>>,
        opened: Result<Opened>,
    ) -> Result<Berth> {
        let outcome = match &opened {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::of(error)),
        };
        let berth = {
            let mut ways = self.ways();
            let way = ways.entry(key).or_default();
            if announcer.is_some() {
                way.opening = None;
            }
            let berth = opened.map(|opened| {
                let (trunk, berth, driving) = opened.carry(idle);
                way.trunks.push(trunk);
                let ways = Arc::downgrade(&self.ways);
                tokio::spawn(async move {
                    driving.await;
                    forget_ended(&ways, key);
                });
                berth
            });
            if way.is_unused() {
                ways.remove(&key);
            }
            berth
        };
        if let Some(announcer) = announcer {
            announcer.send_replace(Some(outcome));
        }
        berth
    }
}

impl Way {
    fn is_unused(&self) -> bool {
        self.trunks.is_empty() && self.opening.as_ref().is_none_or(Opening::is_given_up)
    }
}

impl Opening {
    /// Whether whoever makes it has gone without a word.
    fn is_given_up(&self) -> bool {
        self.outcome.has_changed().is_err()
    }
}

/// What came of a connection that somebody else makes; `None` if that one has gone without a word.
async fn outcome_of(mut outcome: watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    outcome.wait_for(Option::is_some).await.ok()?.clone()
}

/// Forgets the connections of a way that have ended.
fn forget_ended(ways: &Weak<Mutex<HashMap<u64, Way>>>, key: u64) {
    let Some(ways) = ways.upgrade() else { return };
    let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(way) = ways.get_mut(&key) {
        way.trunks.retain(|trunk| !trunk.has_ended());
        if way.is_unused() {
            ways.remove(&key);
        }
    }
}
