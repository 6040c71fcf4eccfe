//! Services: looking at them, and moving traffic by hand.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use super::auth::Caller;
use super::body::{InBody, InPath, InQuery, MaybeBody};
use super::condition::{IfMatch, etag};
use super::json::{self, Prose};
use super::paging::PageQuery;
use super::problem::{Answer, Denied};
use super::routes::Shared;
use super::{AdminState, json::Problem};
use crate::control::{Command, Refusal, Reply, Request, RoleChange};
use crate::core::model::ServiceName;

impl AdminState {
    /// Has the writer carry out a command.
    pub(super) async fn send(
        &self,
        command: Command,
        caller: &Caller,
        reason: Option<Prose>,
        if_match: IfMatch,
    ) -> Answer<Reply> {
        let reason = reason.map(String::from);
        let request = Request { command, actor: caller.actor(), reason, if_match: if_match.0 };
        self.handle.send(request).await.map_err(Denied::from)
    }
}

/// Lists all services.
#[utoipa::path(
    get, path = "/v1/services", operation_id = "list_services", tag = "services", params(PageQuery),
    responses(
        (status = 200, description = "By name", body = json::Page<json::Service>),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Shared>,
    InQuery(query): InQuery<PageQuery>,
) -> Answer<Json<json::Page<json::Service>>> {
    let view = state.handle.view();
    let services = view.services.iter().map(|(name, service)| (name.to_string(), service.into()));
    query.page(services).map(Json)
}

/// Shows a service.
#[utoipa::path(
    get, path = "/v1/services/{service}", operation_id = "show_service", tag = "services",
    params(("service" = String, Path)),
    responses(
        (status = 200, description = "The service; `ETag` is its version", body = json::Service),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Shared>,
    InPath(name): InPath<ServiceName>,
) -> Answer<Response> {
    let view = state.handle.view();
    let service = view.services.get(&name).ok_or(Refusal::NoService(name))?;
    Ok(answer(service.into()))
}

/// Sets a split by hand.
#[utoipa::path(
    put, path = "/v1/services/{service}/split", operation_id = "set_split", tag = "services",
    params(("service" = String, Path), ("If-Match" = Option<String>, Header, description = "The version last seen, in quotes")),
    request_body = json::NewSplit,
    responses(
        (status = 200, description = "The service afterwards", body = json::Service),
        (status = 409, description = "A rollout is active", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn split(
    State(state): State<Shared>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    if_match: IfMatch,
    InBody(json::NewSplit { green, reason }): InBody<json::NewSplit>,
) -> Answer<Response> {
    let command = Command::SetSplit { service, green };
    changed(state.send(command, &caller, reason, if_match).await?)
}

/// Makes green, which has all the traffic, blue.
#[utoipa::path(
    post, path = "/v1/services/{service}/swap", operation_id = "swap_roles", tag = "services",
    params(("service" = String, Path), ("If-Match" = Option<String>, Header, description = "The version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The service afterwards", body = json::Service),
        (status = 409, description = "Green is not at 100%", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn swap(
    State(state): State<Shared>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Response> {
    let command = Command::Roles { service, change: RoleChange::Swap };
    changed(state.send(command, &caller, reason, if_match).await?)
}

/// Goes back to the revision that was blue before.
#[utoipa::path(
    post, path = "/v1/services/{service}/revert", operation_id = "revert_service", tag = "services",
    params(("service" = String, Path), ("If-Match" = Option<String>, Header, description = "The version last seen, in quotes")),
    request_body = Option<json::Reason>,
    responses(
        (status = 200, description = "The service afterwards", body = json::Service),
        (status = 409, description = "There is nothing to go back to", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn revert(
    State(state): State<Shared>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    if_match: IfMatch,
    MaybeBody(json::Reason { reason }): MaybeBody<json::Reason>,
) -> Answer<Response> {
    let command = Command::Roles { service, change: RoleChange::Revert };
    changed(state.send(command, &caller, reason, if_match).await?)
}

fn changed(reply: Reply) -> Answer<Response> {
    let Reply::Service { service, persisted } = reply else {
        return Err(Denied::mismatched());
    };
    Ok(answer(json::Service { persisted: Some(persisted), ..service.as_ref().into() }))
}

fn answer(service: json::Service) -> Response {
    ([(header::ETAG, etag(service.version))], Json(service)).into_response()
}
