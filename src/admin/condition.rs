//! `If-Match`: a change that goes through only if its author saw the present record.

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;

use super::problem::Denied;

/// The version that the author saw; `None` takes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IfMatch(pub(super) Option<u64>);

/// The entity tag of a version.
pub(super) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            let none = parts.headers.get(header::IF_MATCH).is_none();
            return if none { Ok(Self(None)) } else { Err(bad("it is given twice")) };
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match version.map(str::parse) {
            Some(Ok(version)) => Ok(Self(Some(version))),
            Some(Err(_)) | None => Err(bad("it is not one version in quotes")),
        }
    }
}

fn bad(detail: &str) -> Denied {
    Denied::bad("bad_if_match", detail)
        .fix("send the record's version in quotes, for example `If-Match: \"7\"`")
        .at("header If-Match")
}
