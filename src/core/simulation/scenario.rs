//! What is simulated: a service's rollout, its traffic, and what is wrong with green.

use crate::core::analysis::comparison::{Chance, Metric};
use crate::core::analysis::{Answer, AnswerKind, Arrival, Trial};
use crate::core::model::{
    AnalysisTerms, FinalBake, Policies, RolloutId, Salt, ServiceName, ServiceSpec, Side, Span,
    Step, Strategy, StrategyName, TargetGroupName, WallTime,
};
use crate::core::rollout::{Actor, Assignment, Spec};

use super::judging::Judging;
use super::{FailureShare, Slowdown, Traffic};

/// More is asked for than is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{runs} runs of {requests} requests each are more than {limit} requests in all")]
pub struct TooMuch {
    /// How many runs were asked for.
    pub runs: u64,
    /// How many requests each has.
    pub requests: u64,
    /// How many there may be in all.
    pub limit: u64,
}

/// A rollout to be simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Whose rollout.
    pub service: ServiceName,
    /// The service's groups, blue first.
    pub groups: [TargetGroupName; 2],
    /// The strategy's name.
    pub strategy: StrategyName,
    /// Its steps.
    pub steps: Vec<Step>,
    /// The bake after them.
    pub final_bake: FinalBake,
    /// How it is bounded.
    pub policies: Policies,
    /// How it is judged.
    pub judging: Judging,
    /// The requests on both sides together.
    pub traffic: Traffic,
    /// How many of blue's requests fail, and of green's while nothing is wrong with it.
    pub blue_errors: FailureShare,
    /// How many of green's requests fail when something is wrong with it.
    pub green_errors: FailureShare,
    /// The median time to an answer.
    pub latency: Span,
    /// How much longer green takes when something is wrong with it.
    pub green_latency: Slowdown,
    /// When something begins to be wrong with green.
    pub starts_after: Span,
    /// How many targets green has; at least 1.
    pub green_targets: usize,
    /// How many users there are in a sticky service; `None` in one that draws for each request.
    pub users: Option<u32>,
}

impl Scenario {
    /// The most requests of all runs together.
    pub const MOST_REQUESTS: u64 = 2_000_000_000;
    /// The usual share of requests that fail: 0.1 %.
    pub const USUAL_ERRORS: FailureShare = FailureShare::from_bp(10);
    /// The usual median time to an answer.
    pub const USUAL_LATENCY: Span = Span::from_ms(50);
    /// How many users a sticky service has, if nobody says so.
    pub const USUAL_USERS: u32 = 10_000;

    /// A rollout of a service by a strategy, with a green that is as good as blue.
    #[must_use]
    pub fn new(service: &ServiceSpec, strategy: &Strategy, traffic: Traffic) -> Self {
        Self {
            service: service.name.clone(),
            groups: service.target_groups.clone(),
            strategy: strategy.name().clone(),
            steps: strategy.steps().to_vec(),
            final_bake: strategy.final_bake().unwrap_or(service.policies.final_bake),
            policies: service.policies,
            judging: Judging::of(service),
            traffic,
            blue_errors: Self::USUAL_ERRORS,
            green_errors: Self::USUAL_ERRORS,
            latency: Self::USUAL_LATENCY,
            green_latency: Slowdown::default(),
            starts_after: Span::ZERO,
            green_targets: 1,
            users: service.stickiness.as_ref().map(|_| Self::USUAL_USERS),
        }
    }

    /// How long the rollout takes if nothing holds it.
    #[must_use]
    pub fn planned(&self) -> Span {
        let bakes = self.steps.iter().map(|step| match step {
            Step::Shift(shift) => shift.bake,
            Step::Approval(_) => Span::ZERO,
        });
        bakes.fold(self.final_bake.length, Span::saturating_add)
    }

    /// When a simulation ends whose rollout does not: twice the planned time and ten minutes.
    pub(super) fn limit(&self) -> Span {
        let planned = self.planned();
        planned.saturating_add(planned).saturating_add(Span::from_mins(10))
    }

    /// Whether so many runs may be simulated.
    ///
    /// # Errors
    /// If they would have more than [`Scenario::MOST_REQUESTS`] requests as planned.
    pub fn permits(&self, runs: u64) -> Result<(), TooMuch> {
        let requests = self.traffic.in_ms(self.planned().ms());
        let limit = Self::MOST_REQUESTS;
        let fits = requests.checked_mul(runs).is_some_and(|all| all <= limit);
        if fits { Ok(()) } else { Err(TooMuch { runs, requests, limit }) }
    }

    /// Whether what is wrong with green is within the tolerance: to roll it back is false then.
    #[must_use]
    pub fn is_tolerated(&self) -> bool {
        let margins = self.judging.rules.margins.of(Metric::Errors);
        let allowed = margins.rho0() * self.blue_errors.probability() + margins.delta();
        let errors = self.green_errors.probability() <= allowed + f64::EPSILON;
        errors && self.green_latency <= TOLERATED
    }

    /// The traffic as the analysis tries it; the steps are the rollout's matter.
    pub(super) fn trial(&self) -> Trial {
        Trial {
            rules: self.judging.rules,
            rate: self.traffic.per_second(),
            steps: Vec::new(),
            green_targets: self.green_targets,
            guard: self.judging.guard,
            known_before: KNOWN_BEFORE,
            users: self.users,
        }
    }

    /// The rollout as it is created.
    pub(super) fn spec(&self) -> Spec {
        let [blue, green] = self.groups.clone();
        Spec {
            id: RolloutId::from_draw(1),
            rollback_id: RolloutId::from_draw(2),
            service: self.service.clone(),
            blue,
            green,
            blue_revision: None,
            green_revision: "simulated".parse().expect("a word is a revision"),
            strategy: self.strategy.clone(),
            steps: self.steps.clone(),
            final_bake: self.final_bake,
            gates: Vec::new(),
            alarms: Vec::new(),
            policies: self.policies,
            salt: Salt::default(),
            analysis: AnalysisTerms::default(),
            description: String::new(),
            created: WallTime::from_ms(0),
            created_by: Actor::tidegate(),
            assignment: Assignment::default(),
        }
    }

    /// What becomes of a request.
    pub(super) fn answer(&self, chance: &mut Chance, arrival: Arrival) -> Answer {
        let on_green = arrival.side == Side::Green;
        let is_wrong = on_green && arrival.at_us / 1_000 >= self.starts_after.ms();
        let (failing, factor) = if is_wrong {
            (self.green_errors, self.green_latency.factor())
        } else {
            (self.blue_errors, 1.0)
        };
        let failed = chance.yes(failing.probability());
        let kind = if failed { AnswerKind::Error } else { AnswerKind::Ok };
        let median_us = 1_000.0 * self.latency.ms() as f64 * factor;
        let after_us = chance.log_normal(median_us, SHAPE) as u64;
        let targets = self.green_targets.max(1) as u64;
        let target = on_green.then(|| (chance.bits() % targets) as usize);
        Answer { after_us, kind, target }
    }
}

/// The shape of the log-normal distribution of latencies: one answer in 100 takes more than six
/// times the median.
const SHAPE: f64 = 0.8;
/// How many of blue's latencies are known when the rollout begins.
const KNOWN_BEFORE: usize = 2_000;
/// The slowdown that the latency metrics tolerate (section 6.1).
const TOLERATED: Slowdown = Slowdown::from_percent(10);
