//! What holds for every request: it names a host of ours, it is answered in time, and its answer
//! is kept in no cache.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::AdminState;
use super::hosts::Hosts;
use super::problem::Denied;

/// The time that a request may take, reading its body included.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// The same for a component that is uploaded, which is compiled as well: that has three minutes.
const UPLOAD_DEADLINE: Duration = Duration::from_mins(4);

/// Answers a request.
pub(super) async fn envelope(
    State(state): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = if names_us(state.hosts, request.uri(), request.headers()) {
        match tokio::time::timeout(deadline(&request), next.run(request)).await {
            Ok(response) => response,
            Err(_) => out_of_time().into_response(),
        }
    } else {
        misdirected().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn deadline(request: &Request) -> Duration {
    let uploads = request.method() == Method::PUT && request.uri().path().starts_with("/v1/gates/");
    if uploads { UPLOAD_DEADLINE } else { DEADLINE }
}

fn names_us(hosts: Hosts, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else {
        return false;
    };
    host.to_str().is_ok_and(|host| hosts.contain(host))
        && uri.authority().is_none_or(|authority| hosts.contain(authority.as_str()))
}

fn misdirected() -> Denied {
    let detail = "the request's `Host` is not one of this API";
    Denied::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", detail)
        .fix("use `localhost` or the address of `admin.address`")
}

fn out_of_time() -> Denied {
    let detail = "the request took too long; a change may still be made";
    Denied::new(StatusCode::SERVICE_UNAVAILABLE, "out_of_time", detail)
        .fix("look whether it was made, then try again")
}
