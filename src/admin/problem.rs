//! How a request is refused: every reason becomes problem+json with its status.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::json;
use crate::control::Refusal;
use crate::core::rollout;

/// A refused request.
#[derive(Debug)]
pub(super) struct Denied(Box<json::Problem>);

/// What a route gives.
pub(super) type Answer<T> = Result<T, Denied>;

impl Denied {
    /// A refusal of a request as such.
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(json::Problem {
            kind: format!("urn:tidegate:problem:{code}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            fix: None,
            at: None,
            active_rollout: None,
            holds: Vec::new(),
        }))
    }

    /// A request that cannot be understood.
    pub(super) fn bad(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// The writer answered something else than what was asked: a mistake of ours.
    pub(super) fn mismatched() -> Self {
        let detail = "the answer does not fit the request; the change may have been made";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Adds what to do about it.
    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }

    /// Adds where in the request it is.
    pub(super) fn at(mut self, at: impl Into<String>) -> Self {
        self.0.at = Some(at.into());
        self
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        let mut denied = Self::new(status(&refusal), refusal.code(), refusal.to_string());
        denied.0.fix = refusal.fix();
        denied.0.holds = refusal.holds().iter().map(json::HoldText::from).collect();
        if let Refusal::RolloutActive { active, .. } | Refusal::GreenInUse { active, .. } = refusal
        {
            denied.0.active_rollout = Some(active);
        }
        denied
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).expect("it was made from a status");
        let body = serde_json::to_vec(&self.0).expect("a problem has only text keys");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The status that says what kind of refusal it is.
fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoService(_)
        | Refusal::NoRollout(_)
        | Refusal::NoGroup(_)
        | Refusal::NoPushedAlarm(_)
        | Refusal::NoGate(_) => StatusCode::NOT_FOUND,
        Refusal::Rollout(rollout::Refusal::ReasonWanted { .. }) | Refusal::Targets(_) => {
            StatusCode::BAD_REQUEST
        }
        Refusal::RolloutActive { .. }
        | Refusal::SplitNotZero { .. }
        | Refusal::SplitNotFull { .. }
        | Refusal::AlarmActive(_)
        | Refusal::NothingToRevert { .. }
        | Refusal::GreenInUse { .. }
        | Refusal::GroupServes { .. }
        | Refusal::GateInUse(_)
        | Refusal::GateMissing(_)
        | Refusal::Busy(_)
        | Refusal::Rollout(
            rollout::Refusal::Over { .. }
            | rollout::Refusal::NotNow { .. }
            | rollout::Refusal::NothingToApprove
            | rollout::Refusal::Held { .. },
        ) => StatusCode::CONFLICT,
        Refusal::VersionMismatch { .. } => StatusCode::PRECONDITION_FAILED,
        Refusal::NoStrategy(_)
        | Refusal::NeverCertified { .. }
        | Refusal::NotItsAlarm(_)
        | Refusal::NoAlarm(_)
        | Refusal::IdempotencyMismatch
        | Refusal::Gate(_)
        | Refusal::Reload(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::StoreUnreadable(_)
        | Refusal::Store(_)
        | Refusal::StoreSlow
        | Refusal::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rollout::{Hold, StateName};

    #[test]
    fn every_kind_of_refusal_has_its_status_and_says_what_to_do() {
        let check = |refusal: Refusal, status: u16, code: &str| {
            let Denied(problem) = refusal.into();
            assert_eq!((problem.status, problem.code.as_str()), (status, code));
            assert_eq!(problem.kind, format!("urn:tidegate:problem:{code}"));
        };
        check(Refusal::NoService("x".parse().expect("valid")), 404, "no_such_service");
        check(Refusal::NoStrategy("x".parse().expect("valid")), 422, "no_such_strategy");
        check(Refusal::VersionMismatch { expected: 1, found: 2 }, 412, "version_mismatch");
        check(Refusal::IdempotencyMismatch, 422, "idempotency_mismatch");
        check(Refusal::StoreUnreadable(String::new()), 503, "store_unreadable");
        check(Refusal::StoreSlow, 503, "store_slow");
        let over = rollout::Refusal::Over { state: StateName::Succeeded };
        check(over.into(), 409, "rollout_over");
        check(rollout::Refusal::ReasonWanted { verb: "promote" }.into(), 400, "reason_wanted");
    }

    #[test]
    fn what_stands_in_the_way_is_named_for_programs_too() {
        let active: crate::core::model::RolloutId = "d-ABCDEFGHI".parse().expect("valid");
        let service = "shop".parse().expect("valid");
        let Denied(problem) = Refusal::RolloutActive { service, active: active.clone() }.into();
        assert_eq!(problem.active_rollout, Some(active));
        assert!(problem.fix.is_some());
        let held = rollout::Refusal::Held { holds: vec![Hold::GreenHasNoTargets] };
        let Denied(problem) = Refusal::from(held).into();
        assert_eq!(problem.holds[0].kind, "green-has-no-targets");
    }
}
