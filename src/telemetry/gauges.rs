//! What is exposed besides the recorder's counts: weights, health, rollouts, alarms, gates.
//!
//! Plain values, filled in at each scrape by whoever knows them. Labels that are one of a few words
//! are `&'static str`, so that no request or API call can invent a series.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::core::model::{
    AlarmName, AlarmState, GateName, Revision, ServiceName, Side, Span, TargetGroupName,
    TargetHealth, Weight,
};

use super::family::{counter, family, gauge};
use super::gate_gauges::GateGauges;
use super::lateness::LatenessGauge;

/// The states of a rollout: the values of the label `state`.
pub const ROLLOUT_STATES: [&str; 10] = [
    "created",
    "installing",
    "testing",
    "ready",
    "shifting",
    "baking",
    "succeeded",
    "rolled_back",
    "stopped",
    "failed",
];

/// Everything that is exposed and not counted by the recorder.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// The routing table's generation.
    pub generation: u64,
    /// Every service.
    pub services: Vec<ServiceGauges>,
    /// Every target of every service.
    pub targets: Vec<TargetGauge>,
    /// Every alarm.
    pub alarms: Vec<AlarmGauge>,
    /// Calls of gates by verdict.
    pub gate_calls: Vec<GateCallsGauge>,
    /// How long the writer has not come round; it does so ten times a second.
    pub writer_silent: Span,
    /// Ejections of targets by group and reason.
    pub ejections: Vec<EjectionsGauge>,
    /// How fast services with an objective use up what it permits.
    pub burn_rates: Vec<BurnRateGauge>,
    /// What the calls of gates came to besides their verdicts.
    pub gates: GateGauges,
    /// How late the writer came round.
    pub tick_lateness: LatenessGauge,
}

/// A service's weights and rollouts.
#[derive(Clone, Debug)]
pub struct ServiceGauges {
    /// The service.
    pub service: ServiceName,
    /// Green's weight by the last decision.
    pub configured: Weight,
    /// Green's weight in the table that requests load now.
    pub in_force: Weight,
    /// Green's share of the last minute's requests, 0..=1; `None` without requests.
    pub observed: Option<f64>,
    /// The state of the present or last rollout, one of [`ROLLOUT_STATES`]; `None` before the
    /// first.
    pub rollout_state: Option<&'static str>,
    /// How many rollouts ended in which terminal state.
    pub rollouts: Vec<(&'static str, u64)>,
    /// Requests that failed on green and were seen by a user, over all rollouts.
    pub leaked: u64,
    /// What each side runs; a side of which no revision is known is left out.
    pub revisions: Vec<RevisionGauge>,
    /// What the requests to green came to, over all rollouts.
    pub green: GreenTotals,
}

/// What the requests to green came to in the rollouts of a service, since the process started.
#[derive(Clone, Copy, Debug, Default)]
pub struct GreenTotals {
    /// Requests that were given to green.
    pub requests: u64,
    /// Those that failed there.
    pub failed: u64,
    /// Those of them that no user saw.
    pub rescued: u64,
    /// Requests that green was sent after the verdict against it fell.
    pub sent_after_verdict: u64,
}

/// What a side runs.
#[derive(Clone, Debug)]
pub struct RevisionGauge {
    /// The side.
    pub side: Side,
    /// The group that has the role.
    pub target_group: TargetGroupName,
    /// Its revision.
    pub revision: Revision,
}

/// A target's health.
#[derive(Clone, Debug)]
pub struct TargetGauge {
    /// The service.
    pub service: ServiceName,
    /// The target's group.
    pub target_group: TargetGroupName,
    /// The target as written, with its address where that is another.
    pub target: String,
    /// Its health; a target that was not checked yet is exposed as not healthy.
    pub health: TargetHealth,
    /// Whether it is ejected; an ejected target is exposed with the health of its checks.
    pub ejected: bool,
}

/// How often targets of a group were ejected.
#[derive(Clone, Debug)]
pub struct EjectionsGauge {
    /// The service.
    pub service: ServiceName,
    /// The group.
    pub target_group: TargetGroupName,
    /// Why.
    pub reason: &'static str,
    /// How often since the process started.
    pub ejections: u64,
}

/// How many times as fast as its objective permits a side fails.
#[derive(Clone, Debug)]
pub struct BurnRateGauge {
    /// The service.
    pub service: ServiceName,
    /// The side.
    pub side: Side,
    /// The window: `5m`, `30m`, `1h`, `6h` or `3d`.
    pub window: &'static str,
    /// The rate: 1 uses up exactly what is permitted.
    pub rate: f64,
}

/// An alarm's state.
#[derive(Clone, Debug)]
pub struct AlarmGauge {
    /// The alarm.
    pub alarm: AlarmName,
    /// The service that lists it; `None` if none does.
    pub service: Option<ServiceName>,
    /// What it says about that service.
    pub state: AlarmState,
}

/// How often a gate came to a verdict.
#[derive(Clone, Debug)]
pub struct GateCallsGauge {
    /// The gate.
    pub gate: GateName,
    /// The verdict, or `error`.
    pub verdict: &'static str,
    /// How often.
    pub calls: u64,
}

impl Gauges {
    /// The families, some of them perhaps without samples.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.of_services();
        families.push(family(
            "tidegate_target_healthy",
            "Whether a target is healthy.",
            MetricType::GAUGE,
            self.targets.iter().map(TargetGauge::sample).collect(),
        ));
        families.push(family(
            "tidegate_target_ejected",
            "Whether a target is out of its group for what it made of its requests.",
            MetricType::GAUGE,
            self.targets.iter().map(TargetGauge::ejected_sample).collect(),
        ));
        families.push(family(
            "tidegate_ejections_total",
            "Ejections of targets by group and reason.",
            MetricType::COUNTER,
            self.ejections.iter().map(EjectionsGauge::sample).collect(),
        ));
        families.push(family(
            "tidegate_slo_burn_rate",
            "How many times as fast as its objective permits a side fails.",
            MetricType::GAUGE,
            self.burn_rates.iter().map(BurnRateGauge::sample).collect(),
        ));
        families.push(family(
            "tidegate_alarm_state",
            "An alarm's state: 0 OK, 1 ALARM, -1 INSUFFICIENT_DATA.",
            MetricType::GAUGE,
            self.alarms.iter().map(AlarmGauge::sample).collect(),
        ));
        families.push(family(
            "tidegate_gate_calls_total",
            "Calls of gates by verdict.",
            MetricType::COUNTER,
            self.gate_calls.iter().map(GateCallsGauge::sample).collect(),
        ));
        families.extend(self.gates.families());
        families.push(family(
            "tidegate_generation",
            "The routing table's generation.",
            MetricType::GAUGE,
            vec![gauge(&[], self.generation as f64)],
        ));
        families.push(family(
            "tidegate_writer_silent_seconds",
            "How long the writer has not come round: nothing is decided in that time.",
            MetricType::GAUGE,
            vec![gauge(&[], self.writer_silent.ms() as f64 / 1e3)],
        ));
        families.push(self.tick_lateness.family());
        families
    }

    fn of_services(&self) -> Vec<MetricFamily> {
        let each = |samples: fn(&ServiceGauges) -> Vec<_>| {
            self.services.iter().flat_map(samples).collect::<Vec<_>>()
        };
        vec![
            family(
                "tidegate_weight_ratio",
                "Green's weight: by the last decision, in the table, and of the last minute.",
                MetricType::GAUGE,
                each(ServiceGauges::weights),
            ),
            family(
                "tidegate_rollout_state",
                "1 for the state of a service's present or last rollout, 0 for the others.",
                MetricType::GAUGE,
                each(ServiceGauges::states),
            ),
            family(
                "tidegate_rollouts_total",
                "Ended rollouts by outcome.",
                MetricType::COUNTER,
                each(ServiceGauges::outcomes),
            ),
            family(
                "tidegate_rollout_leaked_requests_total",
                "Requests that failed on green and were seen by a user.",
                MetricType::COUNTER,
                each(|s| vec![counter(&[("service", s.service.as_str())], s.leaked)]),
            ),
            family(
                "tidegate_rollout_green_requests_total",
                "Requests that green was given in rollouts: all, failed there, rescued by a second \
                 attempt, and sent after the verdict against green fell.",
                MetricType::COUNTER,
                each(ServiceGauges::green_requests),
            ),
            family(
                "tidegate_service_revision_info",
                "What each side of a service runs.",
                MetricType::GAUGE,
                each(ServiceGauges::revisions),
            ),
        ]
    }
}

impl ServiceGauges {
    fn green_requests(&self) -> Vec<Metric> {
        let GreenTotals { requests, failed, rescued, sent_after_verdict } = self.green;
        let count = |what: &str, count: u64| {
            counter(&[("service", self.service.as_str()), ("what", what)], count)
        };
        vec![
            count("all", requests),
            count("failed", failed),
            count("rescued", rescued),
            count("sent_after_verdict", sent_after_verdict),
        ]
    }

    fn weights(&self) -> Vec<Metric> {
        [
            ("configured", Some(self.configured.share())),
            ("in_force", Some(self.in_force.share())),
            ("observed", self.observed),
        ]
        .into_iter()
        .filter_map(|(what, value)| {
            let labels = [("service", self.service.as_str()), ("what", what)];
            value.map(|value| gauge(&labels, value))
        })
        .collect()
    }

    fn states(&self) -> Vec<Metric> {
        ROLLOUT_STATES
            .iter()
            .map(|state| {
                let labels = [("service", self.service.as_str()), ("state", state)];
                gauge(&labels, flag(self.rollout_state == Some(state)))
            })
            .collect()
    }

    fn outcomes(&self) -> Vec<Metric> {
        self.rollouts
            .iter()
            .map(|(outcome, count)| {
                counter(&[("service", self.service.as_str()), ("outcome", outcome)], *count)
            })
            .collect()
    }

    fn revisions(&self) -> Vec<Metric> {
        self.revisions
            .iter()
            .map(|RevisionGauge { side, target_group, revision }| {
                let labels = [
                    ("service", self.service.as_str()),
                    ("side", side.as_str()),
                    ("target_group", target_group.as_str()),
                    ("revision", revision.as_str()),
                ];
                gauge(&labels, 1.0)
            })
            .collect()
    }
}

impl TargetGauge {
    fn sample(&self) -> Metric {
        self.flagged(self.health == TargetHealth::Healthy)
    }

    fn ejected_sample(&self) -> Metric {
        self.flagged(self.ejected)
    }

    fn flagged(&self, holds: bool) -> Metric {
        let labels = [
            ("service", self.service.as_str()),
            ("target_group", self.target_group.as_str()),
            ("target", self.target.as_str()),
        ];
        gauge(&labels, flag(holds))
    }
}

impl EjectionsGauge {
    fn sample(&self) -> Metric {
        let labels = [
            ("service", self.service.as_str()),
            ("target_group", self.target_group.as_str()),
            ("reason", self.reason),
        ];
        counter(&labels, self.ejections)
    }
}

impl BurnRateGauge {
    fn sample(&self) -> Metric {
        let labels = [
            ("service", self.service.as_str()),
            ("side", self.side.as_str()),
            ("window", self.window),
        ];
        gauge(&labels, self.rate)
    }
}

impl AlarmGauge {
    fn sample(&self) -> Metric {
        let value = match self.state {
            AlarmState::Ok => 0.0,
            AlarmState::Alarm => 1.0,
            AlarmState::InsufficientData => -1.0,
        };
        let service = self.service.as_ref().map_or("", |service| service.as_str());
        gauge(&[("alarm", self.alarm.as_str()), ("service", service)], value)
    }
}

impl GateCallsGauge {
    fn sample(&self) -> Metric {
        counter(&[("gate", self.gate.as_str()), ("verdict", self.verdict)], self.calls)
    }
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
