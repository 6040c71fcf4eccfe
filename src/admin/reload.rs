//! Reading the configuration file again.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::body::MaybeBody;
use super::json::{self, Problem};
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::Reply;

/// Uses the configuration file as it is now; changes nothing if it has a mistake.
#[utoipa::path(
    post, path = "/v1/reload", tag = "process",
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "What it did", body = json::Reloaded),
        (status = 422, description = "What is wrong with the file, or in use", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reload(
    State(state): State<Shared>,
    caller: Caller,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::Reloaded>> {
    let Reply::Reloaded(report) =
        state.handle.reload(caller.actor(), reason.map(String::from)).await?
    else {
        return Err(Denied::mismatched());
    };
    Ok(Json(json::Reloaded { generation: report.generation, ignored: report.ignored }))
}
