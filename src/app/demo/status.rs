//! Where everything stands at a moment of the demo.

use serde::Serialize;

use crate::control::{RolloutView, ServiceView, SideView, View};
use crate::core::model::{AlarmState, RolloutId, ServiceName, Step, Weight};
use crate::core::rollout::StateName;

use super::LoadReport;
use super::configuration::ALARM;

/// What is shown again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Status {
    /// Since the demo began.
    pub(super) at_ms: u64,
    /// The act, from 1.
    pub(super) act: u32,
    pub(super) title: String,
    /// `None` before the act's rollout was started.
    pub(super) rollout: Option<RolloutStatus>,
    /// Green's weight in the table that requests load now.
    pub(super) weight: Weight,
    pub(super) blue: SideStatus,
    pub(super) green: SideStatus,
    pub(super) alarm: AlarmState,
    /// The last verdict of the gate; `None` before the first.
    pub(super) gate: Option<String>,
    /// Client-visible errors that the shift itself caused.
    pub(super) shift_errors: u64,
}

/// How far a rollout has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RolloutStatus {
    pub(super) id: RolloutId,
    pub(super) state: StateName,
    /// The step, from 1, and how many there are.
    pub(super) step: (u32, u32),
    /// The time watched and the length of the bake; `None` outside of one.
    pub(super) bake_ms: Option<(u64, u64)>,
    pub(super) holds: Vec<String>,
}

/// One side of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SideStatus {
    /// `None` if nobody has said what it runs.
    pub(super) revision: Option<String>,
    pub(super) healthy: u32,
    pub(super) targets: u32,
    pub(super) requests_per_second: u64,
    /// Answers that users had from this side since the demo began.
    pub(super) requests: u64,
    /// Failed ones among them.
    pub(super) failed: u64,
}

/// What a status is made of besides the view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) at_ms: u64,
    pub(super) act: u32,
    pub(super) title: &'a str,
    pub(super) rollout: Option<&'a RolloutId>,
    pub(super) gate: Option<&'a str>,
    pub(super) report: &'a LoadReport,
    /// Answers a second of blue and of green.
    pub(super) pace: (u64, u64),
}

impl Status {
    /// The status of a service; `None` if there is no such service.
    pub(super) fn of(view: &View, service: &ServiceName, seen: &Seen<'_>) -> Option<Self> {
        let ServiceView { blue, green, in_force, .. } = view.services.get(service)?;
        let rollout = seen.rollout.and_then(|id| view.rollouts.get(id));
        let alarm = view.alarms.iter().find(|alarm| alarm.alarm.as_str() == ALARM);
        let report = seen.report;
        let side = |side: &SideView, requests_per_second, answers: super::Answers| SideStatus {
            revision: side.revision.as_ref().map(ToString::to_string),
            healthy: side.health.healthy,
            targets: side.health.targets,
            requests_per_second,
            requests: answers.answered,
            failed: answers.failed,
        };
        Some(Self {
            at_ms: seen.at_ms,
            act: seen.act,
            title: seen.title.to_owned(),
            rollout: rollout.map(|rollout| RolloutStatus::of(rollout)),
            weight: *in_force,
            blue: side(blue, seen.pace.0, report.blue),
            green: side(green, seen.pace.1, report.green),
            alarm: alarm.map_or(AlarmState::InsufficientData, |alarm| alarm.state),
            gate: seen.gate.map(str::to_owned),
            shift_errors: report.errors_of_the_proxy(),
        })
    }
}

impl RolloutStatus {
    fn of(rollout: &RolloutView) -> Self {
        let shifts = rollout.steps().iter().filter(|step| matches!(step, Step::Shift(_)));
        Self {
            id: rollout.id.clone(),
            state: rollout.state,
            step: (rollout.step + 1, u32::try_from(shifts.count()).unwrap_or(u32::MAX)),
            bake_ms: rollout
                .bake
                .map(|(length, watched, _)| (watched.min(length).ms(), length.ms())),
            holds: rollout.holds.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A rollout of `v2` at 25 %, in the middle of its second step.
    pub(in super::super) fn shifting() -> Status {
        let side = |revision: &str, requests_per_second, requests, failed| SideStatus {
            revision: Some(revision.to_owned()),
            healthy: 2,
            targets: 2,
            requests_per_second,
            requests,
            failed,
        };
        Status {
            at_ms: 12_345,
            act: 1,
            title: "v2 is healthy".to_owned(),
            rollout: Some(RolloutStatus {
                id: "d-ABCDEFGH1".parse().unwrap(),
                state: StateName::Shifting,
                step: (2, 4),
                bake_ms: Some((1_200, 3_000)),
                holds: vec!["alarm shop-errors says INSUFFICIENT_DATA".to_owned()],
            }),
            weight: "25%".parse().unwrap(),
            blue: side("v1", 301, 3_456, 0),
            green: side("v2", 99, 345, 7),
            alarm: AlarmState::Ok,
            gate: Some("pass".to_owned()),
            shift_errors: 0,
        }
    }

    #[test]
    fn a_service_that_is_not_there_has_no_status() {
        let report = LoadReport::default();
        let seen = Seen {
            at_ms: 0,
            act: 1,
            title: "",
            rollout: None,
            gate: None,
            report: &report,
            pace: (0, 0),
        };
        assert_eq!(Status::of(&View::default(), &"shop".parse().unwrap(), &seen), None);
    }
}
