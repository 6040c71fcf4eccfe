//! The requests over HTTP of one call, whichever way the gate sends them.
//!
//! There are two: the contract's own `fetch`, which waits ([`super::capabilities`]), and `wasi:http`,
//! which promises an answer ([`super::wasi`]). What is permitted, how long it may take, how much may
//! come back and how many there may be is decided here for both, what goes out goes through
//! [`Outside`], and what comes of it is taken down.
//!
//! What `wasi:http` promises is kept by a task for each request, which ends with the call. They go
//! out one after the other in the order of the guest's calls: so they are taken down in the same
//! order each time, and no more than one answer is being read. A request that the guest gives up is
//! not taken down: where the call is made again, the record has no answer to it, and says so.
//!
//! Bodies are text, as those of `fetch` are: one that is sent and is not UTF-8 is refused, in one that
//! comes back other bytes become U+FFFD.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks};

use super::bindings::tidegate::gate::http::Request;
use super::fetch::{is_the_hosts, permitted};
use super::imports::{Subject, Views};
use super::outside::{FetchError, IncomingResponse, OutgoingRequest, Outside};
use super::words;
use crate::clock::Clock;
use crate::core::model::{
    GateGrants, GateLimits, GateName, HttpGrant, MonoTime, ServiceName, Span,
};

/// What a call has asked of others.
pub(super) struct Requests {
    terms: Terms,
    sent: u32,
    /// How many through `wasi:http` came to nothing before they were sent.
    refused: u32,
    /// What there is one more of for each request through `wasi:http` that is under way, or whose
    /// answer was not read.
    open: Arc<()>,
    /// `None` if there was no request yet.
    before: Option<Before>,
    answered: Answered,
}

/// What a call may ask of others.
#[derive(Clone)]
struct Terms {
    gate: GateName,
    /// `None` while the gate describes itself.
    service: Option<ServiceName>,
    /// `None` while the gate describes itself: nothing is granted then.
    grants: Option<Arc<GateGrants>>,
    outside: Arc<dyn Outside>,
    clock: Clock,
    /// When the call's time is over.
    end: MonoTime,
    /// The longest body of a response in bytes.
    longest_body: usize,
    /// The longest body of a request in bytes.
    longest_sent: usize,
}

/// What came of a request.
pub(super) struct Exchanged {
    pub(super) request: OutgoingRequest,
    pub(super) outcome: Result<IncomingResponse, FetchError>,
}

/// What came of requests through `wasi:http` and was not taken down yet.
#[derive(Clone, Default)]
struct Answered(Arc<Mutex<Vec<Exchanged>>>);

/// A response on its way to the guest, as `wasi:http` wants it.
type Sending = Box<dyn Future<Output = Result<(Answer, Ended), Error>> + Send>;
type Answer = http::Response<WasiBody>;
type Ended = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Requests {
    /// None so far.
    pub(super) fn begin(
        gate: &GateName,
        views: &Views,
        subject: Option<&Subject>,
        limits: &GateLimits,
        (clock, end): (Clock, MonoTime),
    ) -> Self {
        let terms = Terms {
            gate: gate.clone(),
            service: subject.map(|subject| subject.service.clone()),
            grants: subject.map(|subject| Arc::clone(&subject.grants)),
            outside: Arc::clone(&views.outside),
            clock,
            end,
            longest_body: as_size(limits.http_response_bytes),
            longest_sent: as_size(limits.response_bytes),
        };
        let (open, answered) = (Arc::default(), Answered::default());
        Self { terms, sent: 0, refused: 0, open, before: None, answered }
    }

    /// Counts a request, and makes one that can be sent of it.
    ///
    /// # Errors
    /// It is no request, it is not granted, or it is one too many.
    pub(super) fn permit(&mut self, request: Request) -> Result<OutgoingRequest, FetchError> {
        self.sent += 1;
        if self.sent > REQUESTS {
            let text = format!("more than {REQUESTS} requests in one call");
            return Err(FetchError::Denied(text));
        }
        let terms = &self.terms;
        permitted(request, terms.granted(), terms.time_to_wait(), terms.longest_body)
    }

    /// What came of requests through `wasi:http` since this was asked before.
    pub(super) fn take_answered(&self) -> Vec<Exchanged> {
        std::mem::take(&mut *self.answered.lock())
    }

    /// The same for one through `wasi:http`, whose answer nobody waits for yet.
    fn permit_to_wait(&mut self, request: Request) -> Result<OutgoingRequest, FetchError> {
        if Arc::strong_count(&self.open) > OPEN {
            let text = format!("more than {OPEN} requests whose answers were not read");
            return Err(FetchError::Denied(text));
        }
        self.permit(request)
    }
}

impl WasiHttpHooks for Requests {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        message: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Ended,
    ) -> Sending {
        let (head, body) = message.into_parts();
        let request = asked(&head, options).and_then(|request| self.permit_to_wait(request));
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                self.refused += 1;
                if self.refused <= TOLD {
                    let host = head.uri.host().unwrap_or_default();
                    self.terms.tell(head.method.as_str(), host, &error);
                }
                let code = code(&error);
                return Box::new(async move { Err::<(Answer, Ended), Error>(code) });
            }
        };
        let (over, next) = oneshot::channel();
        let turn = Turn { before: self.before.replace(Before(next)), over: Some(over) };
        let (terms, answered) = (self.terms.clone(), self.answered.clone());
        let open = Arc::clone(&self.open);
        Box::new(async move { terms.exchange(request, body, (turn, open), &answered).await })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

/// A request's place among those of its call. Dropped, it lets the next one come.
struct Turn {
    /// `None` if it may begin.
    before: Option<Before>,
    /// `None` once it is dropped.
    over: Option<oneshot::Sender<Option<Before>>>,
}

/// Resolves when a request is over, or was given up; then it says whom that one was waiting for.
struct Before(oneshot::Receiver<Option<Self>>);

impl Turn {
    async fn comes(&mut self) {
        while let Some(before) = &mut self.before {
            let then = (&mut before.0).await;
            self.before = then.ok().flatten();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            // There may be no other.
            let _ = over.send(self.before.take());
        }
    }
}

impl Terms {
    fn granted(&self) -> &[HttpGrant] {
        match &self.grants {
            Some(grants) => &grants.http,
            None => &[],
        }
    }

    /// How long the gate can wait for others and still say what came of it.
    fn time_to_wait(&self) -> Span {
        Span::from_ms(self.end.since(self.clock.mono()).ms() * 9 / 10)
    }

    async fn exchange(
        &self,
        mut request: OutgoingRequest,
        body: WasiBody,
        (mut turn, open): (Turn, Arc<()>),
        answered: &Answered,
    ) -> Result<(Answer, Ended), Error> {
        turn.comes().await;
        request.body = self.text(body).await?;
        // Time went by since it was permitted.
        request.timeout = request.timeout.min(self.time_to_wait());
        let outcome = self.outside.fetch(&request).await;
        let answer = match &outcome {
            Ok(response) => answer(response, open),
            Err(error) => {
                self.tell(&request.method, &request.authority, error);
                Err(code(error))
            }
        };
        answered.lock().push(Exchanged { request, outcome });
        drop(turn);
        let ended: Ended = Box::new(async { Ok(()) });
        Ok((answer?, ended))
    }

    /// What a guest sends.
    async fn text(&self, body: WasiBody) -> Result<String, Error> {
        let limit = self.longest_sent;
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::HttpRequestBodySize(Some(limit as u64))
            } else {
                // The guest broke off, or wrote something else than it said.
                error.downcast::<Error>().map_or(Error::HttpProtocolError, |error| *error)
            }
        })?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| {
            Error::InternalError(Some("the body of a request has to be text in UTF-8".to_owned()))
        })
    }

    /// Tells those who operate the gate why there is no response: most words of `wasi:http` have no
    /// place for a reason. What comes after the host, and a user before it, may be a secret.
    fn tell(&self, method: &str, host: &str, error: &FetchError) {
        let text = words::clean(&format!("{error} ({method} to {host:?})"));
        let (gate, service) = (&self.gate, self.service.as_ref().map(ServiceName::as_str));
        self.outside.logged("warn", &text);
        tracing::warn!(%gate, service, "{text}");
    }
}

/// The word of `wasi:http` for why there is no response.
fn code(error: &FetchError) -> Error {
    match error {
        FetchError::Denied(_) => Error::HttpRequestDenied,
        FetchError::Invalid(why) => Error::InternalError(Some(words::clean(why))),
        FetchError::Unreachable(_) => Error::DestinationUnavailable,
        FetchError::Timeout(_) => Error::HttpResponseTimeout,
        FetchError::TooLarge(limit) => Error::HttpResponseBodySize(Some(*limit as u64)),
        FetchError::Broken(_) => Error::HttpProtocolError,
    }
}

impl Answered {
    fn lock(&self) -> MutexGuard<'_, Vec<Exchanged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a guest asks for, without its body.
fn asked(head: &Parts, options: Option<RequestOptions>) -> Result<Request, FetchError> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| match value.to_str() {
        Ok(value) => Ok((name.as_str().to_owned(), value.to_owned())),
        Err(_) => Err(FetchError::Invalid(format!("the header {:?} is no text", name.as_str()))),
    };
    // The length was compared with what the guest wrote; the host says it again.
    let headers = head.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH).map(text);
    Ok(Request {
        method: head.method.as_str().to_owned(),
        url: head.uri.to_string(),
        headers: headers.collect::<Result<_, _>>()?,
        body: String::new(),
        timeout_ms: options.and_then(timeout_ms),
    })
}

/// How long the whole exchange may take: an answer comes in one piece, so that the times for its
/// parts are added up. `None` if nothing is said of how long the answer may take to begin.
fn timeout_ms(options: RequestOptions) -> Option<u32> {
    let begins = options.first_byte_timeout?;
    let others = [options.connect_timeout, options.between_bytes_timeout];
    let whole = others.into_iter().flatten().fold(begins, Duration::saturating_add);
    Some(u32::try_from(whole.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX))
}

/// A response for the guest; `open` goes with its body.
fn answer(response: &IncomingResponse, open: Arc<()>) -> Result<Answer, Error> {
    let status = StatusCode::from_u16(response.status).map_err(|_| Error::HttpProtocolError)?;
    let body = Full::<Bytes>::from(response.body.clone());
    let body = body.map_err(move |never: Infallible| {
        let _until_it_is_read = &open;
        Error::from(never)
    });
    let mut answer = http::Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    for (name, value) in &response.headers {
        // What the network brought is valid; what somebody wrote down need not be.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

/// Whether a guest of `wasi:http` can neither set a header nor see it. The length of a body is its to
/// say: it is checked, and said by the host.
fn is_forbidden(name: &HeaderName) -> bool {
    (is_the_hosts(name) && *name != CONTENT_LENGTH) || name.as_str() == "http2-settings"
}

fn as_size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The most requests over HTTP in one call.
const REQUESTS: u32 = 16;
/// The most refusals of requests through `wasi:http` in one call that are told in the log. It does not
/// count as the guest's, and there can be far more of them than [`REQUESTS`].
const TOLD: u32 = 16;
/// The most requests through `wasi:http` that are under way or whose answers were not read: the host
/// holds these.
const OPEN: usize = 4;
/// The most that a guest of `wasi:http` can write of a body at a time; the host holds two of these.
const CHUNK_BYTES: usize = 16 << 10;
