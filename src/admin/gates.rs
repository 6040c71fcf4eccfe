//! The declared gates.

use axum::Json;
use axum::extract::State;

use super::body::InQuery;
use super::json::{self, Problem};
use super::paging::PageQuery;
use super::problem::Answer;
use super::routes::Shared;

/// Lists all gates.
#[utoipa::path(
    get, path = "/v1/gates", operation_id = "list_gates", tag = "gates", params(PageQuery),
    responses(
        (status = 200, description = "By name", body = json::Page<json::Gate>),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Shared>,
    InQuery(query): InQuery<PageQuery>,
) -> Answer<Json<json::Page<json::Gate>>> {
    let view = state.handle.view();
    let gate = |(name, sha256): &(_, _)| json::Gate { name: Clone::clone(name), sha256: *sha256 };
    query.page(view.gates.iter().map(|pair| (pair.0.to_string(), gate(pair)))).map(Json)
}
