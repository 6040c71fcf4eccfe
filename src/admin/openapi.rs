//! The OpenAPI document, made from the routes and the JSON types. `docs/openapi.json` is a copy of
//! it, which a test keeps equal.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::json::Problem;
use super::{
    alarm_hooks, alarms, evidence, explain, gate_calls, gates, health, ledger, metrics, reload,
    rollouts, services, targets, verbs,
};

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Gives this document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "process",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate admin API",
        description = "Rollouts, services, targets, alarms, gates and the ledger of a Tidegate. \
                       Weights are written in percent (\"10.25%\"), durations with a unit (\"2m\"), \
                       times as RFC 3339. Every answer that is not a success is problem+json.",
    ),
    paths(
        health::live, health::ready, metrics::metrics, openapi,
        services::list, services::show, explain::explain, services::split, services::swap, services::revert,
        rollouts::start, targets::set_green, targets::set, targets::reset,
        rollouts::list, rollouts::show, evidence::show, gate_calls::show,
        verbs::approve, verbs::reject, verbs::pause, verbs::resume, verbs::promote, verbs::stop,
        verbs::abort,
        alarms::list, alarms::push, alarm_hooks::alertmanager, gates::list,
        gates::show, gates::component, gates::push, gates::remove, ledger::list, reload::reload,
    ),
    security(("token" = [])),
    modifiers(&Token),
)]
struct Document;

/// Adds how the token is sent.
struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}
