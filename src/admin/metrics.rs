//! Metrics for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use super::json::Problem;
use super::routes::Shared;
use crate::control::Handle;
use crate::telemetry;

/// Gives all metrics.
#[utoipa::path(
    get, path = "/metrics", tag = "process",
    responses(
        (status = 200, description = "Prometheus' text format", body = String),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(State(state): State<Shared>) -> Response {
    text(&state.handle)
}

/// The metrics as an answer.
pub(super) fn text(handle: &Handle) -> Response {
    ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], handle.metrics()).into_response()
}
