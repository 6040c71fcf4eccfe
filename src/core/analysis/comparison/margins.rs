//! Margins: how much worse than blue green may be before it counts as worse.
//!
//! Healthy means, at every request and given everything before it,
//! `p_green <= rho0 * p_blue + delta` (section 2). The certificate tests the opposite,
//! `p_green >= rho1 * p_blue + delta1` (section 6.2). A margin that the bets cannot be built for is
//! refused here, so that everything after it may divide and take logarithms (B11, D8).

use super::metric::{METRICS, Metric, PerMetric};

/// The reason why margins cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum MarginsError {
    /// The relative tolerance is not a number above 0.
    #[error("ratio {found} is not above 0")]
    Ratio {
        /// What was given.
        found: f64,
    },
    /// The absolute tolerance is not in 0..1.
    #[error("delta {found} is not at least 0 and below 1")]
    Delta {
        /// What was given.
        found: f64,
    },
    /// The centre is not in 0..1.
    #[error("centre {found} is not at least 0 and below 1")]
    Centre {
        /// What was given.
        found: f64,
    },
    /// The metric's part of the evidence is not in 0..=1.
    #[error("omega {found} is not between 0 and 1")]
    Omega {
        /// What was given.
        found: f64,
    },
    /// The metrics' parts do not sum to 1.
    #[error("the omegas sum to {found}, not to 1")]
    OmegaSum {
        /// Their sum.
        found: f64,
    },
    /// Tolerance and centre together allow every request to be bad: nothing could be shown.
    #[error("ratio times centre plus delta is {found}, not below 1")]
    Vacuous {
        /// Ratio times centre plus delta.
        found: f64,
    },
    /// A level of error that is not in 0..1.
    #[error("level {found} is not above 0 and below 1")]
    Level {
        /// What was given.
        found: f64,
    },
}

/// How much worse green may be in one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    rho0: f64,
    delta: f64,
    centre: f64,
}

impl Margins {
    /// Margins with the relative tolerance `rho0`, the absolute one `delta` (a share of requests,
    /// 0.0005 = 0.05 percentage points) and the centre `m`: 0 for counts of rare events, the share
    /// of blue that is slow by definition for latencies. Validity holds for any; `m` is power.
    ///
    /// # Errors
    /// If a value is out of its range.
    pub fn new(rho0: f64, delta: f64, centre: f64) -> Result<Self, MarginsError> {
        check(rho0, delta, centre)?;
        Ok(Self { rho0, delta, centre })
    }

    /// The relative tolerance.
    #[must_use]
    pub fn rho0(self) -> f64 {
        self.rho0
    }

    /// The absolute tolerance, a share of requests.
    #[must_use]
    pub fn delta(self) -> f64 {
        self.delta
    }

    /// The centre `m`.
    #[must_use]
    pub fn centre(self) -> f64 {
        self.centre
    }

    /// `theta = rho0 * m + delta`: what green is allowed at blue's centre.
    #[must_use]
    pub fn theta(self) -> f64 {
        self.rho0 * self.centre + self.delta
    }
}

/// How much worse green may be, and how the evidence is spread, over all metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginTable {
    margins: PerMetric<Margins>,
    omegas: PerMetric<f64>,
}

impl MarginTable {
    /// Margins and part of the evidence (`omega`) per metric, in the order of [`Metric::ALL`].
    ///
    /// # Errors
    /// If a part is not in 0..=1 or they do not sum to 1 within 1e-9.
    pub fn new(rows: PerMetric<(Margins, f64)>) -> Result<Self, MarginsError> {
        let omegas = rows.map(|(_, omega)| omega);
        if let Some(found) = omegas.iter().copied().find(|omega| !(0.0..=1.0).contains(omega)) {
            return Err(MarginsError::Omega { found });
        }
        let found: f64 = omegas.iter().sum();
        if (found - 1.0).abs() > 1e-9 {
            return Err(MarginsError::OmegaSum { found });
        }
        Ok(Self { margins: rows.map(|(margins, _)| margins), omegas })
    }

    /// The margins of a metric.
    #[must_use]
    pub fn of(&self, metric: Metric) -> Margins {
        self.margins[metric.index()]
    }

    /// The metric's part of the evidence.
    #[must_use]
    pub fn omega(&self, metric: Metric) -> f64 {
        self.omegas[metric.index()]
    }

    /// The parts of the evidence; they sum to 1.
    #[must_use]
    pub fn omegas(&self) -> PerMetric<f64> {
        self.omegas
    }

    /// The same for a sticky service: without absolute tolerance where events are counted, because
    /// there only a unit's first failure is a datum and its good answers are none (section 6.4).
    #[must_use]
    pub fn for_units(self) -> Self {
        let strip = |margins: Margins| {
            if margins.centre > 0.0 { margins } else { Margins { delta: 0.0, ..margins } }
        };
        Self { margins: self.margins.map(strip), ..self }
    }
}

impl Default for MarginTable {
    fn default() -> Self {
        Preset::Default.table()
    }
}

/// Margins with a name (section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Green may be no worse at all.
    Strict,
    /// Errors: 10 % more and 0.05 percentage points; client errors: half more and one point.
    #[default]
    Default,
    /// Everything: at least half more and half a percentage point.
    Lenient,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Default, Self::Lenient];

    /// The word in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Default => "default",
            Self::Lenient => "lenient",
        }
    }

    /// The margins.
    #[must_use]
    pub fn table(self) -> MarginTable {
        let row = |place: usize| {
            let (rho0, delta) = DEFAULTS[place];
            let (rho0, delta) = match self {
                Self::Strict => (1.0, 0.0),
                Self::Default => (rho0, delta),
                Self::Lenient => (rho0.max(1.5), delta.max(0.005)),
            };
            Margins { rho0, delta, centre: CENTRES[place] }
        };
        MarginTable { margins: std::array::from_fn(row), omegas: OMEGAS }
    }
}

const DEFAULTS: [(f64, f64); METRICS] =
    [(1.1, 0.000_5), (1.5, 0.01), (1.0, 0.0), (1.0, 0.0), (1.0, 0.0)];
const CENTRES: PerMetric<f64> = [0.0, 0.0, 0.5, 0.1, 0.01];
const OMEGAS: PerMetric<f64> = [0.6, 0.1, 0.1, 0.1, 0.1];

/// What green must be better than for a certificate, in one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CertificateMargins {
    rho1: f64,
    delta1: f64,
    centre: f64,
}

impl CertificateMargins {
    /// Margins of the hypothesis that a certificate refutes.
    ///
    /// # Errors
    /// If a value is out of its range, or `rho1 * m + delta1` is not below 1 (B11).
    pub fn new(rho1: f64, delta1: f64, centre: f64) -> Result<Self, MarginsError> {
        check(rho1, delta1, centre)?;
        let found = rho1 * centre + delta1;
        if found >= 1.0 {
            return Err(MarginsError::Vacuous { found });
        }
        Ok(Self { rho1, delta1, centre })
    }

    /// The usual ones for a metric: twice blue and half a percentage point; for a latency metric
    /// `rho1 = 1, delta1 = m`, of p50 0.15 (B11).
    #[must_use]
    pub fn usual(metric: Metric) -> Self {
        let (rho1, delta1) = match metric {
            Metric::Errors | Metric::Client4xx => (2.0, 0.005),
            Metric::LatencyP50 => (1.0, 0.15),
            Metric::LatencyP90 | Metric::LatencyP99 => (1.0, CENTRES[metric.index()]),
        };
        Self { rho1, delta1, centre: CENTRES[metric.index()] }
    }

    /// The relative margin.
    #[must_use]
    pub fn rho1(self) -> f64 {
        self.rho1
    }

    /// The centre `m`.
    #[must_use]
    pub fn centre(self) -> f64 {
        self.centre
    }

    /// `theta1 = rho1 * m + delta1`, below 1.
    #[must_use]
    pub fn theta(self) -> f64 {
        self.rho1 * self.centre + self.delta1
    }
}

/// A probability of being wrong that one is ready to bear, above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level(f64);

impl Level {
    /// At most one false rollback in 1 000.
    pub const ALPHA: Self = Self(0.001);
    /// At most one false certificate in 20.
    pub const BETA: Self = Self(0.05);

    /// A level.
    ///
    /// # Errors
    /// If it is not above 0 and below 1.
    pub fn new(found: f64) -> Result<Self, MarginsError> {
        let inside = found > 0.0 && found < 1.0;
        if inside { Ok(Self(found)) } else { Err(MarginsError::Level { found }) }
    }

    /// What remains of it for the `attempt`-th rollout (1 is the first) of one and the same
    /// revision: `level * 6 / (pi * attempt)^2`, whose sum over all attempts is the level
    /// (section 6.6).
    #[must_use]
    pub fn for_attempt(self, attempt: u32) -> Self {
        let attempt = f64::from(attempt.max(1));
        Self(self.0 * 6.0 / (std::f64::consts::PI * attempt).powi(2))
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// What an e-process has to reach: one over it (Ville 1939).
    #[must_use]
    pub fn boundary(self) -> f64 {
        1.0 / self.0
    }
}

fn check(ratio: f64, delta: f64, centre: f64) -> Result<(), MarginsError> {
    if !ratio.is_finite() || ratio <= 0.0 {
        return Err(MarginsError::Ratio { found: ratio });
    }
    if !(0.0..1.0).contains(&delta) {
        return Err(MarginsError::Delta { found: delta });
    }
    if !(0.0..1.0).contains(&centre) {
        return Err(MarginsError::Centre { found: centre });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_that_no_bet_can_be_built_for_are_refused() {
        let ratio = |found| Err(MarginsError::Ratio { found });
        assert_eq!(Margins::new(0.0, 0.0, 0.0), ratio(0.0));
        assert_eq!(Margins::new(-1.0, 0.0, 0.0), ratio(-1.0));
        assert!(Margins::new(f64::NAN, 0.0, 0.0).is_err());
        assert!(Margins::new(f64::INFINITY, 0.0, 0.0).is_err());
        assert_eq!(Margins::new(1.0, -0.1, 0.0), Err(MarginsError::Delta { found: -0.1 }));
        assert!(Margins::new(1.0, f64::NAN, 0.0).is_err());
        assert_eq!(Margins::new(1.0, 0.0, 1.0), Err(MarginsError::Centre { found: 1.0 }));
        assert_eq!(Margins::new(1.0, 0.0, -0.1), Err(MarginsError::Centre { found: -0.1 }));
        assert!(Margins::new(1.1, 0.0005, 0.5).is_ok());
    }

    #[test]
    fn the_parts_of_the_evidence_sum_to_one() {
        let margins = Margins::new(1.0, 0.0, 0.0).unwrap();
        let table = |omegas: [f64; 5]| MarginTable::new(omegas.map(|omega| (margins, omega)));
        assert!(table([0.2; 5]).is_ok());
        assert!(matches!(table([0.3; 5]), Err(MarginsError::OmegaSum { .. })));
        assert!(matches!(table([1.2, -0.2, 0.0, 0.0, 0.0]), Err(MarginsError::Omega { .. })));
        for preset in Preset::ALL {
            let sum: f64 = preset.table().omegas().iter().sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn presets_differ_in_what_they_tolerate() {
        let errors = |preset: Preset| preset.table().of(Metric::Errors);
        assert_eq!(errors(Preset::Strict), Margins::new(1.0, 0.0, 0.0).unwrap());
        assert_eq!(errors(Preset::Default), Margins::new(1.1, 0.0005, 0.0).unwrap());
        assert_eq!(errors(Preset::Lenient), Margins::new(1.5, 0.005, 0.0).unwrap());
        for metric in Metric::ALL {
            let of = |preset: Preset| preset.table().of(metric);
            assert!(of(Preset::Strict).theta() <= of(Preset::Default).theta());
            assert!(of(Preset::Default).theta() <= of(Preset::Lenient).theta());
        }
        let units = MarginTable::default().for_units();
        assert_eq!(units.of(Metric::Errors), Margins::new(1.1, 0.0, 0.0).unwrap());
        assert_eq!(units.of(Metric::LatencyP50), MarginTable::default().of(Metric::LatencyP50));
    }

    #[test]
    fn the_levels_of_all_attempts_sum_to_the_level() {
        let spent: f64 = (1..=100_000).map(|i| Level::ALPHA.for_attempt(i).get()).sum();
        assert!(spent < 0.001 && spent > 0.000_999, "{spent}");
        assert!(Level::ALPHA.for_attempt(1).get() > Level::ALPHA.for_attempt(2).get());
        assert!(
            Level::new(0.0).is_err() && Level::new(1.0).is_err() && Level::new(f64::NAN).is_err()
        );
    }
}
