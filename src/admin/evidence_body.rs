//! The body of an answer that gives a rollout's evidence, or another long file: one piece at a time,
//! the next one when there is room for it on the connection. A reader that stalls costs its
//! connection and a piece, and not the whole.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame};

use crate::control::EvidenceReader;

/// What is read next; `None` at the end.
type Piece = io::Result<Option<(Vec<u8>, EvidenceReader)>>;

/// A log on its way to somebody.
pub(super) struct EvidenceBody {
    /// The read of the next piece, which begins when it is first asked for; `None` after the last.
    next: Option<Pin<Box<dyn Future<Output = Piece> + Send>>>,
}

impl EvidenceBody {
    pub(super) fn new(log: EvidenceReader) -> Self {
        Self { next: Some(Box::pin(log.next_piece())) }
    }
}

impl fmt::Debug for EvidenceBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceBody").field("is_over", &self.next.is_none()).finish()
    }
}

impl Body for EvidenceBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let read = ready!(next.as_mut().poll(context));
        self.next = None;
        Poll::Ready(match read {
            Ok(Some((piece, log))) => {
                self.next = Some(Box::pin(log.next_piece()));
                Some(Ok(Frame::data(piece.into())))
            }
            Ok(None) => None,
            Err(error) => {
                // The status is sent: all that is left is to break off, which tells nothing.
                tracing::warn!(%error, "what is being sent cannot be read to its end");
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    use super::*;
    use crate::control::Handle;
    use crate::core::model::RolloutId;
    use crate::store::{EvidenceFolder, EvidenceLog};

    #[tokio::test]
    async fn a_log_is_given_whole_and_no_more_than_a_piece_of_it_at_once() {
        let home = tempfile::tempdir().expect("a folder");
        let (folder, id) = (EvidenceFolder::new(home.path()), RolloutId::from_draw(1));
        let bytes: Vec<u8> = (0..5 * EvidenceLog::PIECE / 2).map(|n| n as u8).collect();
        folder.append(&id, Some(0), &bytes).expect("written");
        let handle = Handle::detached(mpsc::channel(1).0, Arc::default(), None);
        let handle = handle.with_evidence(folder);
        let log = handle.evidence(id).await.expect("opened").expect("there is one");
        let (mut body, mut given) = (EvidenceBody::new(log), Vec::new());
        while let Some(frame) = body.frame().await {
            let piece = frame.expect("readable").into_data().expect("there are no trailers");
            assert!(piece.len() <= EvidenceLog::PIECE);
            given.extend_from_slice(&piece);
        }
        assert!(given == bytes && body.is_end_stream());
    }
}
