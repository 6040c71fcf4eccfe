//! What a rollout can be told.

use axum::Json;
use axum::extract::State;

use super::AdminState;
use super::auth::Caller;
use super::body::{InPath, MaybeBody};
use super::condition::IfMatch;
use super::json::{self, Problem, Prose};
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::{Command, Reply};
use crate::core::model::RolloutId;
use crate::core::rollout::Verb;

impl AdminState {
    async fn tell(
        &self,
        (id, verb): (RolloutId, Verb),
        caller: &Caller,
        reason: Option<Prose>,
        if_match: IfMatch,
    ) -> Answer<Json<json::Rollout>> {
        let command = Command::Rollout { id, verb };
        let Reply::Rollout { rollout, persisted } =
            self.send(command, caller, reason, if_match).await?
        else {
            return Err(Denied::mismatched());
        };
        Ok(Json(json::Rollout { persisted: Some(persisted), ..rollout.as_ref().into() }))
    }
}

/// Says yes to the approval that the rollout waits for.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/approve", operation_id = "approve_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn approve(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Approve), &caller, reason, if_match).await
}

/// Says no: the traffic is taken back.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/reject", operation_id = "reject_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reject(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Reject), &caller, reason, if_match).await
}

/// Stops the step's clock; the watching goes on.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/pause", operation_id = "pause_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pause(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Pause), &caller, reason, if_match).await
}

/// Lets the clock run again; with `override`, also past a regression.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/resume", operation_id = "resume_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Resumption>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resume(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Resumption { reason, override_regression }): MaybeBody<json::Resumption>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Resume { override_regression }), &caller, reason, if_match).await
}

/// Goes to 100% at once; the final bake still follows.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/promote", operation_id = "promote_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Promotion>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn promote(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Promotion { reason, force }): MaybeBody<json::Promotion>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Promote { force }), &caller, reason, if_match).await
}

/// Ends the rollout where it is and keeps the split.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/stop", operation_id = "stop_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stop(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Stop), &caller, reason, if_match).await
}

/// Takes the traffic back now; waits for nothing.
#[utoipa::path(
    post, path = "/v1/rollouts/{rollout}/abort", operation_id = "abort_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The rollout afterwards", body = json::Rollout),
        (status = 409, description = "It makes no sense now", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn abort(
    State(state): State<Shared>,
    caller: Caller,
    InPath(id): InPath<RolloutId>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::Rollout>> {
    state.tell((id, Verb::Abort), &caller, reason, if_match).await
}
