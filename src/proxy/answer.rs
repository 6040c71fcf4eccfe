//! Answers of the proxy's own: what it says when no target's answer can be given.
//!
//! Each refusal carries `x-tidegate-error`, which no target can send, so that a client can tell the
//! proxy's 502 from its service's.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::core::model::Side;
use crate::core::routing::ServiceRoute;

use super::grpc;
use super::redirect::Redirect;
use super::selection::Unrouted;

/// What the proxy says itself instead of asking a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LocalAnswer {
    /// That it cannot or will not.
    Refusal(Refusal),
    /// That the client should come again over TLS.
    Redirect(Redirect),
}

impl LocalAnswer {
    /// The answer to a request that leads nowhere; `host` is its admitted one.
    pub(super) fn unrouted(unrouted: Unrouted, host: &str, request: &RequestHeader) -> Self {
        match unrouted {
            Unrouted::NoRule => Self::Refusal(Refusal::NoRule),
            Unrouted::Idle => Self::Refusal(Refusal::Idle),
            Unrouted::RedirectToHttps => {
                Redirect::https(host, request).map_or_else(Self::Refusal, Self::Redirect)
            }
        }
    }

    /// Writes the answer.
    pub(super) async fn write(
        self,
        session: &mut Session,
        request_id: &HeaderValue,
    ) -> pingora_core::Result<()> {
        match self {
            Self::Refusal(refusal) => refusal.write(session, request_id).await,
            Self::Redirect(redirect) => redirect.write(session, request_id).await,
        }
    }
}

impl From<Refusal> for LocalAnswer {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// Why the proxy answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a request that may be passed on; the text says why.
    Malformed(&'static str),
    /// The client paused too long inside its request's body.
    ClientTimeout,
    /// The header is too large.
    HeaderTooLarge,
    /// The body is too large.
    BodyTooLarge,
    /// CONNECT or TRACE.
    Method,
    /// Another protocol is asked for.
    Upgrade,
    /// No rule matches.
    NoRule,
    /// A test listener without a green.
    Idle,
    /// The side has no target that may be tried.
    NoTarget,
    /// Every target that may be tried is at its limit.
    TargetLimit,
    /// The process has as much memory as it may have.
    Overloaded,
    /// No connection to a target came to stand, and all targets are known to be down.
    TargetsDown,
    /// No connection to a target came to stand.
    ConnectFailed,
    /// No connection to a target came to stand in time.
    ConnectTimeout,
    /// The target broke off before or inside its response's header.
    TargetBroken,
    /// The target did not answer in time.
    TargetTimeout,
    /// The target's group lost its weight, and what was left on it had to end.
    GroupLeft,
    /// A fault of the proxy.
    Internal,
}

impl Refusal {
    /// The status, the word in `x-tidegate-error`, and a sentence for people.
    fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed(detail) => (400, "bad_request", detail),
            Self::ClientTimeout => (408, "client_timeout", "the request's body came too slowly"),
            Self::HeaderTooLarge => (431, "header_too_large", "the request's header is too large"),
            Self::BodyTooLarge => (413, "body_too_large", "the request's body is too large"),
            Self::Method => (405, "method_not_allowed", "CONNECT and TRACE are not served"),
            Self::Upgrade => (
                501,
                "upgrade_not_served",
                "only a GET without a body upgrades, and only over HTTP/1.1",
            ),
            Self::NoRule => (404, "no_rule", "no rule of the listener matches the request"),
            Self::Idle => (503, "no_green", "there is no green now for this test listener"),
            Self::NoTarget => (503, "no_target", "the service has no target for this request"),
            Self::TargetLimit => {
                (503, "target_limit", "every target of the service has all it can take")
            }
            Self::Overloaded => (503, "overloaded", "the proxy is short of memory"),
            Self::TargetsDown => {
                (503, "targets_down", "no target of the service can be connected to")
            }
            Self::ConnectFailed => (502, "connect_failed", "the target cannot be connected to"),
            Self::ConnectTimeout => (504, "connect_timeout", "the target took too long to connect"),
            Self::TargetBroken => (502, "target_broken", "the target broke off its answer"),
            Self::TargetTimeout => (504, "target_timeout", "the target took too long to answer"),
            Self::GroupLeft => (503, "group_left", "the target has no traffic any more"),
            Self::Internal => (500, "internal", "the proxy failed"),
        }
    }

    /// The answer where no target was found.
    pub(super) fn no_target(service: &ServiceRoute, side: Side) -> Self {
        if service.is_at_limit(side) { Self::TargetLimit } else { Self::NoTarget }
    }

    pub(super) fn status(self) -> u16 {
        self.parts().0
    }

    /// The answer to a failure; `None` if the client is gone.
    pub(super) fn of_failure(error: &Error) -> Option<Self> {
        let kind = &error.etype;
        if *kind == DEPARTED {
            return Some(Self::GroupLeft);
        }
        match error.esource() {
            ErrorSource::Upstream if *kind == ErrorType::ConnectTimedout => {
                Some(Self::ConnectTimeout)
            }
            ErrorSource::Upstream if is_timeout(kind) => Some(Self::TargetTimeout),
            ErrorSource::Upstream if CONNECT_ERRORS.contains(kind) => Some(Self::ConnectFailed),
            ErrorSource::Upstream => Some(Self::TargetBroken),
            ErrorSource::Downstream if *kind == ErrorType::HTTPStatus(413) => {
                Some(Self::BodyTooLarge)
            }
            ErrorSource::Downstream if *kind == ErrorType::ReadTimedout => {
                Some(Self::ClientTimeout)
            }
            ErrorSource::Downstream if CLIENT_GONE.contains(kind) => None,
            ErrorSource::Downstream => Some(Self::Malformed("the request is not valid HTTP")),
            ErrorSource::Internal | ErrorSource::Unset => Some(Self::Internal),
        }
    }

    /// The answer to the same failure where all targets are known to be down: whoever asks again
    /// may be told when, and nothing about one target is at fault.
    pub(super) fn of_all_down(self) -> Self {
        let no_connection = [Self::ConnectFailed, Self::ConnectTimeout].contains(&self);
        if no_connection { Self::TargetsDown } else { self }
    }

    /// Whether what follows on the connection cannot be trusted to be a request.
    fn ends_connection(self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::ClientTimeout
            | Self::HeaderTooLarge
            | Self::BodyTooLarge
            | Self::Method
            | Self::Upgrade
            | Self::TargetsDown
            | Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::TargetBroken
            | Self::TargetTimeout
            | Self::GroupLeft
            | Self::Internal => true,
            Self::NoRule | Self::Idle | Self::NoTarget | Self::TargetLimit | Self::Overloaded => {
                false
            }
        }
    }

    /// Writes the answer; a connection that is to end stops once the request's body was read,
    /// or after the drain limit.
    pub(super) async fn write(
        self,
        session: &mut Session,
        request_id: &HeaderValue,
    ) -> pingora_core::Result<()> {
        if self.ends_connection() || session.is_process_shutting_down() {
            session.set_keepalive(None);
        } else {
            keep_after_body(session);
        }
        if grpc::is_call(&session.req_header().headers) {
            return self.write_grpc(session, request_id).await;
        }
        let body = self.body(request_id);
        let header = self.header(body.len(), request_id)?;
        let head_only = session.req_header().method == Method::HEAD;
        session.write_response_header(Box::new(header), head_only).await?;
        if !head_only {
            session.write_response_body(Some(body), true).await?;
        }
        // What is left of the body is of no use; an error here changes nothing about the answer.
        let _ = session.drain_request_body().await;
        Ok(())
    }

    fn header(
        self,
        length: usize,
        request_id: &HeaderValue,
    ) -> pingora_core::Result<ResponseHeader> {
        let (status, kind, _) = self.parts();
        let mut header = ResponseHeader::build(status, Some(8))?;
        header.insert_header(CONTENT_TYPE, "application/problem+json")?;
        header.insert_header(CONTENT_LENGTH, length)?;
        header.insert_header(CACHE_CONTROL, "no-store")?;
        header.insert_header("x-tidegate-error", kind)?;
        header.insert_header("x-request-id", request_id.clone())?;
        if status == 503 {
            header.insert_header(RETRY_AFTER, RETRY_AFTER_SECONDS)?;
        }
        if self == Self::Method {
            header.insert_header(ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
        }
        Ok(header)
    }

    /// The answer to a call of gRPC, whose status is in the trailers; in HTTP/1.1, which has none
    /// here, in the header.
    async fn write_grpc(
        self,
        session: &mut Session,
        request_id: &HeaderValue,
    ) -> pingora_core::Result<()> {
        let (_, kind, _) = self.parts();
        let mut header = ResponseHeader::build(200, Some(6))?;
        header.insert_header(CONTENT_TYPE, "application/grpc")?;
        header.insert_header("x-tidegate-error", kind)?;
        header.insert_header("x-request-id", request_id.clone())?;
        if session.as_downstream().is_http2() {
            session.write_response_header(Box::new(header), false).await?;
            self.end_call(session).await?;
        } else {
            for (name, value) in self.grpc_fields() {
                header.insert_header(name, value)?;
            }
            header.insert_header(CONTENT_LENGTH, 0_usize)?;
            session.write_response_header(Box::new(header), false).await?;
            session.write_response_body(None, true).await?;
        }
        // What is left of the body is of no use; an error here changes nothing about the answer.
        let _ = session.drain_request_body().await;
        Ok(())
    }

    /// Ends a call of gRPC whose answer has begun, with its status in the trailers; tells nothing in
    /// HTTP/1.1.
    pub(super) async fn end_call(self, session: &mut Session) -> pingora_core::Result<()> {
        let trailers = self
            .grpc_fields()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let trailers = HeaderMap::from_iter(trailers);
        session.as_downstream_mut().write_response_trailers(trailers).await
    }

    /// What a call of gRPC is told.
    fn grpc_fields(self) -> [(&'static str, &'static str); 2] {
        let (status, _, detail) = self.parts();
        [("grpc-status", grpc::code_of(status)), ("grpc-message", detail)]
    }

    fn body(self, request_id: &HeaderValue) -> Bytes {
        let (status, _, detail) = self.parts();
        let title = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
        let problem = serde_json::json!({
            "title": title,
            "status": status,
            "detail": detail,
            "request_id": request_id.to_str().unwrap_or_default(),
        });
        Bytes::from(problem.to_string())
    }
}

/// Keeps a connection that is answered before the request's body was read: the rest of the body is
/// read and dropped.
pub(super) fn keep_after_body(session: &mut Session) {
    session.as_downstream_mut().set_close_on_response_before_downstream_finish(false);
}

/// Whether an error is a time that ran out.
pub(super) fn is_timeout(kind: &ErrorType) -> bool {
    [ErrorType::ConnectTimedout, ErrorType::ReadTimedout, ErrorType::WriteTimedout].contains(kind)
}

/// The kind of an error that ends a request because its group has departed.
pub(super) const DEPARTED: ErrorType = ErrorType::new("Departed");

const RETRY_AFTER_SECONDS: &str = "1";

const CONNECT_ERRORS: [ErrorType; 9] = [
    ErrorType::ConnectRefused,
    ErrorType::ConnectNoRoute,
    ErrorType::ConnectError,
    ErrorType::SocketError,
    ErrorType::BindError,
    ErrorType::TLSHandshakeFailure,
    ErrorType::TLSHandshakeTimedout,
    ErrorType::InvalidCert,
    ErrorType::HandshakeError,
];

const CLIENT_GONE: [ErrorType; 4] = [
    ErrorType::ReadError,
    ErrorType::WriteError,
    ErrorType::WriteTimedout,
    ErrorType::ConnectionClosed,
];
