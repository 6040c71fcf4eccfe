//! The ordered watch: the last changes in a ring, and watchers that walk along it.
//!
//! A watcher takes changes from the ring when it asks for them, so that a slow one costs nothing
//! and holds nobody up. What it finds to have left the ring it has missed, and is told so: it must
//! load the records and watch anew. Nothing is ever left out silently.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::Key;

/// One record written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The store's revision after it; all changes of one commit have the same.
    pub revision: u64,
    /// Which record.
    pub key: Key,
    /// Its new contents; `None` if it was removed.
    pub value: Option<String>,
}

/// Why a watch gives no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// Changes were missed; load the records and watch anew.
    #[error("the watch fell behind and has missed changes")]
    Lagged,
    /// The store is closed and every change was given.
    #[error("the store is closed")]
    Closed,
}

/// A place in the order of changes.
#[derive(Debug)]
pub struct Watch {
    ring: Arc<Mutex<Ring>>,
    wake: watch::Receiver<()>,
    /// The number of the next change to give.
    cursor: u64,
}

impl Watch {
    /// Waits for the next change. Nothing is lost if the waiting is given up.
    ///
    /// # Errors
    /// Changes were missed (and ever after), or the store is closed.
    pub async fn next(&mut self) -> Result<Change, WatchError> {
        loop {
            self.wake.borrow_and_update();
            if let Some(change) = self.take()? {
                return Ok(change);
            }
            self.wake.changed().await.map_err(|_| WatchError::Closed)?;
        }
    }

    fn take(&mut self) -> Result<Option<Change>, WatchError> {
        let ring = lock(&self.ring);
        let index = self.cursor.checked_sub(ring.first).ok_or(WatchError::Lagged)?;
        let index = usize::try_from(index).expect("a watch is never ahead of the ring");
        let change = ring.changes.get(index).cloned();
        self.cursor += u64::from(change.is_some());
        Ok(change)
    }
}

/// Where an engine publishes what it has committed.
#[derive(Debug)]
pub(super) struct Feed {
    ring: Arc<Mutex<Ring>>,
    wake: watch::Sender<()>,
}

impl Feed {
    /// The most changes kept for watchers.
    pub(super) const CHANGE_LIMIT: usize = 4_096;
    /// The most bytes of values kept for watchers, who load the records anew if that was too few.
    /// They are there for as long as the process is: rollouts that are saved again and again, and
    /// gates that write, fill them.
    const BYTE_LIMIT: usize = 2 << 20;

    /// A feed that begins after this revision.
    pub(super) fn new(revision: u64) -> Self {
        let ring = Ring {
            first: 1,
            floor: revision,
            latest: revision,
            bytes: 0,
            changes: VecDeque::new(),
        };
        Self { ring: Arc::new(Mutex::new(ring)), wake: watch::Sender::new(()) }
    }

    /// Gives a commit's changes to all watchers; in the order of the commits.
    pub(super) fn publish(&self, changes: Vec<Change>) {
        let mut ring = lock(&self.ring);
        for mut change in changes {
            // As long as it is, or the bound would be another one.
            if let Some(value) = &mut change.value {
                value.shrink_to_fit();
            }
            ring.latest = change.revision;
            ring.bytes += change.value.as_ref().map_or(0, String::len);
            ring.changes.push_back(change);
        }
        while ring.changes.len() > Self::CHANGE_LIMIT || ring.bytes > Self::BYTE_LIMIT {
            ring.drop_oldest();
        }
        drop(ring);
        self.wake.send_replace(());
    }

    /// Tells the watchers that they have missed something, if the store is at another revision
    /// than the last one published.
    pub(super) fn resync(&self, revision: u64) {
        let mut ring = lock(&self.ring);
        if ring.latest == revision {
            return;
        }
        while !ring.changes.is_empty() {
            ring.drop_oldest();
        }
        ring.first += 1;
        ring.floor = revision;
        ring.latest = revision;
        drop(ring);
        self.wake.send_replace(());
    }

    /// A watch that gives every change after this revision. It has lagged from the start if some
    /// are no longer kept, or if the store was never at this revision.
    pub(super) fn watch(&self, after: u64) -> Watch {
        let ring = lock(&self.ring);
        let cursor = if (ring.floor..=ring.latest).contains(&after) {
            let known = ring.changes.partition_point(|change| change.revision <= after);
            ring.first + u64::try_from(known).expect("the ring is short")
        } else {
            LAGGED
        };
        Watch { ring: Arc::clone(&self.ring), wake: self.wake.subscribe(), cursor }
    }
}

/// The last changes, numbered without gaps.
#[derive(Debug)]
struct Ring {
    /// The number of the oldest change kept, or of the next one if none is.
    first: u64,
    /// The last revision of which a change is no longer kept.
    floor: u64,
    /// The last revision published.
    latest: u64,
    /// The bytes of the values kept.
    bytes: usize,
    changes: VecDeque<Change>,
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.first += 1;
            self.floor = change.revision;
            self.bytes -= change.value.map_or(0, |value| value.len());
        }
    }
}

/// A cursor before the first change there ever was.
const LAGGED: u64 = 0;

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().expect("nothing panics while it holds the ring")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64) -> Change {
        let key = Key::new("service", "shop").expect("valid");
        Change { revision, key, value: Some(revision.to_string()) }
    }

    #[tokio::test]
    async fn a_watch_begins_after_its_revision() {
        let feed = Feed::new(3);
        let mut watch = feed.watch(3);
        (4..=6).for_each(|revision| feed.publish(vec![change(revision)]));
        assert_eq!(watch.next().await, Ok(change(4)));
        assert_eq!(feed.watch(4).next().await, Ok(change(5)));
        for unknown in [2, 7] {
            assert_eq!(feed.watch(unknown).next().await, Err(WatchError::Lagged));
        }
    }

    #[tokio::test]
    async fn what_a_watch_need_not_give_cannot_make_it_lag() {
        let feed = Feed::new(0);
        let limit = Feed::CHANGE_LIMIT as u64;
        (1..=limit).for_each(|revision| feed.publish(vec![change(revision)]));
        let mut watch = feed.watch(limit);
        feed.publish(vec![change(limit + 1)]);
        assert_eq!(watch.next().await, Ok(change(limit + 1)));
    }

    #[tokio::test]
    async fn all_changes_of_one_revision_are_given() {
        let feed = Feed::new(0);
        let mut watch = feed.watch(0);
        feed.publish(vec![change(1), change(1)]);
        assert_eq!(watch.next().await, Ok(change(1)));
        assert_eq!(watch.next().await, Ok(change(1)));
        drop(feed);
        assert_eq!(watch.next().await, Err(WatchError::Closed));
    }

    #[tokio::test]
    async fn a_watch_that_has_missed_a_change_stays_behind() {
        let feed = Feed::new(0);
        let (mut slow, limit) = (feed.watch(0), Feed::CHANGE_LIMIT as u64);
        (1..=limit).for_each(|revision| feed.publish(vec![change(revision)]));
        assert_eq!(slow.next().await, Ok(change(1)));
        (1..=3).for_each(|more| feed.publish(vec![change(limit + more)]));
        assert_eq!(slow.next().await, Err(WatchError::Lagged));
        assert_eq!(slow.next().await, Err(WatchError::Lagged));
        assert_eq!(feed.watch(2).next().await, Err(WatchError::Lagged));
        assert_eq!(feed.watch(3).next().await, Ok(change(4)));
    }

    #[test]
    fn large_values_leave_the_ring_earlier() {
        let feed = Feed::new(0);
        let large = Feed::BYTE_LIMIT / 2 + 1;
        let large = |revision| Change { value: Some("x".repeat(large)), ..change(revision) };
        feed.publish(vec![large(1)]);
        feed.publish(vec![large(2)]);
        assert_eq!(lock(&feed.ring).changes.len(), 1);
        assert_eq!(lock(&feed.ring).floor, 1);
    }

    #[test]
    fn a_flood_of_writes_takes_no_more_memory_than_the_bound() {
        let feed = Feed::new(0);
        for revision in 1..=500 {
            let mut value = String::with_capacity(256 << 10);
            value.push_str(&"x".repeat(64 << 10));
            feed.publish(vec![Change { value: Some(value), ..change(revision) }]);
        }
        let ring = lock(&feed.ring);
        let values = ring.changes.iter().filter_map(|change| change.value.as_ref());
        let taken: usize = values.map(String::capacity).sum();
        assert!(taken <= Feed::BYTE_LIMIT && taken == ring.bytes, "{taken}");
    }

    #[tokio::test]
    async fn a_revision_from_elsewhere_is_a_lag_for_everybody() {
        let feed = Feed::new(4);
        let mut watch = feed.watch(4);
        feed.resync(4);
        feed.publish(vec![change(5)]);
        assert_eq!(watch.next().await, Ok(change(5)));
        feed.resync(6);
        assert_eq!(watch.next().await, Err(WatchError::Lagged));
        let mut anew = feed.watch(6);
        feed.publish(vec![change(7)]);
        assert_eq!(anew.next().await, Ok(change(7)));
    }
}
