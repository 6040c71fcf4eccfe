//! Registering targets, by role or by the group's name.

use axum::Json;
use axum::extract::State;

use super::AdminState;
use super::auth::Caller;
use super::body::{InBody, InPath, MaybeBody};
use super::condition::IfMatch;
use super::json::{self, Problem};
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::{Command, GroupRef, Reply};
use crate::core::model::{ServiceName, TargetGroupName};

/// Registers green's targets.
#[utoipa::path(
    put, path = "/v1/services/{service}/green/targets", operation_id = "set_green_targets", tag = "targets",
    params(("service" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = json::NewTargets,
    responses(
        (status = 200, description = "The group afterwards", body = json::GroupTargets),
        (status = 409, description = "Green has traffic, and this would replace all of it", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn set_green(
    State(state): State<Shared>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    if_match: IfMatch,
    InBody(new): InBody<json::NewTargets>,
) -> Answer<Json<json::GroupTargets>> {
    state.register(GroupRef::GreenOf(service), new, &caller, if_match).await
}

/// Registers a group's targets.
#[utoipa::path(
    put, path = "/v1/target-groups/{group}/targets", operation_id = "set_targets", tag = "targets",
    params(("group" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = json::NewTargets,
    responses(
        (status = 200, description = "The group afterwards", body = json::GroupTargets),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn set(
    State(state): State<Shared>,
    caller: Caller,
    InPath(group): InPath<TargetGroupName>,
    if_match: IfMatch,
    InBody(new): InBody<json::NewTargets>,
) -> Answer<Json<json::GroupTargets>> {
    state.register(GroupRef::Named(group), new, &caller, if_match).await
}

/// Gives a group back to the configuration file.
#[utoipa::path(
    post, path = "/v1/target-groups/{group}/reset", operation_id = "reset_targets", tag = "targets",
    params(("group" = String, Path), ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The group afterwards", body = json::GroupTargets),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reset(
    State(state): State<Shared>,
    caller: Caller,
    InPath(group): InPath<TargetGroupName>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Json<json::GroupTargets>> {
    let command = Command::ResetTargets { group };
    registered(state.send(command, &caller, reason, if_match).await?)
}

impl AdminState {
    async fn register(
        &self,
        group: GroupRef,
        new: json::NewTargets,
        caller: &Caller,
        if_match: IfMatch,
    ) -> Answer<Json<json::GroupTargets>> {
        let json::NewTargets { targets, revision, reason } = new;
        let command = Command::SetTargets { group, targets, revision };
        registered(self.send(command, caller, reason, if_match).await?)
    }
}

fn registered(reply: Reply) -> Answer<Json<json::GroupTargets>> {
    let Reply::Targets { group: target_group, targets } = reply else {
        return Err(Denied::mismatched());
    };
    Ok(Json(json::GroupTargets { target_group, targets }))
}
