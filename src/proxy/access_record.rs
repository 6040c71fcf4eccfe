//! What the access log says of one request: a line of JSON.
//!
//! It is gathered after the request's end and becomes text on the log's own thread. Whoever has a
//! line can check the choice of its side: green exactly where `draw` or `position` is below
//! `weight_bp`. Cohort keys are no business of a log: it tells their positions alone.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Version};
use pingora_core::Error;
use pingora_http::{RequestHeader, ResponseHeader};
use serde::Serialize;

use crate::core::model::{ListenerName, Revision, Side, TargetAddress, WallTime};
use crate::core::routing::ServiceRoute;

use super::answer::Refusal;
use super::attempt::Attempt;
use super::selection::{AssignedBy, Lot, Selection};

/// What is kept of a request that will be logged, from its begin on.
#[derive(Debug)]
pub(super) struct Note {
    begun: WallTime,
    /// `None` until a side was chosen.
    assigned: Option<Assigned>,
}

#[derive(Debug)]
struct Assigned {
    service: Arc<ServiceRoute>,
    side: Side,
    by: AssignedBy,
}

/// What is known of a request at its end.
#[derive(Debug)]
pub(super) struct End<'r> {
    pub(super) listener: &'r ListenerName,
    pub(super) client: Option<IpAddr>,
    pub(super) request: &'r RequestHeader,
    pub(super) request_id: Option<&'r HeaderValue>,
    /// The final response's header; `None` if none was written.
    pub(super) response: Option<&'r ResponseHeader>,
    /// What went wrong; `None` for a request that was answered whole.
    pub(super) error: Option<&'r Error>,
    /// `None` for a request that no target was asked.
    pub(super) attempt: Option<&'r Attempt>,
    pub(super) bytes_sent: usize,
    pub(super) bytes_received: usize,
    pub(super) duration_us: u64,
}

/// One request that has ended.
#[derive(Debug)]
pub(super) struct Record {
    note: Note,
    listener: ListenerName,
    client: Option<IpAddr>,
    request_id: Option<HeaderValue>,
    method: String,
    host: Option<String>,
    path: String,
    version: Version,
    status: Option<u16>,
    bytes_sent: usize,
    bytes_received: usize,
    duration_us: u64,
    /// The target tried last, and how many were; `None` if none was.
    tried: Option<(TargetAddress, usize)>,
    /// The side of that target.
    tried_side: Option<Side>,
    /// The side whose target's answer the client was given; `None` if it was given none.
    answered_by: Option<Side>,
    outcome: Outcome,
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// A target's answer went to the client whole.
    Answered,
    /// No connection to a target came to stand.
    ConnectError,
    /// The target did not answer in time.
    Timeout,
    /// The target broke off.
    Broken,
    /// The client went away.
    ClientGone,
    /// The target's group had departed.
    Cut,
    /// The proxy answered by itself, with this word.
    Refused(HeaderValue),
}

/// A line; its order is the order of the fields.
#[derive(Debug, Serialize)]
struct Line<'r> {
    time: String,
    request_id: Option<&'r str>,
    listener: &'r str,
    client: Option<IpAddr>,
    method: &'r str,
    host: Option<&'r str>,
    path: &'r str,
    protocol: &'static str,
    status: Option<u16>,
    bytes_sent: usize,
    bytes_received: usize,
    duration_ms: f64,
    service: Option<&'r str>,
    side: Option<Side>,
    answered_by: Option<Side>,
    revision: Option<&'r str>,
    generation: Option<u64>,
    target: Option<SocketAddr>,
    attempts: usize,
    why: Option<&'static str>,
    draw: Option<u16>,
    position: Option<u16>,
    weight_bp: Option<u16>,
    outcome: Cow<'r, str>,
    rescued: bool,
}

impl Note {
    pub(super) fn new(begun: WallTime) -> Self {
        Self { begun, assigned: None }
    }

    /// Remembers which side was chosen, and why.
    pub(super) fn assign(&mut self, selection: &Selection<'_>) {
        let Selection { service, side, by, .. } = *selection;
        self.assigned = Some(Assigned { service: Arc::clone(service), side, by });
    }
}

impl Record {
    /// The record of a request at its end; its path has its query if that is wanted.
    pub(super) fn new(note: Note, end: &End<'_>, query: bool) -> Self {
        let uri = &end.request.uri;
        let whole = uri.path_and_query().filter(|_| query);
        let path = whole.map_or_else(|| uri.path(), |whole| whole.as_str());
        let host = end.request.headers.get(HOST).map(HeaderValue::as_bytes);
        let host = host.or_else(|| uri.host().map(str::as_bytes));
        // No target can send the field, so an answer with it is the proxy's own.
        let own = end.response.and_then(|response| response.headers.get(OWN_ANSWER));
        let by_target = end.response.is_some() && own.is_none();
        Self {
            note,
            listener: end.listener.clone(),
            client: end.client,
            request_id: end.request_id.cloned(),
            method: bounded(end.request.method.as_str().as_bytes(), METHOD_LIMIT),
            host: host.map(|host| bounded(host, HOST_LIMIT)),
            path: bounded(path.as_bytes(), PATH_LIMIT),
            version: end.request.version,
            status: end.response.map(|response| response.status.as_u16()),
            bytes_sent: end.bytes_sent,
            bytes_received: end.bytes_received,
            duration_us: end.duration_us,
            tried: end.attempt.map(Attempt::tried),
            tried_side: end.attempt.map(|attempt| attempt.side),
            answered_by: end.attempt.filter(|_| by_target).map(|attempt| attempt.side),
            outcome: Outcome::new(end.error, own),
        }
    }

    /// Appends the line.
    pub(super) fn write_to(&self, text: &mut Vec<u8>) {
        serde_json::to_writer(&mut *text, &self.line()).expect("memory takes every write");
        text.push(b'\n');
    }

    fn line(&self) -> Line<'_> {
        let assigned = self.note.assigned.as_ref();
        let (why, draw, position) = assigned.map_or((None, None, None), |a| why(a.by));
        let service = assigned.map(|assigned| assigned.service.as_ref());
        let side = assigned.map(|assigned| assigned.side);
        let shown = self.tried_side.or(side);
        let revision =
            service.zip(shown).and_then(|(service, side)| service.side(side).revision.as_ref());
        Line {
            time: time(self.note.begun),
            request_id: self.request_id.as_ref().and_then(|id| id.to_str().ok()),
            listener: self.listener.as_str(),
            client: self.client.map(|client| client.to_canonical()),
            method: &self.method,
            host: self.host.as_deref(),
            path: &self.path,
            protocol: protocol(self.version),
            status: self.status,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            duration_ms: self.duration_us as f64 / 1_000.0,
            service: service.map(|service| service.name.as_str()),
            side,
            answered_by: self.answered_by,
            revision: revision.map(Revision::as_str),
            generation: service.map(|service| service.generation),
            target: self.tried.map(|(target, _)| target.socket_addr()),
            attempts: self.tried.map_or(0, |(_, attempts)| attempts),
            why,
            draw,
            position,
            weight_bp: service.map(|service| service.exposure.split.green().bp()),
            outcome: self.outcome.text(),
            rescued: self.is_rescued(side),
        }
    }

    /// Whether blue answered for green, and not with a failure.
    fn is_rescued(&self, side: Option<Side>) -> bool {
        side == Some(Side::Green)
            && self.answered_by == Some(Side::Blue)
            && self.outcome == Outcome::Answered
            && self.status.is_some_and(|status| status < 500)
    }
}

impl Outcome {
    fn new(error: Option<&Error>, own: Option<&HeaderValue>) -> Self {
        match (error.map(Refusal::of_failure), own) {
            (Some(Some(Refusal::ConnectFailed | Refusal::ConnectTimeout)), _) => Self::ConnectError,
            (Some(Some(Refusal::TargetTimeout)), _) => Self::Timeout,
            (Some(Some(Refusal::TargetBroken)), _) => Self::Broken,
            (Some(_) | None, Some(word)) => Self::Refused(word.clone()),
            (Some(Some(Refusal::GroupLeft)), None) => Self::Cut,
            (Some(_), None) => Self::ClientGone,
            (None, None) => Self::Answered,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Answered => "answered".into(),
            Self::ConnectError => "connect_error".into(),
            Self::Timeout => "timeout".into(),
            Self::Broken => "broken".into(),
            Self::ClientGone => "client_gone".into(),
            Self::Cut => "cut".into(),
            Self::Refused(word) => format!("refused:{}", word.to_str().unwrap_or_default()).into(),
        }
    }
}

/// The word for how a side came about, then the draw, then the position that decided.
fn why(by: AssignedBy) -> (Option<&'static str>, Option<u16>, Option<u16>) {
    match by {
        AssignedBy::Chance(Lot::Drawn(draw)) => (Some("draw"), Some(draw), None),
        AssignedBy::Chance(Lot::Brought(position)) => (Some("cohort"), None, Some(position)),
        AssignedBy::Chance(Lot::Address(position)) => {
            (Some("client_address"), None, Some(position))
        }
        AssignedBy::Issued(_, position) => (Some("issued"), None, Some(position)),
        AssignedBy::TestListener => (Some("test_listener"), None, None),
        AssignedBy::Condition => (Some("green_for"), None, None),
    }
}

fn time(at: WallTime) -> String {
    let ms = i64::try_from(at.ms()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

fn protocol(version: Version) -> &'static str {
    if version == Version::HTTP_11 {
        "HTTP/1.1"
    } else if version == Version::HTTP_2 {
        "HTTP/2"
    } else if version == Version::HTTP_10 {
        "HTTP/1.0"
    } else {
        "unknown"
    }
}

/// Bytes as text of at most so many bytes; what had to be left out shows as `…`.
fn bounded(bytes: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]).into_owned();
    if bytes.len() > limit || text.len() > limit {
        let mut end = text.len().min(limit - CUT.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(CUT);
    }
    text
}

const OWN_ANSWER: &str = "x-tidegate-error";
const METHOD_LIMIT: usize = 32;
const HOST_LIMIT: usize = 255;
const PATH_LIMIT: usize = 2_048;
const CUT: char = '…';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_shows_it() {
        let check = |bytes: &[u8], expected: &str| {
            let found = bounded(bytes, 8);
            assert_eq!(found, expected);
            assert!(found.len() <= 8, "{found}");
        };
        check(b"12345678", "12345678");
        check(b"123456789", "12345…");
        check("1234ü789".as_bytes(), "1234…");
        check(b"\xff\xfe", "\u{fffd}\u{fffd}");
        check(b"\xff\xfe\xfd\xfc", "\u{fffd}…");
        check(b"", "");
    }

    #[test]
    fn a_time_has_milliseconds() {
        assert_eq!(time(WallTime::from_ms(1_769_860_800_250)), "2026-01-31T12:00:00.250Z");
        assert_eq!(time(WallTime::from_ms(0)), "1970-01-01T00:00:00.000Z");
        assert!(time(WallTime::from_ms(u64::MAX)).starts_with("9999-"));
    }
}
