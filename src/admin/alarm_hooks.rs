//! Webhooks that tell alarms.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::body::InBody;
use super::condition::IfMatch;
use super::json::{self, Problem};
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::{Command, Reply};

/// Takes a notification of Alertmanager's webhook: alarms whose alerts fire are in ALARM.
#[utoipa::path(
    post, path = "/v1/alarm-hooks/alertmanager", operation_id = "hear_alertmanager", tag = "alarms",
    request_body = json::AlertmanagerNotice,
    responses(
        (status = 200, description = "What was made of it; alerts about no alarm are no error", body = json::AlertsHeard),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn alertmanager(
    State(state): State<Shared>,
    caller: Caller,
    InBody(notice): InBody<json::AlertmanagerNotice>,
) -> Answer<Json<json::AlertsHeard>> {
    if notice.version != json::AlertmanagerNotice::VERSION {
        let version: String = notice.version.chars().take(20).collect();
        let detail = format!("the notification is of version {version:?}, wanted \"4\"");
        return Err(Denied::bad("bad_body", detail).at("body, version"));
    }
    let truncated = notice.truncated_alerts;
    if truncated > 0 {
        tracing::warn!(truncated, "Alertmanager left alerts out: raise its `max_alerts`");
    }
    let alerts = notice.alerts.into_iter().map(json::NoticeAlert::into_alert).collect();
    let command = Command::HearAlerts { alerts };
    let Reply::AlertsHeard(report) = state.send(command, &caller, None, IfMatch(None)).await?
    else {
        return Err(Denied::mismatched());
    };
    Ok(Json(json::AlertsHeard::new(report, truncated)))
}
