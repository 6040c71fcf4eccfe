//! One simulated rollout: the real comparison and the real machine on one virtual clock.

use serde::Serialize;

use crate::core::analysis::comparison::{Calendar, Chance};
use crate::core::analysis::verdict::Verdict;
use crate::core::analysis::{AnswerKind, Arrival, Trial, TrialRun};
use crate::core::model::{Side, Span, Weight};
use crate::core::rollout::{Evidence, StateName};

use super::minute::{Minute, Minutes, SideCount};
use super::objective::{Broken, ObjectiveWatch};
use super::release::Release;
use super::scenario::Scenario;

/// How the comparison spoke against green.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Caught {
    /// When, in milliseconds since the start of the rollout.
    pub at_ms: u64,
    /// Green's weight then.
    pub weight: Weight,
    /// In which respect, with the numbers of the step.
    pub reason: String,
}

/// What became of a simulated rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulated {
    /// Minute by minute.
    pub minutes: Vec<Minute>,
    /// The state that the rollout is in at the end.
    pub state: StateName,
    /// Why it was taken back; `None` if it was not.
    pub cause: Option<String>,
    /// What holds it at the end.
    pub holds: Vec<String>,
    /// How the comparison spoke against green; `None` if it did not.
    pub caught: Option<Caught>,
    /// How long it lasted, in milliseconds.
    pub lasted_ms: u64,
    /// Green's requests.
    pub green: SideCount,
    /// Blue's requests.
    pub blue: SideCount,
}

impl Scenario {
    /// Simulates the rollout once; the same seed gives the same result.
    #[must_use]
    pub fn simulate(&self, seed: u64) -> Simulated {
        let trial = self.trial();
        let mut simulation = Simulation::start(self, &trial, seed);
        while !simulation.is_over() {
            simulation.second();
        }
        simulation.finish()
    }
}

/// A simulation under way.
#[derive(Debug)]
struct Simulation<'a> {
    scenario: &'a Scenario,
    trial: &'a Trial,
    run: TrialRun<'a>,
    release: Release,
    minutes: Minutes,
    seed: u64,
    chance: Chance,
    at_us: u64,
    /// When the next request arrives.
    arrival_us: u64,
    green: SideCount,
    blue: SideCount,
    /// `None` without an objective.
    objective: Option<ObjectiveWatch>,
}

impl<'a> Simulation<'a> {
    fn start(scenario: &'a Scenario, trial: &'a Trial, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut run = trial.start();
        for _ in 0..trial.known_before {
            let before = Arrival { at_us: 0, side: Side::Blue, user: None };
            run.remember(&scenario.answer(&mut chance, before));
        }
        let mut release = Release::start(scenario.spec());
        release.look(Span::ZERO, 0, Evidence::Unavailable, Broken::default());
        Self {
            scenario,
            trial,
            run,
            release,
            minutes: Minutes::default(),
            seed,
            chance,
            at_us: 0,
            arrival_us: 0,
            green: SideCount::default(),
            blue: SideCount::default(),
            objective: ObjectiveWatch::of(scenario),
        }
    }

    fn is_caught(&self) -> bool {
        self.run.report().rolled_back_us.is_some()
    }

    fn is_over(&self) -> bool {
        self.is_caught()
            || self.release.is_over()
            || self.at_us >= 1_000 * self.scenario.limit().ms()
    }

    /// A second of traffic, and the look at its end; less if the comparison speaks against green.
    fn second(&mut self) {
        for _ in 0..TICKS {
            self.tick();
            if self.is_caught() {
                break;
            }
        }
        self.at_us = self.run.report().rolled_back_us.unwrap_or(self.at_us);
        let at = Span::from_ms(self.at_us / 1_000);
        let verdict = self.run.comparator().verdict();
        let counts = (self.green, self.blue);
        let comparator = self.run.comparator();
        let watch = self.objective.as_mut();
        let broken = watch.map(|watch| watch.look(at, counts, comparator)).unwrap_or_default();
        self.release.look(at, self.green.requests, evidence(&verdict), broken);
        if self.is_caught() || at.ms().is_multiple_of(Minutes::POINT_MS) {
            let points = self.run.comparator().points().map(|point| point.total);
            let boundary = self.scenario.judging.rules.alpha.boundary();
            self.minutes.mark(points.fold(0.0, f64::max), boundary);
        }
        if at.ms().is_multiple_of(MINUTE_MS) && !self.is_caught() {
            self.minutes.close(verdict.to_string());
        }
    }

    fn tick(&mut self) {
        let (step, weight) = (self.release.rollout().step(), self.release.rollout().weight());
        self.run.tick(self.at_us, step.into(), weight);
        if self.is_caught() {
            return;
        }
        self.minutes.weigh(weight);
        let until = self.at_us + TICK_US;
        let w = weight.share();
        while self.arrival_us < until {
            self.run.settle_until(self.arrival_us);
            if self.is_caught() {
                return;
            }
            let arrival = self.trial.flip(self.seed, &mut self.chance, self.arrival_us, w);
            let answer = self.scenario.answer(&mut self.chance, arrival);
            self.count(arrival.side, answer.kind);
            self.run.arrive(arrival, answer);
            self.arrival_us += self.chance.exponential(1e6 / self.trial.rate) as u64 + 1;
        }
        self.run.settle_until(until);
        self.at_us = until;
    }

    fn count(&mut self, side: Side, kind: AnswerKind) {
        let failed = match kind {
            AnswerKind::Error | AnswerKind::ClientGone => true,
            AnswerKind::Ok | AnswerKind::ClientError => false,
        };
        let count = match side {
            Side::Green => &mut self.green,
            Side::Blue => &mut self.blue,
        };
        count.requests += 1;
        count.failed += u64::from(failed);
        self.minutes.count(side, failed);
    }

    fn finish(mut self) -> Simulated {
        let verdict = self.run.comparator().verdict();
        if self.minutes.is_begun() {
            self.minutes.close(verdict.to_string());
        }
        let rollout = self.release.rollout();
        let caught = self.run.comparator().crossed().and(match &verdict {
            Verdict::Fail(failure) => Some(failure.to_string()),
            Verdict::Pass
            | Verdict::Insufficient { .. }
            | Verdict::Unavailable { .. }
            | Verdict::NoComparison { .. } => None,
        });
        let weight = self.run.comparator().newest().map_or(Weight::ZERO, |newest| newest.weight);
        let ending = rollout.state().ending();
        Simulated {
            state: rollout.state().name(),
            cause: ending.and_then(|ending| ending.cause.as_ref()).map(ToString::to_string),
            holds: rollout.holds().iter().map(ToString::to_string).collect(),
            caught: caught.map(|reason| Caught { at_ms: self.at_us / 1_000, weight, reason }),
            lasted_ms: self.at_us / 1_000,
            green: self.green,
            blue: self.blue,
            minutes: self.minutes.finish(),
        }
    }
}

/// The verdict as the machine hears it.
fn evidence(verdict: &Verdict) -> Evidence {
    match verdict {
        Verdict::Fail(failure) => Evidence::Against { reason: failure.to_string() },
        Verdict::Pass => Evidence::Pass,
        Verdict::Insufficient { missing } => Evidence::Insufficient { missing: missing.green() },
        Verdict::Unavailable { .. } | Verdict::NoComparison { .. } => Evidence::Unavailable,
    }
}

/// How many ticks there are between two looks.
const TICKS: u64 = 10;
const TICK_US: u64 = 1_000 * Calendar::COHORT.ms();
const MINUTE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::comparison::AbsoluteRule;
    use crate::core::model::Objective;
    use crate::core::simulation::testkit::scenario;

    #[test]
    fn a_green_that_fails_is_caught_at_the_first_step() {
        let mut scenario = scenario();
        scenario.green_errors = "20%".parse().expect("a share");
        let found = scenario.simulate(1);
        let caught = found.caught.as_ref().expect("caught");
        assert_eq!(found.state, StateName::RolledBack, "{found:?}");
        assert!(caught.at_ms < 30_000, "{caught:?}");
        assert_eq!(caught.weight.bp(), 1_000);
        assert!(found.green.failed >= 5 && found.green.failed < 100, "{found:?}");
        let last = found.minutes.last().expect("a minute");
        assert_eq!(last.evidence.last(), Some(&100));
        assert!(last.verdict.contains(" green requests bad"), "{last:?}");
    }

    #[test]
    fn a_healthy_green_goes_all_the_way_in_the_planned_time() {
        let found = scenario().simulate(1);
        assert_eq!((found.state, &found.caught), (StateName::Succeeded, &None), "{found:?}");
        assert!(found.lasted_ms >= 90_000 && found.lasted_ms <= 95_000, "{}", found.lasted_ms);
        let bps: Vec<u16> =
            found.minutes.iter().flat_map(|minute| &minute.weights).map(|w| w.bp()).collect();
        assert_eq!(bps, [1_000, 5_000, 10_000], "{found:?}");
        let minutes = found.minutes.iter().map(|minute| minute.green.requests);
        assert_eq!(minutes.sum::<u64>(), found.green.requests);
    }

    #[test]
    fn trouble_that_begins_later_is_caught_later() {
        let mut scenario = scenario();
        scenario.green_errors = "100%".parse().expect("a share");
        scenario.starts_after = Span::from_secs(20);
        let caught = scenario.simulate(1).caught.expect("caught");
        assert!(caught.at_ms >= 20_000 && caught.at_ms < 30_000, "{caught:?}");
    }

    #[test]
    fn a_policy_that_freezes_holds_what_was_caught() {
        let mut scenario = scenario();
        scenario.green_errors = "100%".parse().expect("a share");
        scenario.policies.on_regression = crate::core::model::OnRegression::Freeze;
        let found = scenario.simulate(1);
        assert_eq!(found.state, StateName::Shifting);
        assert!(found.caught.is_some() && !found.holds.is_empty(), "{found:?}");
    }

    #[test]
    fn samples_that_never_come_hold_it_to_the_end_of_the_simulation() {
        let mut scenario = scenario();
        scenario.traffic = "1rps".parse().expect("traffic");
        if let crate::core::model::Step::Shift(shift) = &mut scenario.steps[0] {
            shift.samples = Some(1_000_000);
        }
        let found = scenario.simulate(1);
        assert_eq!(found.state, StateName::Shifting);
        assert_eq!(found.lasted_ms, scenario.limit().ms());
        assert!(found.holds[0].contains("more green requests"), "{:?}", found.holds);
    }

    /// A scenario whose service has an objective.
    fn with_objective(green_errors: &str) -> Scenario {
        let mut scenario = scenario();
        let slo: Objective = "99.9%".parse().expect("an objective");
        scenario.judging.slo = Some(slo);
        scenario.judging.rules.absolute = Some(AbsoluteRule::for_objective(slo.share()));
        scenario.blue_errors = "0.05%".parse().expect("a share");
        scenario.green_errors = green_errors.parse().expect("a share");
        scenario
    }

    #[test]
    fn a_green_that_begins_to_fail_with_all_the_traffic_is_taken_back_by_the_objective() {
        let mut scenario = with_objective("5%");
        // In the final bake, where there is nothing to compare with.
        scenario.starts_after = Span::from_secs(65);
        let found = scenario.simulate(1);
        assert_eq!((found.state, &found.caught), (StateName::RolledBack, &None), "{found:?}");
        let cause = found.cause.expect("a cause");
        assert!(cause.contains("nobody to compare it with"), "{cause}");
        scenario.judging.slo = None;
        assert_eq!(scenario.simulate(1).state, StateName::Succeeded, "nobody else sees it");
    }

    #[test]
    fn a_burn_rate_that_pages_holds_where_both_sides_fail_and_a_ticket_holds_nothing() {
        // Without the absolute process, so that the burn rate alone decides.
        let holds = |errors: &str| {
            let mut scenario = with_objective(errors);
            scenario.judging.rules.absolute = None;
            scenario.blue_errors = errors.parse().expect("a share");
            let found = scenario.simulate(1);
            (found.state, found.holds.iter().any(|hold| hold.contains("shared degradation")))
        };
        assert_eq!(holds("3%"), (StateName::Shifting, true), "30 times what is permitted");
        assert_eq!(holds("0.2%").0, StateName::Succeeded, "twice that is a ticket");
    }

    #[test]
    fn the_same_seed_gives_the_same_result() {
        let scenario = scenario();
        assert_eq!(scenario.simulate(7), scenario.simulate(7));
        assert_ne!(scenario.simulate(7).green, scenario.simulate(8).green);
    }
}
