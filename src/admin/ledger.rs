//! Reading the ledger.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::body::InQuery;
use super::json::{self, Problem};
use super::paging::PageQuery;
use super::problem::Answer;
use super::routes::Shared;
use crate::core::ledger::LedgerQuery;
use crate::core::model::{RolloutId, ServiceName};

/// Which end of the ledger comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// The newest entry.
    #[default]
    Newest,
    /// The oldest entry: the order in which the chain is checked.
    Oldest,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EntryQuery {
    /// Only what is about this service.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// Only what is about this rollout.
    #[param(value_type = Option<String>)]
    rollout: Option<RolloutId>,
    /// What comes first: `newest` (if not given) or `oldest`.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// The most items, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists entries of the ledger.
#[utoipa::path(
    get, path = "/v1/ledger", operation_id = "list_ledger", tag = "ledger", params(EntryQuery),
    responses(
        (status = 200, description = "The entries", body = json::Page<json::LedgerEntry>),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Shared>,
    InQuery(query): InQuery<EntryQuery>,
) -> Answer<Json<json::Page<json::LedgerEntry>>> {
    let EntryQuery { service, rollout, order, limit, cursor } = query;
    let page = PageQuery::new(limit, cursor);
    let limit = page.limit()?;
    let after_seq = page.cursor_number()?.unwrap_or(0);
    let newest_first = order == Order::Newest;
    let query = LedgerQuery { after_seq, limit, service, rollout, newest_first };
    let entries = state.handle.ledger(query).await?;
    // A full page may be the last one; the next is empty then.
    let next = entries.last().filter(|_| entries.len() >= limit).map(|last| last.seq.to_string());
    let items = entries.into_iter().map(json::LedgerEntry::from).collect();
    Ok(Json(json::Page { items, next }))
}
