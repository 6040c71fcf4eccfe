//! Who asks: the token of a request, and whether its owner may use a route.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::problem::Denied;
use super::{AdminState, Permission, Role};
use crate::core::model::Sha256;
use crate::core::rollout::Actor;

/// Where a request's connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Whose request it is.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    name: String,
    role: Role,
    /// The digest of its token.
    pub(super) token: Sha256,
    peer: IpAddr,
}

impl Caller {
    /// How the ledger names it.
    pub(super) fn actor(&self) -> Actor {
        Actor { name: self.name.clone(), origin: format!("api {}", self.peer) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthenticated)
    }
}

/// Lets only requests with a token through, and tells the rest of the chain whose they are.
pub(super) async fn authenticate(
    State(state): State<Arc<AdminState>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Denied> {
    let peer = request.extensions().get::<Peer>().ok_or_else(unauthenticated)?.0.to_canonical();
    match bearer(request.headers()).and_then(|text| state.tokens.find(text)) {
        Some(token) => {
            let (name, role, token) = (token.name.clone(), token.role, token.sha256);
            request.extensions_mut().insert(Caller { name, role, token, peer });
            Ok(next.run(request).await)
        }
        None if state.throttle.failed(peer, state.clock.mono()) => {
            tracing::warn!(%peer, "a request to the admin API has no token, or a wrong one");
            Err(unauthenticated())
        }
        None => Err(Denied::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_attempts",
            format!("too many requests of {peer} had no token, or a wrong one"),
        )
        .fix("wait a minute, and send the right token")),
    }
}

/// Lets only those through who may.
pub(super) async fn authorise(
    State(permission): State<Permission>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Denied> {
    if caller.role.may(permission) {
        return Ok(next.run(request).await);
    }
    let detail = format!("{} is {}, which may not do this", caller.name, caller.role);
    Err(Denied::new(StatusCode::FORBIDDEN, "forbidden", detail)
        .fix("use the token of somebody who may"))
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthenticated() -> Denied {
    let detail = "the request has no token, or a wrong one";
    Denied::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail).fix(
        "send `Authorization: Bearer <token>`; the first start wrote an admin's token to \
         `admin.token` beside the store",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_token_comes_in_one_bearer_header() {
        let check = |values: &[&'static str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer(&headers), expected, "{values:?}");
        };
        check(&["Bearer tg_1"], Some("tg_1"));
        check(&["bearer  tg_1"], Some("tg_1"));
        check(&["Basic tg_1"], None);
        check(&["tg_1"], None);
        check(&["Bearer tg_1", "Bearer tg_2"], None);
        check(&[], None);
    }
}
