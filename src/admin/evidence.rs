//! The evidence of a rollout: what its comparison was fed, to be run again elsewhere.

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

/// Gives a rollout's evidence.
#[utoipa::path(
    get, path = "/v1/rollouts/{rollout}/evidence", operation_id = "show_evidence", tag = "rollouts",
    params(("rollout" = String, Path)),
    responses(
        (status = 200, description = "The log of what was compared, as of a few seconds ago and at most 64 MiB; `tidegate replay` reads it", body = String, content_type = "application/octet-stream"),
        (status = 404, description = "No such rollout, or no evidence of it", body = Problem, content_type = "application/problem+json"),
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
    let opened = state.handle.evidence(id.clone()).await;
    let log = opened.map_err(|why| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Denied::new(status, "evidence_unreadable", format!("the evidence of {id}: {why}"))
    })?;
    let log = log.ok_or_else(|| {
        let detail = format!("there is no evidence of {id}");
        Denied::new(StatusCode::NOT_FOUND, "no_evidence", detail)
            .fix("it is kept of rollouts that are compared, and not with a store in memory")
    })?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], Body::new(EvidenceBody::new(log))))
}
