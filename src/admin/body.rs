//! Reading requests: path, query and body, each mistake told as problem+json.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::envelope::DEADLINE;
use super::json::GateUpload;
use super::problem::Denied;
use super::routes::Shared;
use crate::control::Refusal;

/// The longest body in bytes.
pub(super) const BODY_LIMIT: usize = 256 * 1024;

/// What the path names.
#[derive(Debug)]
pub(super) struct InPath<T>(pub(super) T);

/// What the query says.
#[derive(Debug)]
pub(super) struct InQuery<T>(pub(super) T);

/// What the body says.
#[derive(Debug)]
pub(super) struct InBody<T>(pub(super) T);

/// What the body says; nothing at all is an empty object.
#[derive(Debug)]
pub(super) struct MaybeBody<T>(pub(super) T);

/// A component, which is the body, and one of the places for them: few are in memory at a time.
#[derive(Debug)]
pub(super) struct InComponent(pub(super) Vec<u8>, pub(super) OwnedSemaphorePermit);

impl FromRequest<Shared> for InComponent {
    type Rejection = Denied;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Denied> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind != Some("application/wasm") {
            let detail = "the body is no component by its type";
            return Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_wasm", detail)
                .fix("send the header `Content-Type: application/wasm`"));
        }
        let place = Arc::clone(&state.uploads).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Busy("a gate".to_owned()))?;
        let bytes = timeout(DEADLINE, read(body, GateUpload::LARGEST)).await.map_err(|_| {
            let detail = "the component did not arrive in time";
            Denied::new(StatusCode::REQUEST_TIMEOUT, "body_slow", detail).fix("try again")
        })?;
        Ok(Self(bytes?, place))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Denied::bad("bad_path", rejection.body_text()).at("path")),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Denied::bad("bad_query", rejection.body_text()).at("query")),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for InBody<T> {
    type Rejection = Denied;

    async fn from_request(request: Request, _: &S) -> Result<Self, Denied> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, BODY_LIMIT).await?;
        check_content_type(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeBody<T> {
    type Rejection = Denied;

    async fn from_request(request: Request, _: &S) -> Result<Self, Denied> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, BODY_LIMIT).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_content_type(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// Reads a body as it comes. One that says that it is too long is not read at all; of one that does
/// not, no more than may be is kept.
async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Denied> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Denied::bad("body_broken", "the body did not arrive whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Denied {
    let detail = format!("the body is longer than {limit} bytes");
    Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// Only JSON: a form of a foreign page cannot send that.
fn check_content_type(headers: &HeaderMap) -> Result<(), Denied> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = text.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = format!("the body is {essence:?}, wanted JSON");
    Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
        .fix("send the header `Content-Type: application/json`"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Denied> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        let text = error.to_string();
        let detail = text.strip_suffix(&format!(" at {place}")).unwrap_or(&text);
        let code = if error.is_data() { "bad_body" } else { "malformed_json" };
        Denied::bad(code, detail).at(format!("body, {place}"))
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use axum::body::{Bytes, HttpBody};
    use hyper::body::{Frame, SizeHint};

    use super::*;

    /// A body without an end, in parts of ten bytes.
    struct Endless {
        /// What it says of its length.
        says: SizeHint,
        /// How many parts were asked for.
        given: Arc<AtomicUsize>,
    }

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.given.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
        }

        fn size_hint(&self) -> SizeHint {
            self.says
        }
    }

    #[tokio::test]
    async fn nothing_is_read_of_what_says_that_it_is_too_long_and_little_of_what_is() {
        let cases = [
            (SizeHint::with_exact(101), 0),
            (SizeHint::with_exact(100), 11),
            (SizeHint::new(), 11),
        ];
        for (says, expected) in cases {
            let given = Arc::new(AtomicUsize::new(0));
            let body = Endless { says, given: Arc::clone(&given) };
            let denied = read(Body::new(body), 100).await;
            assert!(denied.is_err());
            assert_eq!(given.load(Ordering::Relaxed), expected);
        }
    }
}
