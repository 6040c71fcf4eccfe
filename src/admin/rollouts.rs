//! Rollouts: starting one, and looking at them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use http::header::{HeaderName, LOCATION};
use serde::Deserialize;
use tokio::time::timeout;

use super::AdminState;
use super::auth::Caller;
use super::body::{InBody, InPath, InQuery};
use super::condition::IfMatch;
use super::idempotency::RepeatKey;
use super::json::{self, Problem};
use super::paging::PageQuery;
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::{Command, Refusal, Reply, RolloutView, StartRollout};
use crate::core::ledger::LedgerQuery;
use crate::core::model::{RolloutId, ServiceName};
use crate::core::rollout::StateName;

/// Which rollouts are wanted.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RolloutQuery {
    /// Only those of this service.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// Only those in this state.
    #[param(value_type = Option<String>)]
    state: Option<StateName>,
    /// The most items, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// How much of a rollout is wanted.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShowQuery {
    /// Whether with its history; yes if not given.
    history: Option<bool>,
}

/// Starts a rollout.
#[utoipa::path(
    post, path = "/v1/services/{service}/rollouts", operation_id = "start_rollout", tag = "rollouts",
    params(
        ("service" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; a repetition within 24 h gives the first answer again"),
        ("If-Match" = Option<String>, Header, description = "The service's version last seen, in quotes"),
    ),
    request_body = json::NewRollout,
    responses(
        (status = 201, description = "Started; `Location` names it", body = json::Rollout),
        (status = 409, description = "Another is active, or something stands against it", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such strategy or alarm, or the key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn start(
    State(state): State<Shared>,
    caller: Caller,
    InPath(service): InPath<ServiceName>,
    if_match: IfMatch,
    key: RepeatKey,
    InBody(new): InBody<json::NewRollout>,
) -> Answer<(StatusCode, [(HeaderName, String); 1], Json<json::Rollout>)> {
    let idempotency = key.bind(&caller, &service, &new);
    let command = Command::StartRollout(Box::new(StartRollout {
        service,
        revision: new.revision,
        targets: new.targets,
        strategy: new.strategy,
        description: new.description.map(String::from).unwrap_or_default(),
        ignore_alarms: new.ignore_alarms,
        idempotency,
        draws: rand::random(),
        alarms: new.alarms,
    }));
    let reply = state.send(command, &caller, new.reason, if_match).await?;
    let Reply::Started { rollout } = reply else {
        return Err(Denied::mismatched());
    };
    let location = format!("/v1/rollouts/{}", rollout.id);
    let rollout = json::Rollout { persisted: Some(true), ..rollout.as_ref().into() };
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(rollout)))
}

/// Lists rollouts, the newest first.
#[utoipa::path(
    get, path = "/v1/rollouts", operation_id = "list_rollouts", tag = "rollouts", params(RolloutQuery),
    responses(
        (status = 200, description = "The newest first", body = json::Page<json::Rollout>),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Shared>,
    InQuery(query): InQuery<RolloutQuery>,
) -> Answer<Json<json::Page<json::Rollout>>> {
    let RolloutQuery { service, state: wanted, limit, cursor } = query;
    let view = state.handle.view();
    let rollouts = view
        .rollouts
        .values()
        .filter(|rollout| service.as_ref().is_none_or(|service| *service == rollout.service))
        .filter(|rollout| wanted.is_none_or(|wanted| wanted == rollout.state))
        .map(|rollout| (newest_first(rollout), rollout));
    let page = PageQuery::new(limit, cursor).page(rollouts)?;
    let items = page.items.into_iter().map(|rollout| rollout.as_ref().into()).collect();
    Ok(Json(json::Page { items, next: page.next }))
}

/// Shows a rollout.
#[utoipa::path(
    get, path = "/v1/rollouts/{rollout}", operation_id = "show_rollout", tag = "rollouts",
    params(("rollout" = String, Path), ShowQuery),
    responses(
        (status = 200, description = "The rollout with its history", body = json::Rollout),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Shared>,
    InPath(id): InPath<RolloutId>,
    InQuery(query): InQuery<ShowQuery>,
) -> Answer<Json<json::Rollout>> {
    let found = state.handle.view().rollouts.get(&id).cloned();
    let rollout = found.ok_or_else(|| Refusal::NoRollout(id.clone()))?;
    let history = if query.history.unwrap_or(true) { state.history(id).await } else { None };
    Ok(Json(json::Rollout { history, ..rollout.as_ref().into() }))
}

impl AdminState {
    /// A rollout's last entries of the ledger, the newest last; `None` if it cannot be read, or not
    /// soon: what is known of the rollout itself is told all the same.
    async fn history(&self, rollout: RolloutId) -> Option<Vec<json::LedgerEntry>> {
        let query = LedgerQuery {
            limit: HISTORY,
            rollout: Some(rollout),
            newest_first: true,
            ..LedgerQuery::default()
        };
        let newest_first = timeout(PATIENCE, self.handle.ledger(query)).await.ok()?.ok()?;
        Some(newest_first.into_iter().rev().map(json::LedgerEntry::from).collect())
    }
}

/// A key that sorts the newest rollout first, and those of one moment by id.
fn newest_first(rollout: &RolloutView) -> String {
    format!("{:020}.{}", u64::MAX - rollout.created.ms(), rollout.id)
}

const HISTORY: usize = 200;
/// How long the store may take to tell a history.
const PATIENCE: Duration = Duration::from_secs(1);
