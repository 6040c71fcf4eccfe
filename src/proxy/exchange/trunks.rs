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
use tokio::time::{Instant, timeout_at};

use super::trunk::{Berth, Load, Opened, Trunk};

/// All connections of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Trunks(Arc<Ways>);

/// What leads to targets, by the key of their peers.
#[derive(Debug, Default)]
struct Ways(Mutex<HashMap<u64, Way>>);

/// What leads to one target in one way.
#[derive(Debug, Default)]
struct Way {
    trunks: Vec<Arc<Trunk>>,
    /// Connections that are being made.
    openings: Vec<Opening>,
    /// How many requests one carries at once, as the last one has shown; `None` before the first.
    places: Option<usize>,
}

/// A connection that is being made.
#[derive(Debug)]
struct Opening {
    /// `None` until it is known; without a sender whoever made it has given up.
    outcome: watch::Receiver<Option<Outcome>>,
    /// How many will have a place on it.
    places: usize,
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
    /// Connects, and tells those that wait.
    Connect(Announcer),
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
            let opened = Opened::to(connector, peer).await?;
            let (_, berth, driving) = opened.carry(None, |_| false);
            tokio::spawn(driving);
            return Ok((berth, false));
        }
        let due = Instant::now() + peer.options.total_connection_timeout.unwrap_or(CONNECT);
        loop {
            match self.0.step(peer) {
                Step::Board(berth) => {
                    // Its target may have ended it since.
                    if let Some(berth) = berth.ready().await {
                        return Ok((berth, true));
                    }
                }
                Step::Wait(outcome) => match timeout_at(due, outcome_of(outcome)).await {
                    Ok(Some(Err(failure))) => return Err(failure.error()),
                    Ok(Some(Ok(())) | None) => {}
                    Err(_) => {
                        let what = "a connection that somebody else makes";
                        return Err(Error::explain(ErrorType::ConnectTimedout, what).into_up());
                    }
                },
                Step::Connect(announcer) => {
                    let opened = Opened::to(connector, peer).await;
                    return Ok((announcer.opened(idle, opened)?, false));
                }
            }
        }
    }
}

impl Ways {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(self: &Arc<Self>, peer: &HttpPeer) -> Step {
        let key = peer.reuse_hash();
        let mut ways = self.lock();
        let way = ways.entry(key).or_default();
        if let Some(berth) = way.trunks.iter().find_map(|trunk| trunk.board()) {
            return Step::Board(berth);
        }
        if let Some(opening) = way.openings.iter_mut().find(|opening| opening.places > 0) {
            opening.places -= 1;
            return Step::Wait(opening.outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        let places = way.places.unwrap_or(peer.options.max_h2_streams).saturating_sub(1);
        way.openings.push(Opening { outcome, places });
        Step::Connect(Announcer { ways: Arc::clone(self), key, sender })
    }

    /// Forgets what has ended of a way.
    fn tidy(&self, key: u64) {
        let mut ways = self.lock();
        if let Some(way) = ways.get_mut(&key) {
            way.trunks.retain(|trunk| !trunk.has_ended());
            if way.trunks.is_empty() && way.openings.is_empty() {
                ways.remove(&key);
            }
        }
    }

    /// Retires a connection that carries nothing; `false` if it does. Nobody finds a place meanwhile.
    fn retires(&self, load: &Load) -> bool {
        let _ways = self.lock();
        let is_empty = load.riders() == 0;
        if is_empty {
            load.end();
        }
        is_empty
    }
}

/// What came of a connection that somebody else makes; `None` if that one has gone without a word.
async fn outcome_of(mut outcome: watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    outcome.wait_for(Option::is_some).await.ok()?.clone()
}

/// Whoever makes a connection, and tells those that wait for it, also by going without a word.
struct Announcer {
    ways: Arc<Ways>,
    key: u64,
    sender: watch::Sender<Option<Outcome>>,
}

impl Announcer {
    /// Takes a connection in, and tells those that wait for it.
    fn opened(self, idle: Option<Duration>, opened: Result<Opened>) -> Result<Berth> {
        let outcome = match &opened {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::of(error)),
        };
        let berth = opened.map(|opened| {
            let (ways, key) = (Arc::downgrade(&self.ways), self.key);
            let retire = {
                let ways = Weak::clone(&ways);
                // Without the others there is nobody who could find a place on it.
                move |load: &Load| ways.upgrade().is_none_or(|ways| ways.retires(load))
            };
            let (trunk, berth, driving) = opened.carry(idle, retire);
            let mut ways_now = self.ways.lock();
            let way = ways_now.entry(key).or_default();
            way.places = Some(trunk.places());
            way.trunks.push(trunk);
            drop(ways_now);
            tokio::spawn(async move {
                driving.await;
                if let Some(ways) = ways.upgrade() {
                    ways.tidy(key);
                }
            });
            berth
        });
        self.sender.send_replace(Some(outcome));
        berth
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if let Some(way) = self.ways.lock().get_mut(&self.key) {
            let outcome = self.sender.subscribe();
            way.openings.retain(|opening| !opening.outcome.same_channel(&outcome));
        }
        self.ways.tidy(self.key);
    }
}

/// How long others are waited for, where nothing bounds connecting.
const CONNECT: Duration = Duration::from_secs(60);
