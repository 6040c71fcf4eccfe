//! `Idempotency-Key`: a request that may be repeated without a further effect.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;

use super::auth::Caller;
use super::problem::Denied;
use crate::control::IdempotencyKey;
use crate::core::model::{ServiceName, Sha256};

/// The key; `None` where the request may not be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepeatKey(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for RepeatKey {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denied> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let (first, second) = (values.next(), values.next());
        let visible = |text: &str| {
            (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        match first.map(|value| value.to_str().ok().filter(|text| visible(text))) {
            None => Ok(Self(None)),
            Some(Some(text)) if second.is_none() => Ok(Self(Some(text.to_owned()))),
            Some(_) => Err(Denied::bad(
                "bad_idempotency_key",
                format!("it is not one key of 1 to {LONGEST} visible ASCII characters"),
            )
            .at(format!("header {HEADER}"))),
        }
    }
}

impl RepeatKey {
    /// The digests that tell a repetition: one token's key for one service, and the body as it was
    /// understood, so that blanks and the order of fields do not matter.
    pub(super) fn bind<T: Serialize>(
        self,
        caller: &Caller,
        service: &ServiceName,
        body: &T,
    ) -> Option<IdempotencyKey> {
        let key = self.0?;
        // Digest and names without blanks: the separators cannot be forged.
        let scope = format!("{} {service} {key}", caller.token);
        let body = serde_json::to_vec(body).expect("a request has only text keys");
        Some(IdempotencyKey { scope: Sha256::of(scope.as_bytes()), body: Sha256::of(&body) })
    }
}

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 255;
