//! A bell: many ring it, one waits for it.
//!
//! However often it is rung before the one who waits has heard it, it is heard once, and ringing
//! it again costs one atomic step: a green that fails everything must not slow the requests down.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The bell.
#[derive(Debug, Default)]
pub(super) struct Bell {
    is_rung: AtomicBool,
    /// Who waits; `None` while nobody does.
    waiting: Mutex<Option<Waker>>,
}

impl Bell {
    /// Rings it. Never waits for anything but whoever is about to listen, and that only if it was
    /// not rung already.
    pub(super) fn ring(&self) {
        // Looked at first: what is only read is not taken away from the other threads.
        if self.is_rung.load(Ordering::Relaxed) || self.is_rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Resolves once it was rung since it was heard last.
    pub(super) async fn heard(&self) {
        poll_fn(|context| self.listen(context)).await;
    }

    fn listen(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        // Who rang in between found nobody to wake.
        if self.is_rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_is_heard_once_however_often_it_was_rung() {
        let bell = Bell::default();
        (0..3).for_each(|_| bell.ring());
        bell.heard().await;
        assert!(timeout(Duration::from_millis(20), bell.heard()).await.is_err());
        bell.ring();
        bell.heard().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_is_woken_by_every_ring_that_was_not_heard_yet() {
        let bell = Arc::new(Bell::default());
        let (heard, mut each) = tokio::sync::mpsc::channel(1);
        let listener = {
            let bell = Arc::clone(&bell);
            tokio::spawn(async move {
                loop {
                    bell.heard().await;
                    if heard.send(()).await.is_err() {
                        return;
                    }
                }
            })
        };
        for turn in 0..500 {
            bell.ring();
            let came = timeout(Duration::from_secs(10), each.recv()).await;
            assert_eq!(came.expect("heard in time"), Some(()), "turn {turn}");
        }
        listener.abort();
    }
}
