//! Whether the process lives and is ready: for those who start and stop it, without a token.

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::json::{self, Readiness, StoreHealth};
use super::routes::Shared;
use crate::control::{HealthView, StoreState};

/// Says that the process lives.
#[utoipa::path(
    get, path = "/livez", operation_id = "live", tag = "process", security(()),
    responses((status = 200, description = "It lives", body = String)),
)]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Says whether rollouts are watched: every target was probed since the start, and the writer comes
/// round. Traffic flows either way.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "process", security(()),
    responses(
        (status = 200, description = "Ready", body = json::Health),
        (status = 503, description = "Targets are being probed for the first time, or nothing is decided any more", body = json::Health),
    ),
)]
pub(super) async fn ready(State(state): State<Shared>) -> (StatusCode, Json<json::Health>) {
    let view = state.handle.view();
    let store = match view.store {
        StoreState::Good => StoreHealth::Good,
        StoreState::Failing(_) => StoreHealth::Failing,
        StoreState::Unreadable(_) => StoreHealth::Unreadable,
    };
    let (code, status) = match (state.handle.is_alive(), view.health) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, Readiness::Stuck),
        (true, HealthView::Starting) => (StatusCode::SERVICE_UNAVAILABLE, Readiness::Starting),
        (true, HealthView::Settled) => (StatusCode::OK, Readiness::Ready),
    };
    (code, Json(json::Health { status, store }))
}
