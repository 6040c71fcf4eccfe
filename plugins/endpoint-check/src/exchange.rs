//! A request through `wasi:http`, and the answer to it.

use std::collections::BTreeMap;

use wasi::http::outgoing_handler::handle;
use wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasi::io::streams::StreamError;

use crate::place::Place;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a str,
    /// Where it goes.
    pub place: Place<'a>,
    /// Names and values.
    pub headers: &'a BTreeMap<String, String>,
    /// The body; none is sent if it is empty.
    pub body: &'a str,
    /// How long to wait for the answer.
    pub timeout_ms: u32,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such request, or it is not permitted: to ask again is no use.
    NotSent(String),
    /// Nobody is there, or what is there does not answer as it should.
    NoAnswer(String),
}

impl Failure {
    fn of(code: &ErrorCode) -> Self {
        let text = format!("{code:?}");
        let word = text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned();
        match code {
            ErrorCode::HttpRequestDenied
            | ErrorCode::HttpRequestBodySize(_)
            | ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestUriTooLong
            | ErrorCode::InternalError(_) => Self::NotSent(word),
            _ => Self::NoAnswer(word),
        }
    }
}

/// Sends a request and waits for the whole answer.
///
/// # Errors
/// There is no answer.
pub fn ask(question: &Question<'_>) -> Result<Reply, Failure> {
    let request = request(question)?;
    // It has to be sent before its body is written: nobody would take that away.
    let body = if question.body.is_empty() { None } else { Some(part(request.body(), "body")?) };
    let promised = handle(request, Some(options(question.timeout_ms)?));
    let promised = promised.map_err(|code| Failure::of(&code))?;
    if let Some(body) = body {
        write(body, question.body);
    }
    let ready = promised.subscribe();
    ready.block();
    drop(ready);
    match promised.get() {
        Some(Ok(Ok(response))) => read(&response),
        Some(Ok(Err(code))) => Err(Failure::of(&code)),
        Some(Err(())) | None => Err(Failure::NoAnswer("the host promised it in vain".to_owned())),
    }
}

fn request(question: &Question<'_>) -> Result<OutgoingRequest, Failure> {
    let Question { method, place, headers, .. } = question;
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let fields = Fields::from_list(&headers).map_err(|error| {
        Failure::NotSent(format!("one of the headers cannot be sent: {error:?}"))
    })?;
    let request = OutgoingRequest::new(fields);
    let scheme = if place.is_https { Scheme::Https } else { Scheme::Http };
    part(request.set_method(&named(method)), "method")?;
    part(request.set_scheme(Some(&scheme)), "scheme")?;
    part(request.set_authority(Some(place.authority)), "host")?;
    part(request.set_path_with_query(Some(place.path)), "path")?;
    Ok(request)
}

fn named(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// How long to wait for the answer to begin, which is how long to wait for all of it: the host gives it
/// in one piece.
fn options(timeout_ms: u32) -> Result<RequestOptions, Failure> {
    let options = RequestOptions::new();
    let timeout_ns = u64::from(timeout_ms) * 1_000_000;
    part(options.set_first_byte_timeout(Some(timeout_ns)), "timeout")?;
    Ok(options)
}

/// What the host has refused without a word.
fn part<T>(set: Result<T, ()>, what: &str) -> Result<T, Failure> {
    set.map_err(|()| Failure::NotSent(format!("there is no such {what}")))
}

/// Writes a body. If the host does not want it, it says why in the place of an answer.
fn write(body: OutgoingBody, text: &str) {
    if let Ok(stream) = body.write() {
        for chunk in text.as_bytes().chunks(CHUNK) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                break;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

fn read(response: &IncomingResponse) -> Result<Reply, Failure> {
    let vain = |()| Failure::NoAnswer("the answer has no body".to_owned());
    let status = response.status();
    let body: IncomingBody = response.consume().map_err(vain)?;
    let stream = body.stream().map_err(vain)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK as u64) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(Failure::NoAnswer(error.to_debug_string()));
            }
        }
    }
    Ok(Reply { status, body: String::from_utf8_lossy(&bytes).into_owned() })
}

/// The most that `wasi:io` writes at a time.
const CHUNK: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_permitted_is_told_from_what_does_not_answer() {
        let denied = Failure::of(&ErrorCode::HttpRequestDenied);
        assert_eq!(denied, Failure::NotSent("HttpRequestDenied".to_owned()));
        let late = Failure::of(&ErrorCode::HttpResponseTimeout);
        assert_eq!(late, Failure::NoAnswer("HttpResponseTimeout".to_owned()));
    }
}
