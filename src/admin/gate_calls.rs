//! The calls of gates of a rollout, with all that the gates were told: to be made again elsewhere.

use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};

use super::body::InPath;
use super::evidence_body::EvidenceBody;
use super::json::Problem;
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::Refusal;
use crate::core::model::RolloutId;

/// Gives a rollout's calls of gates.
#[utoipa::path(
    get, path = "/v1/rollouts/{rollout}/gate-calls", operation_id = "show_gate_calls", tag = "rollouts",
    params(("rollout" = String, Path)),
    responses(
        (status = 200, description = "What gates were asked and told, and what they said, as of a moment ago: a JSON value on each line, at most 8 MiB. It may hold what others answered over HTTP, so that a viewer may not see it; `tidegate replay` and `tidegate gate test --rollout` read it", body = String, content_type = "application/x-ndjson"),
        (status = 404, description = "No such rollout, or no record of its calls", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Shared>,
    InPath(id): InPath<RolloutId>,
) -> Answer<([(HeaderName, &'static str); 1], Body)> {
    if !state.handle.view().rollouts.contains_key(&id) {
        return Err(Refusal::NoRollout(id).into());
    }
    let opened = state.handle.gate_calls(id.clone()).await;
    let record = opened.map_err(|why| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Denied::new(status, "gate_calls_unreadable", format!("the gate calls of {id}: {why}"))
    })?;
    let record = record.ok_or_else(|| {
        let detail = format!("there is no record of gate calls of {id}");
        Denied::new(StatusCode::NOT_FOUND, "no_gate_calls", detail)
            .fix("it is kept of rollouts that have asked a gate, and not with a store in memory")
    })?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(EvidenceBody::new(record))))
}
