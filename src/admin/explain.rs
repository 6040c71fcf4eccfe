//! Which side a key gets, and why: recomputed with the function that chooses the side of requests.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use super::body::{InPath, InQuery};
use super::json::{self, Problem};
use super::problem::{Answer, Denied};
use super::routes::Shared;
use crate::control::{Refusal, RollbackOf, RolloutView, ServiceView, View};
use crate::core::model::{RolloutId, Salt, ServiceName, StickyFallback, Weight};
use crate::core::routing::{address_position, cohort_position, side_at};

/// Whose side is wanted: exactly one of `key` and `address`.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// The value of the header or cookie that is the key; not together with `address`.
    key: Option<String>,
    /// The client's address, where the service takes it for the key.
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// A rollout, active or over; without it, what is in force now.
    #[param(value_type = Option<String>)]
    rollout: Option<RolloutId>,
}

/// Says which side a key gets, and why.
#[utoipa::path(
    get, path = "/v1/services/{service}/explain", operation_id = "explain", tag = "services",
    params(("service" = String, Path), ExplainQuery),
    responses(
        (status = 200, description = "The side, and why", body = json::Explanation),
        (status = 404, description = "No such service, or no such rollout of it", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The rollout is a rollback, which has no cohorts of its own", body = Problem, content_type = "application/problem+json"),
        (status = "default", description = "Why not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn explain(
    State(state): State<Shared>,
    InPath(name): InPath<ServiceName>,
    InQuery(query): InQuery<ExplainQuery>,
) -> Answer<Json<json::Explanation>> {
    let view = state.handle.view();
    let service = view.services.get(&name).ok_or(Refusal::NoService(name))?;
    let ExplainQuery { key, address, rollout } = query;
    let asked = Asked::new(key, address)?;
    match rollout {
        None => Ok(Json(in_force(&view, service, asked))),
        Some(id) => in_rollout(&view, service, &id, asked).map(Json),
    }
}

/// What takes the place of a key.
#[derive(Clone, Debug)]
enum Asked {
    Key(String),
    Address(IpAddr),
}

impl Asked {
    fn new(key: Option<String>, address: Option<IpAddr>) -> Answer<Self> {
        match (key, address) {
            (Some(key), None) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Self::Key(key)),
            (Some(key), None) => {
                let detail = format!("a key has 1 to {LONGEST_KEY} bytes, not {}", key.len());
                Err(Denied::bad("bad_query", detail).at("query key"))
            }
            (None, Some(address)) => Ok(Self::Address(address)),
            (None, None) | (Some(_), Some(_)) => {
                let detail = "exactly one of `key` and `address` is wanted";
                Err(Denied::bad("bad_query", detail).at("query"))
            }
        }
    }

    fn position(&self, salt: Salt) -> u16 {
        match self {
            Self::Key(key) => cohort_position(salt, key.as_bytes()),
            Self::Address(address) => address_position(salt, *address),
        }
    }

    /// What of the service makes the question idle; `None` if nothing does.
    fn doubt(&self, service: &ServiceView) -> Option<&'static str> {
        let fallback = service.stickiness.as_ref().map(|sticky| sticky.fallback);
        match (self, fallback) {
            (_, None) => Some("the service has no stickiness: each of its requests is drawn"),
            (Self::Address(_), Some(StickyFallback::IssuedCookie)) => {
                Some("the service does not take the client's address for a key")
            }
            (Self::Address(_), Some(StickyFallback::ClientAddress)) | (Self::Key(_), Some(_)) => {
                None
            }
        }
    }
}

/// What the table says that requests load now.
fn in_force(view: &View, service: &ServiceView, asked: Asked) -> json::Explanation {
    let salted = |rollout: &&RolloutView| {
        rollout.service == service.name
            && rollout.spec.as_ref().is_some_and(|spec| spec.salt == service.salt)
    };
    let rollout = view.rollouts.values().map(AsRef::as_ref).find(salted);
    let note = asked.doubt(service).map(str::to_owned);
    let rollout = rollout.map(|rollout| rollout.id.clone());
    explanation(service, asked, (service.salt, service.in_force), rollout, note)
}

/// What a rollout says, which may be over.
fn in_rollout(
    view: &View,
    service: &ServiceView,
    id: &RolloutId,
    asked: Asked,
) -> Answer<json::Explanation> {
    let found = view.rollouts.get(id).filter(|rollout| rollout.service == service.name);
    let rollout = found.ok_or_else(|| Refusal::NoRollout(id.clone()))?;
    let Some(spec) = &rollout.spec else {
        return Err(no_cohorts(rollout));
    };
    let is_active = service.active.as_ref() == Some(id);
    let weight = if is_active { service.in_force } else { rollout.weight };
    let over = rollout.state.is_terminal().then(|| {
        format!("{id} is over ({}): the weight is the one that it ended with", rollout.state)
    });
    let note = over.or_else(|| asked.doubt(service).map(str::to_owned));
    let found = explanation(service, asked, (spec.salt, weight), Some(id.clone()), note);
    Ok(json::Explanation { steps: json::StepSide::all(spec, found.position), ..found })
}

fn explanation(
    service: &ServiceView,
    asked: Asked,
    (salt, green): (Salt, Weight),
    rollout: Option<RolloutId>,
    note: Option<String>,
) -> json::Explanation {
    let position = asked.position(salt);
    let (key, address) = match asked {
        Asked::Key(key) => (Some(key), None),
        Asked::Address(address) => (None, Some(address)),
    };
    json::Explanation {
        service: service.name.clone(),
        key,
        address,
        position,
        rollout,
        weight: green.into(),
        side: side_at(green, position),
        steps: Vec::new(),
        sentence: json::sentence(position, green),
        note,
    }
}

fn no_cohorts(rollback: &RolloutView) -> Denied {
    let detail = format!("{} is a rollback: it has no cohorts of its own", rollback.id);
    let denied = Denied::new(StatusCode::CONFLICT, "no_cohorts", detail);
    match &rollback.link {
        RollbackOf::RollbackOf(of) => denied.fix(format!("ask about {of}, which it took back")),
        RollbackOf::None | RollbackOf::RolledBackBy(_) => denied,
    }
}

/// More than any header that the proxy takes.
const LONGEST_KEY: usize = 32 * 1_024;
