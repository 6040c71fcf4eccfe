//! Couriers: what takes the request of one exchange to its target, over either protocol, and what
//! comes back.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::client::conn::http1::SendRequest;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::sync::mpsc;

use super::outgoing::Outgoing;
use super::remainder::Remainder;
use super::trunk::Berth;
use super::{http1, http2};

/// What takes a request to its target.
pub(super) enum Courier {
    /// A connection that the exchange has to itself.
    Http1(SendRequest<Outgoing>),
    /// A place on one that requests share.
    Http2(Berth),
}

/// A request that is on its way.
pub(super) struct Sent {
    /// What is still to follow of its body; `None` if it has none.
    pub(super) upload: Option<Remainder>,
    /// The interim answers (1xx), as they come.
    pub(super) interim: mpsc::Receiver<ResponseHeader>,
    /// The final one.
    pub(super) answer: Pin<Box<dyn Future<Output = Result<Answer>> + Send>>,
}

/// An answer whose header is there.
pub(super) struct Answer {
    pub(super) header: ResponseHeader,
    pub(super) body: Incoming,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Incoming {
    Http1(hyper::body::Incoming),
    Http2(http2::Body),
}

/// A part of an answer's body.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Courier {
    /// Sends a request; `has_body` tells whether the upload brings a body.
    ///
    /// # Errors
    /// It cannot be sent.
    pub(super) fn send(&mut self, request: Request<()>, has_body: bool) -> Result<Sent> {
        match self {
            Self::Http1(sender) => Ok(http1::send(sender, request, has_body)),
            Self::Http2(berth) => http2::send(berth, request, has_body),
        }
    }
}

impl Incoming {
    /// How long it is; `None` if that is not known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Http1(body) => http1::length_of(body),
            Self::Http2(body) => body.length(),
        }
    }

    /// Whether the answer ended with its header, as is known where HTTP/2 says so.
    pub(super) fn ended_with_header(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(body) => body.is_none(),
        }
    }

    /// The next part of it; `None` at its end. Loses nothing if it is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>> {
        match self {
            Self::Http1(body) => http1::next_of(body).await,
            Self::Http2(body) => body.next().await,
        }
    }
}

/// Where interim answers are put by whoever hears them, and where they are found.
pub(super) fn interim_answers() -> (mpsc::Sender<ResponseHeader>, mpsc::Receiver<ResponseHeader>) {
    mpsc::channel(WAITING)
}

/// An interim answer, as it is passed on.
pub(super) fn interim(status: StatusCode, fields: &HeaderMap) -> ResponseHeader {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.headers = fields.clone();
    ResponseHeader::from(head)
}

/// An answer that is none.
pub(super) fn malformed(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}

/// How many wait at most: more than a request may have (`answer_bounds`).
const WAITING: usize = 64;
