//! Reading requests: path, query and body, each mistake told as problem+json.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::problem::Denied;

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

/// A component, which is the body.
#[derive(Debug)]
pub(super) struct InComponent(pub(super) Vec<u8>);

/// The largest component in bytes.
const COMPONENT_LIMIT: usize = 32 << 20;

impl<S: Send + Sync> FromRequest<S> for InComponent {
    type Rejection = Denied;

    async fn from_request(request: Request, _: &S) -> Result<Self, Denied> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if kind != Some("application/wasm") {
            let detail = "the body is no component by its type";
            return Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_wasm", detail)
                .fix("send the header `Content-Type: application/wasm`"));
        }
        let bytes = read(body, COMPONENT_LIMIT).await?;
        Ok(Self(bytes.into()))
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

async fn read(body: Body, limit: usize) -> Result<Bytes, Denied> {
    to_bytes(body, limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<LengthLimitError>()) {
            let detail = format!("the body is longer than {limit} bytes");
            Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        } else {
            Denied::bad("body_broken", "the body did not arrive whole")
        }
    })
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
