//! A request's claim to the stream of HTTP/2 that it came on, and what is said on it through that:
//! interim answers (1xx), which neither Pingora nor h2 passes on.

use std::sync::Arc;

use http::header::EXPECT;
use http::{HeaderMap, StatusCode};
use pingora_proxy::Session;

use super::connection::Connection;
use super::interim_frame;
use super::open_streams::OpenStreams;
use super::stream_tag;

/// The claim of a request of HTTP/2, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    streams: Arc<OpenStreams>,
    /// `None` if the request's header swallowed the tag that was put behind it.
    stream: Option<u32>,
    /// Whether the client waits to be told to go on, and was not told.
    is_expectant: bool,
}

impl Claim {
    /// Takes the tag out of a session's request and claims the stream that it names; `None` over
    /// HTTP/1.1.
    pub(super) fn of(session: &mut Session) -> Option<Self> {
        let connection = Connection::of(session.digest());
        let streams = connection.and_then(|connection| connection.streams()).map(Arc::clone);
        let request = session.req_header_mut();
        let Some(streams) = streams else {
            stream_tag::remove(request);
            return None;
        };
        let stream = streams.tag().take(request);
        if let Some(stream) = stream {
            streams.claim(stream);
        }
        let is_expectant = request.headers.contains_key(EXPECT);
        Some(Self { streams, stream, is_expectant })
    }

    /// Whether the request's header ended inside of a field, so that the tag became part of it.
    pub(super) fn is_torn(&self) -> bool {
        self.stream.is_none()
    }

    /// Passes an interim answer on; the client may not get it, which changes nothing.
    pub(super) fn pass(&mut self, status: StatusCode, fields: &HeaderMap) {
        // Who waits for nothing is told nothing, and nobody twice.
        let is_idle = status == StatusCode::CONTINUE && !std::mem::take(&mut self.is_expectant);
        if is_idle || status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let Some(stream) = self.stream else { return };
        let frame = interim_frame::of(stream, status, fields);
        let is_said = frame.is_some_and(|frame| self.streams.say(stream, frame));
        if !is_said {
            tracing::debug!(stream, %status, "an interim answer is dropped");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(stream) = self.stream {
            self.streams.release(stream);
        }
    }
}
