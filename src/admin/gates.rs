//! Gates: looking at them, and uploading their components.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::auth::Caller;
use super::body::{InComponent, InPath, InQuery, MaybeBody};
use super::evidence_body::EvidenceBody;
use super::json::{self, Problem};
use super::paging::PageQuery;
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::Upload;
use crate::core::model::{GateName, Sha256};

/// Lists all gates.
#[utoipa::path(
    get, path = "/v1/gates", operation_id = "list_gates", tag = "gates", params(PageQuery),
    responses(
        (status = 200, description = "By name", body = json::Page<json::Gate>),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Shared>,
    InQuery(query): InQuery<PageQuery>,
) -> Answer<Json<json::Page<json::Gate>>> {
    let gates = state.handle.list_gates().await?.into_iter();
    query.page(gates.map(|gate| (gate.gate.to_string(), json::Gate::from(gate)))).map(Json)
}

/// Shows a gate with what was uploaded for it.
#[utoipa::path(
    get, path = "/v1/gates/{gate}", operation_id = "show_gate", tag = "gates",
    params(("gate" = String, Path)),
    responses(
        (status = 200, description = "The gate", body = json::GateDetail),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Shared>,
    InPath(gate): InPath<GateName>,
) -> Answer<Json<json::GateDetail>> {
    let view = state.handle.see_gate(&gate).await?;
    Ok(Json(view.into()))
}

/// Uploads a gate's component, for the rollouts that start from now on.
#[utoipa::path(
    put, path = "/v1/gates/{gate}", operation_id = "push_gate", tag = "gates",
    params(
        ("gate" = String, Path),
        ("X-Tidegate-Signature" = Option<String>, Header, description = "The signature of the body by Ed25519, 128 hexadecimal digits"),
        ("X-Tidegate-Reason" = Option<String>, Header, description = "Why, for the ledger"),
    ),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses(
        (status = 200, description = "The gate afterwards", body = json::GateDetail),
        (status = 422, description = "What is wrong with the component", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn push(
    State(state): State<Shared>,
    caller: Caller,
    InPath(gate): InPath<GateName>,
    headers: HeaderMap,
    InComponent(component, _place): InComponent,
) -> Answer<Json<json::GateDetail>> {
    let signature = text(&headers, SIGNATURE)?.map(signature).transpose()?;
    let reason = text(&headers, REASON)?.map(reason).transpose()?;
    let upload = Upload { gate, component, signature };
    let view = state.handle.push_gate(upload, caller.actor(), reason).await?;
    Ok(Json(view.into()))
}

/// Removes what was uploaded for a gate that nothing asks.
#[utoipa::path(
    delete, path = "/v1/gates/{gate}", operation_id = "remove_gate", tag = "gates",
    params(("gate" = String, Path)),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "It is gone", body = json::GateRemoved),
        (status = 409, description = "What asks it", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    State(state): State<Shared>,
    caller: Caller,
    InPath(gate): InPath<GateName>,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::GateRemoved>> {
    let reason = reason.map(String::from);
    state.handle.remove_gate(gate.clone(), caller.actor(), reason).await?;
    Ok(Json(json::GateRemoved { name: gate }))
}

/// Which component is wanted.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ComponentQuery {
    /// Its digest; the present one if not given.
    #[param(value_type = Option<String>)]
    sha256: Option<Sha256>,
}

/// Gives a component of a gate: to be tried elsewhere.
#[utoipa::path(
    get, path = "/v1/gates/{gate}/component", operation_id = "show_gate_component", tag = "gates",
    params(("gate" = String, Path), ComponentQuery),
    responses(
        (status = 200, description = "The component", body = Vec<u8>, content_type = "application/wasm"),
        (status = 404, description = "No such gate, or it is not kept", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn component(
    State(state): State<Shared>,
    InPath(gate): InPath<GateName>,
    InQuery(query): InQuery<ComponentQuery>,
) -> Answer<([(HeaderName, &'static str); 1], Body)> {
    let found = state.handle.gate_component(&gate, query.sha256).await?;
    let component = found.ok_or_else(|| {
        let detail = format!("that component of gate {gate} is not kept");
        Denied::new(StatusCode::NOT_FOUND, "no_component", detail)
            .fix("an earlier component is kept for as long as a rollout asks it")
    })?;
    Ok(([(CONTENT_TYPE, "application/wasm")], Body::new(EvidenceBody::new(component))))
}

/// The header with the signature.
const SIGNATURE: &str = "x-tidegate-signature";
/// The header with the reason: the body is the component.
const REASON: &str = "x-tidegate-reason";

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Answer<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let read = std::str::from_utf8(value.as_bytes());
    read.map(Some).map_err(|_| Denied::bad("bad_header", "it is no text").at(name))
}

fn signature(text: &str) -> Answer<Vec<u8>> {
    let denied = || {
        Denied::bad("bad_signature", "a signature by Ed25519 has 128 hexadecimal digits")
            .at(SIGNATURE)
    };
    if text.len() != 128 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(denied());
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| denied());
    (0..text.len()).step_by(2).map(byte).collect()
}

fn reason(text: &str) -> Answer<String> {
    let prose = json::Prose::try_from(text.to_owned());
    prose.map(String::from).map_err(|error| Denied::bad("bad_header", error.to_string()).at(REASON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_read_as_digits() {
        let bytes = signature(&"0aF0".repeat(32)).expect("digits");
        assert_eq!((bytes.len(), bytes[0], bytes[1]), (64, 0x0a, 0xf0));
        for text in ["", "0a", &"é".repeat(64), &"0g".repeat(64)] {
            assert!(signature(text).is_err(), "{text}");
        }
    }
}
