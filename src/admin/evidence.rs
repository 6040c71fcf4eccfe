//! The evidence of a rollout: what its comparison was fed, to be run again elsewhere.

use axum::extract::State;

use super::body::InPath;
use super::json::Problem;
use super::kept_file::{GivenFile, KeptFile};
use super::problem::Answer;
use super::routes::Shared;
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
) -> Answer<GivenFile> {
    KeptFile::Evidence.give(&state, id).await
}
