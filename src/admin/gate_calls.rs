//! The calls of gates of a rollout, with all that the gates were told: to be made again elsewhere.

use axum::extract::State;

use super::body::InPath;
use super::json::Problem;
use super::kept_file::{GivenFile, KeptFile};
use super::problem::Answer;
use super::routes::Shared;
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
) -> Answer<GivenFile> {
    KeptFile::GateCalls.give(&state, id).await
}
