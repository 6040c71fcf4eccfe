//! Whether a request may be sent a second time, as far as its header tells.

use http::Method;
use http::header::UPGRADE;
use pingora_http::RequestHeader;

use crate::core::model::{RetryMethod, RetryPolicy};

/// How far a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeatable {
    /// Also after a target has seen it.
    Always,
    /// While nothing of it has reached a target.
    Unsent,
    /// While nothing of it has reached a target, and to its own side: a stream, or the start of
    /// another protocol.
    Stream,
}

impl Repeatable {
    /// Judges a request; `is_call` tells whether it is one of gRPC.
    pub(super) fn of(request: &RequestHeader, is_call: bool, policy: &RetryPolicy) -> Self {
        if is_call || request.headers.contains_key(UPGRADE) {
            return Self::Stream;
        }
        let by_choice = |method: &RetryMethod| match method {
            RetryMethod::Put => request.method == Method::PUT,
            RetryMethod::Delete => request.method == Method::DELETE,
        };
        if is_harmless(&request.method) || policy.methods.iter().any(by_choice) {
            Self::Always
        } else {
            Self::Unsent
        }
    }
}

/// Whether a request of this method changes nothing.
pub(super) fn is_harmless(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

#[cfg(test)]
mod tests {
    use super::super::grpc;
    use super::*;

    #[test]
    fn only_what_changes_nothing_is_repeated_unless_the_service_says_so() {
        let check = |method: Method, methods: &[RetryMethod], expected| {
            let request = RequestHeader::build(method, b"/", None).expect("valid");
            let policy = RetryPolicy { methods: methods.to_vec(), ..RetryPolicy::default() };
            assert_eq!(Repeatable::of(&request, false, &policy), expected);
        };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            check(method, &[], Repeatable::Always);
        }
        for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            check(method, &[], Repeatable::Unsent);
        }
        let both = [RetryMethod::Put, RetryMethod::Delete];
        check(Method::PUT, &both, Repeatable::Always);
        check(Method::DELETE, &both, Repeatable::Always);
        check(Method::DELETE, &[RetryMethod::Put], Repeatable::Unsent);
        check(Method::POST, &both, Repeatable::Unsent);
    }

    #[test]
    fn streams_and_upgrades_are_known_by_their_header() {
        let check = |name: &'static str, value: &'static str, expected| {
            let mut request = RequestHeader::build(Method::GET, b"/", None).expect("valid");
            request.insert_header(name, value).expect("valid");
            let is_call = grpc::is_call(&request.headers);
            assert_eq!(Repeatable::of(&request, is_call, &RetryPolicy::default()), expected);
        };
        check("content-type", "application/grpc", Repeatable::Stream);
        check("content-type", "Application/gRPC+proto", Repeatable::Stream);
        check("content-type", "application/json", Repeatable::Always);
        check("upgrade", "websocket", Repeatable::Stream);
    }
}
