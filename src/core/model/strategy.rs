//! Strategies: how a rollout moves from 0 to 100 %.
//!
//! Every strategy, whatever its form in the file, is a list of steps. A list that does not end at
//! 100 % gets that last step by itself. The predefined ones carry CodeDeploy's names and values
//! (AWS CodeDeploy user guide, "Predefined deployment configurations").

use serde::{Deserialize, Serialize};

use super::{Span, StrategyName, Weight};

/// The reason why a list of steps is not a strategy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// A step at 0 %.
    #[error("a step's weight is above 0%")]
    ZeroWeight,
    /// Weights must grow.
    #[error("weights grow from step to step: {next} follows {before}")]
    NotGrowing {
        /// The step before.
        before: Weight,
        /// The offending step.
        next: Weight,
    },
    /// Too many steps.
    #[error("a strategy has at most {limit} steps, this one has {count}")]
    TooManySteps {
        /// The largest permitted number.
        limit: usize,
        /// The number found.
        count: usize,
    },
    /// An approval that nothing follows.
    #[error(
        "an approval stands before the step that it guards: after 100% there is nothing to approve"
    )]
    ApprovalAtTheEnd,
    /// A final bake that keeps everything or nothing.
    #[error("keep_blue is above 0% and below 100%, found {found}")]
    KeepBlue {
        /// What was written.
        found: Weight,
    },
}

/// One planned weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Green's weight.
    pub weight: Weight,
    /// Watched time at that weight.
    pub bake: Span,
    /// How many scored green requests the step asks for; `None` asks for nothing.
    pub samples: Option<u64>,
    /// Whether the step asks for the comparison's certificate.
    pub evidence_pass: bool,
    /// Whether the step is over as soon as the certificate is there, before its time.
    #[serde(default)]
    pub promote_early: bool,
}

impl Shift {
    /// A step that asks for nothing but time.
    #[must_use]
    pub const fn timed(weight: Weight, bake: Span) -> Self {
        Self { weight, bake, samples: None, evidence_pass: false, promote_early: false }
    }
}

/// What happens when nobody approved in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnApprovalTimeout {
    /// The rollout is rolled back.
    #[default]
    Rollback,
    /// It ends where it is.
    Stop,
    /// It goes on.
    Continue,
}

/// A person's yes that a rollout waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// How long it waits, by the wall clock.
    pub timeout: Span,
    /// What happens then.
    pub on_timeout: OnApprovalTimeout,
}

/// One item of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Move and bake.
    Shift(Shift),
    /// Wait for a person before the next one.
    Approval(Approval),
}

/// The bake after the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalBake {
    /// Its length.
    #[serde(rename = "for")]
    pub length: Span,
    /// Blue's share while it lasts; `None` gives green everything. Green gets the rest with success.
    pub keep_blue: Option<Weight>,
}

/// A named way from 0 to 100 %.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Strategy {
    name: StrategyName,
    steps: Vec<Step>,
    final_bake: Option<FinalBake>,
}

impl Strategy {
    /// The most steps a strategy may have.
    pub const LIMIT: usize = 1_000;

    /// Makes a strategy; a list that does not end at 100 % gets that step.
    ///
    /// # Errors
    /// Weights that do not grow, a zero weight, too many steps, an approval after the last step,
    /// a final bake that keeps 0 % or 100 % of blue.
    pub fn new(
        name: StrategyName,
        mut steps: Vec<Step>,
        final_bake: Option<FinalBake>,
    ) -> Result<Self, StrategyError> {
        let mut last = Weight::ZERO;
        for shift in shifts(&steps) {
            if shift.weight == Weight::ZERO {
                return Err(StrategyError::ZeroWeight);
            }
            if shift.weight <= last {
                return Err(StrategyError::NotGrowing { before: last, next: shift.weight });
            }
            last = shift.weight;
        }
        if last < Weight::FULL {
            steps.push(Step::Shift(Shift::timed(Weight::FULL, Span::ZERO)));
        }
        if matches!(steps.last(), Some(Step::Approval(_))) {
            return Err(StrategyError::ApprovalAtTheEnd);
        }
        if steps.len() > Self::LIMIT {
            return Err(StrategyError::TooManySteps { limit: Self::LIMIT, count: steps.len() });
        }
        if let Some(found) = final_bake.and_then(|bake| bake.keep_blue)
            && (found == Weight::ZERO || found == Weight::FULL)
        {
            return Err(StrategyError::KeepBlue { found });
        }
        Ok(Self { name, steps, final_bake })
    }

    /// Everything at once.
    #[must_use]
    pub fn all_at_once(name: StrategyName) -> Self {
        let steps = vec![Step::Shift(Shift::timed(Weight::FULL, Span::ZERO))];
        Self { name, steps, final_bake: None }
    }

    /// One small step, then everything.
    ///
    /// # Errors
    /// A weight of zero.
    pub fn canary(name: StrategyName, weight: Weight, bake: Span) -> Result<Self, StrategyError> {
        Self::new(name, vec![Step::Shift(Shift::timed(weight, bake))], None)
    }

    /// Equal steps at equal intervals, the first at once, clamped at 100 %.
    ///
    /// # Errors
    /// A weight of zero, or so small that the limit of steps is passed.
    pub fn linear(name: StrategyName, by: Weight, every: Span) -> Result<Self, StrategyError> {
        if by == Weight::ZERO {
            return Err(StrategyError::ZeroWeight);
        }
        let mut steps = Vec::new();
        let mut weight = by;
        while weight < Weight::FULL {
            steps.push(Step::Shift(Shift::timed(weight, every)));
            weight = weight.saturating_add(by);
        }
        Self::new(name, steps, None)
    }

    /// The strategy that CodeDeploy predefines under a name.
    #[must_use]
    pub fn predefined(name: &StrategyName) -> Option<Self> {
        let short = name.as_str().strip_prefix("CodeDeployDefault.")?;
        let short = short.strip_prefix("ECS").or_else(|| short.strip_prefix("Lambda"));
        let form = short.unwrap_or_default();
        let ten = Weight::from_bp(1_000).expect("10% is a weight");
        if !Self::predefined_names().any(|known| known == name.as_str()) {
            return None;
        }
        if let Some(minutes) = form.strip_prefix("Canary10Percent") {
            Self::canary(name.clone(), ten, leading_minutes(minutes)).ok()
        } else if let Some(minutes) = form.strip_prefix("Linear10PercentEvery") {
            Self::linear(name.clone(), ten, leading_minutes(minutes)).ok()
        } else {
            Some(Self::all_at_once(name.clone()))
        }
    }

    /// Every predefined name.
    pub fn predefined_names() -> impl Iterator<Item = &'static str> {
        PREDEFINED.into_iter()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &StrategyName {
        &self.name
    }

    /// Its steps; the last is always a shift to 100 %.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Its final bake; `None` leaves that to the service.
    #[must_use]
    pub fn final_bake(&self) -> Option<FinalBake> {
        self.final_bake
    }
}

fn shifts(steps: &[Step]) -> impl Iterator<Item = Shift> + '_ {
    steps.iter().filter_map(|step| match step {
        Step::Shift(shift) => Some(*shift),
        Step::Approval(_) => None,
    })
}

fn leading_minutes(text: &str) -> Span {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    Span::from_mins(digits.parse().unwrap_or(0))
}

const PREDEFINED: [&str; 14] = [
    "CodeDeployDefault.ECSAllAtOnce",
    "CodeDeployDefault.ECSCanary10Percent5Minutes",
    "CodeDeployDefault.ECSCanary10Percent15Minutes",
    "CodeDeployDefault.ECSLinear10PercentEvery1Minutes",
    "CodeDeployDefault.ECSLinear10PercentEvery3Minutes",
    "CodeDeployDefault.LambdaAllAtOnce",
    "CodeDeployDefault.LambdaCanary10Percent5Minutes",
    "CodeDeployDefault.LambdaCanary10Percent10Minutes",
    "CodeDeployDefault.LambdaCanary10Percent15Minutes",
    "CodeDeployDefault.LambdaCanary10Percent30Minutes",
    "CodeDeployDefault.LambdaLinear10PercentEvery1Minute",
    "CodeDeployDefault.LambdaLinear10PercentEvery2Minutes",
    "CodeDeployDefault.LambdaLinear10PercentEvery3Minutes",
    "CodeDeployDefault.LambdaLinear10PercentEvery10Minutes",
];

/// What the end of a deadline does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineAction {
    /// Takes the traffic back; `failed` where there was none yet.
    Rollback,
    /// Ends the rollout where it is.
    Stop,
    /// The same as a rollback before there was traffic; the word for it there.
    Fail,
}

/// A bound on the time in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// How long.
    pub after: Span,
    /// What happens then.
    pub action: DeadlineAction,
}

/// The deadlines of a rollout: nothing stays in progress for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// In `created`.
    pub created: Deadline,
    /// In `installing`.
    pub installing: Deadline,
    /// In `testing`.
    pub testing: Deadline,
    /// In `ready`.
    pub ready: Deadline,
    /// Beyond a step's or final bake's own time; paused time counts.
    pub hold: Deadline,
    /// From creation to the end.
    pub whole: Deadline,
}

impl Default for Deadlines {
    fn default() -> Self {
        let fail = |after| Deadline { after, action: DeadlineAction::Fail };
        let rollback = |after| Deadline { after, action: DeadlineAction::Rollback };
        Self {
            created: fail(Span::from_mins(1)),
            installing: fail(Span::from_mins(30)),
            testing: fail(Span::from_hours(1)),
            ready: fail(Span::from_hours(24)),
            hold: rollback(Span::from_hours(24)),
            whole: rollback(Span::from_hours(7 * 24)),
        }
    }
}

/// What happens when a step's bake is over and the samples or evidence it asked for are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissingEvidence {
    /// The rollout waits for them.
    #[default]
    Hold,
    /// It goes on without.
    Promote,
    /// It is rolled back.
    Rollback,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StrategyName {
        text.parse().expect("valid")
    }

    fn weights(strategy: &Strategy) -> Vec<u16> {
        shifts(strategy.steps()).map(|shift| shift.weight.bp()).collect()
    }

    #[test]
    fn every_predefined_name_has_codedeploys_values() {
        for text in Strategy::predefined_names() {
            assert!(Strategy::predefined(&name(text)).is_some(), "{text}");
        }
        let check = |text: &str, count: usize, first: u16, minutes: u64| {
            let strategy = Strategy::predefined(&name(text)).expect("predefined");
            let all: Vec<_> = shifts(strategy.steps()).collect();
            assert_eq!(all.len(), count, "{text}");
            assert_eq!(all[0].weight.bp(), first, "{text}");
            assert_eq!(all[0].bake, Span::from_mins(minutes), "{text}");
            assert_eq!(all[count - 1].weight, Weight::FULL, "{text}");
        };
        check("CodeDeployDefault.ECSAllAtOnce", 1, 10_000, 0);
        check("CodeDeployDefault.ECSCanary10Percent15Minutes", 2, 1_000, 15);
        check("CodeDeployDefault.ECSLinear10PercentEvery3Minutes", 10, 1_000, 3);
        check("CodeDeployDefault.LambdaLinear10PercentEvery1Minute", 10, 1_000, 1);
        assert!(Strategy::predefined(&name("CodeDeployDefault.ECSCanary11Percent")).is_none());
        assert!(Strategy::predefined(&name("careful")).is_none());
    }

    #[test]
    fn linear_is_clamped_at_the_whole() {
        let thirty = Weight::from_bp(3_000).expect("valid");
        let strategy = Strategy::linear(name("l"), thirty, Span::from_secs(1)).expect("valid");
        assert_eq!(weights(&strategy), [3_000, 6_000, 9_000, 10_000]);
    }

    #[test]
    fn weights_must_grow_and_approvals_must_guard_something() {
        let shift = |bp| Step::Shift(Shift::timed(Weight::from_bp(bp).expect("valid"), Span::ZERO));
        let approval = Step::Approval(Approval {
            timeout: Span::from_hours(1),
            on_timeout: OnApprovalTimeout::Rollback,
        });
        assert!(Strategy::new(name("x"), vec![shift(2), shift(1)], None).is_err());
        assert!(Strategy::new(name("x"), vec![shift(0)], None).is_err());
        assert!(Strategy::new(name("x"), vec![shift(10_000), approval], None).is_err());
        let fine = Strategy::new(name("x"), vec![shift(1), approval], None).expect("valid");
        assert_eq!(weights(&fine), [1, 10_000]);
    }
}
