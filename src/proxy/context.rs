//! What is kept of a request, from its first hook to its last.
//!
//! It holds the request's service of one table, never the table.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use pingora_core::{Error, ErrorType, Result};

use super::access_record::Note;
use super::answer_bounds::AnswerBounds;
use super::attempt::Attempt;
use super::claim::Claim;
use super::drain::OpenRequest;
use super::forward::{IdentityHeaders, Onward};
use super::forwarded::Origin;
use super::upload::Upload;

/// What is kept of a request.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) started_us: u64,
    /// `None` until the request's first hook ran.
    pub(super) request_id: Option<HeaderValue>,
    /// `None` until the request's first hook ran.
    pub(super) origin: Option<Origin>,
    /// `None` until the request has a target.
    pub(super) attempt: Option<Attempt>,
    pub(super) upload: Upload,
    open: OpenRequest,
    /// For the access log; `None` for a request that is not logged.
    pub(super) note: Option<Note>,
    pub(super) bounds: AnswerBounds,
    /// Whether the answer goes out in chunks that trailers may follow.
    pub(super) takes_trailers: bool,
    /// On the stream that it came on; `None` over HTTP/1.1, and until the request's first hook ran.
    pub(super) claim: Option<Claim>,
    /// The trailers of a request whose body is whole, as far as any target may get them; `None`
    /// while nobody has asked for them.
    pub(super) trailers: Option<Box<HeaderMap>>,
}

impl Context {
    /// The context of a request that has just begun.
    pub(super) fn new(started_us: u64, open: OpenRequest, note: Option<Note>) -> Self {
        Self {
            started_us,
            request_id: None,
            origin: None,
            attempt: None,
            upload: Upload::default(),
            open,
            note,
            bounds: AnswerBounds::default(),
            takes_trailers: false,
            claim: None,
            trailers: None,
        }
    }

    pub(super) fn request_id(&self) -> HeaderValue {
        self.request_id.clone().expect("the first hook sets it")
    }

    /// What the request takes with it to a target.
    pub(super) fn onward<'c>(&'c self, identity: &'c IdentityHeaders) -> Result<Onward<'c>> {
        match (&self.origin, &self.request_id) {
            (Some(origin), Some(request_id)) => Ok(Onward { origin, identity, request_id }),
            (Some(_) | None, _) => {
                Err(Error::explain(ErrorType::InternalError, "a request without an origin"))
            }
        }
    }

    /// The request is one that lasts for as long as it likes.
    pub(super) fn streams(&mut self) {
        self.open.streams();
    }

    pub(super) fn client(&self) -> Option<IpAddr> {
        self.origin.as_ref()?.client
    }

    /// Whether the answer of the target that is being tried may come with trailers.
    pub(super) fn has_trailers(&self) -> bool {
        self.attempt.as_ref().is_some_and(Attempt::has_trailers)
    }

    pub(super) fn attempt(&mut self) -> Result<&mut Attempt> {
        self.attempt.as_mut().ok_or_else(no_target)
    }
}

/// The error of a hook that needs a target where there is none.
pub(super) fn no_target() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "a request without a target")
}
