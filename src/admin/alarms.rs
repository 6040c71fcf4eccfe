//! Alarms: looking at them, and pushing the state of those that are pushed.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::body::{InBody, InPath, InQuery};
use super::condition::IfMatch;
use super::json::{self, Problem};
use super::paging::PageQuery;
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::{AlarmView, Command, Reply};
use crate::core::model::AlarmName;

/// Lists all alarms, each for every service that lists it.
#[utoipa::path(
    get, path = "/v1/alarms", operation_id = "list_alarms", tag = "alarms", params(PageQuery),
    responses(
        (status = 200, description = "By name and service", body = json::Page<json::Alarm>),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Shared>,
    InQuery(query): InQuery<PageQuery>,
) -> Answer<Json<json::Page<json::Alarm>>> {
    let view = state.handle.view();
    let key = |alarm: &AlarmView| {
        let service = alarm.service.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {service}", alarm.alarm)
    };
    query.page(view.alarms.iter().map(|alarm| (key(alarm), alarm.into()))).map(Json)
}

/// Pushes an alarm's state.
#[utoipa::path(
    put, path = "/v1/alarms/{alarm}/state", operation_id = "push_alarm", tag = "alarms",
    params(("alarm" = String, Path)),
    request_body = json::AlarmPush,
    responses(
        (status = 200, description = "The state was taken", body = json::AlarmPushed),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn push(
    State(state): State<Shared>,
    caller: Caller,
    InPath(name): InPath<AlarmName>,
    InBody(pushed): InBody<json::AlarmPush>,
) -> Answer<Json<json::AlarmPushed>> {
    let json::AlarmPush { state: says, reason } = pushed;
    let command = Command::PushAlarm { alarm: name.clone(), state: says };
    match state.send(command, &caller, reason, IfMatch(None)).await? {
        Reply::AlarmPushed => Ok(Json(json::AlarmPushed { name, state: says })),
        Reply::Service { .. }
        | Reply::Started { .. }
        | Reply::Rollout { .. }
        | Reply::Targets { .. }
        | Reply::AlertsHeard(_)
        | Reply::GateChanged
        | Reply::Reloaded(_) => Err(Denied::mismatched()),
    }
}
