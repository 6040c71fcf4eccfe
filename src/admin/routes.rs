//! The routes: one table, so that none can be without its permission or its documentation.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post, put};
use http::{Method, StatusCode, Uri};

use super::auth::{authenticate, authorise};
use super::envelope::envelope;
use super::problem::Denied;
use super::{
    AdminState, Permission, alarm_hooks, alarms, evidence, explain, gate_calls, gates, health,
    ledger, metrics, openapi, reload, rollouts, services, targets, verbs,
};
use crate::control::Handle;

/// The state that handlers share.
pub(super) type Shared = Arc<AdminState>;

/// One line of the table.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it with the document"))]
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Who may use it; `None` for everybody, without a token.
    pub(super) needs: Option<Permission>,
    handler: MethodRouter<Shared>,
}

/// Every route of the API.
pub(super) fn table() -> Vec<Route> {
    use Permission::{Approve, Configure, Deploy, Halt, Notify, Operate, Read};
    vec![
        reading("/livez", None, health::live),
        reading("/readyz", None, health::ready),
        reading("/metrics", Some(Read), metrics::metrics),
        reading("/v1/openapi.json", Some(Read), openapi::openapi),
        reading("/v1/services", Some(Read), services::list),
        reading("/v1/services/{service}", Some(Read), services::show),
        reading("/v1/services/{service}/explain", Some(Read), explain::explain),
        putting("/v1/services/{service}/split", Operate, services::split),
        posting("/v1/services/{service}/swap", Operate, services::swap),
        posting("/v1/services/{service}/revert", Operate, services::revert),
        posting("/v1/services/{service}/rollouts", Deploy, rollouts::start),
        putting("/v1/services/{service}/green/targets", Deploy, targets::set_green),
        putting("/v1/target-groups/{group}/targets", Deploy, targets::set),
        posting("/v1/target-groups/{group}/reset", Operate, targets::reset),
        reading("/v1/rollouts", Some(Read), rollouts::list),
        reading("/v1/rollouts/{rollout}", Some(Read), rollouts::show),
        reading("/v1/rollouts/{rollout}/evidence", Some(Read), evidence::show),
        reading("/v1/rollouts/{rollout}/gate-calls", Some(Deploy), gate_calls::show),
        posting("/v1/rollouts/{rollout}/approve", Approve, verbs::approve),
        posting("/v1/rollouts/{rollout}/reject", Approve, verbs::reject),
        posting("/v1/rollouts/{rollout}/pause", Halt, verbs::pause),
        posting("/v1/rollouts/{rollout}/resume", Operate, verbs::resume),
        posting("/v1/rollouts/{rollout}/promote", Operate, verbs::promote),
        posting("/v1/rollouts/{rollout}/stop", Halt, verbs::stop),
        posting("/v1/rollouts/{rollout}/abort", Halt, verbs::abort),
        reading("/v1/alarms", Some(Read), alarms::list),
        putting("/v1/alarms/{alarm}/state", Notify, alarms::push),
        posting("/v1/alarm-hooks/alertmanager", Notify, alarm_hooks::alertmanager),
        reading("/v1/gates", Some(Read), gates::list),
        reading("/v1/gates/{gate}", Some(Read), gates::show),
        reading("/v1/gates/{gate}/component", Some(Read), gates::component),
        putting("/v1/gates/{gate}", Configure, gates::push),
        deleting("/v1/gates/{gate}", Configure, gates::remove),
        reading("/v1/ledger", Some(Read), ledger::list),
        posting("/v1/reload", Configure, reload::reload),
    ]
}

/// The API.
pub(super) fn api(state: &Shared) -> Router {
    let mut open = Router::new();
    let mut guarded = Router::new();
    for Route { path, needs, handler, .. } in table() {
        match needs {
            None => open = open.route(path, handler),
            Some(permission) => {
                let guard = from_fn_with_state(permission, authorise);
                guarded = guarded.route(path, handler.layer(guard));
            }
        }
    }
    let guarded = guarded
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(state), authenticate));
    open.method_not_allowed_fallback(wrong_method)
        .merge(guarded)
        .layer(from_fn_with_state(Arc::clone(state), envelope))
        .with_state(Arc::clone(state))
}

/// The metrics alone, for an address of their own that asks for no token.
pub(super) fn metrics_only(handle: Handle) -> Router {
    Router::new()
        .route("/metrics", get(move || async move { metrics::text(&handle) }))
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
}

fn reading<H, T>(path: &'static str, needs: Option<Permission>, handler: H) -> Route
where
    H: Handler<T, Shared>,
    T: 'static,
{
    Route { method: Method::GET, path, needs, handler: get(handler) }
}

fn posting<H, T>(path: &'static str, needs: Permission, handler: H) -> Route
where
    H: Handler<T, Shared>,
    T: 'static,
{
    Route { method: Method::POST, path, needs: Some(needs), handler: post(handler) }
}

fn putting<H, T>(path: &'static str, needs: Permission, handler: H) -> Route
where
    H: Handler<T, Shared>,
    T: 'static,
{
    Route { method: Method::PUT, path, needs: Some(needs), handler: put(handler) }
}

fn deleting<H, T>(path: &'static str, needs: Permission, handler: H) -> Route
where
    H: Handler<T, Shared>,
    T: 'static,
{
    Route { method: Method::DELETE, path, needs: Some(needs), handler: delete(handler) }
}

async fn no_such_route(uri: Uri) -> Denied {
    let shown: String = uri.path().chars().take(200).collect();
    Denied::new(StatusCode::NOT_FOUND, "no_such_route", format!("there is nothing at {shown}"))
        .fix("GET /v1/openapi.json lists what there is")
}

async fn wrong_method(method: Method, uri: Uri) -> Denied {
    let shown: String = uri.path().chars().take(200).collect();
    let detail = format!("{shown} cannot be asked with {method}");
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
        .fix("GET /v1/openapi.json lists what there is")
}
