//! What a comparison goes by, fixed before the rollout starts.

use crate::core::model::{AnalysisSpec, AnalysisTerms, MarginPreset, MarginSpec, Span, Weight};

use super::certificate::CertificateRule;
use super::cohort::Calendar;
use super::margins::{CertificateMargins, Level, MarginTable, Margins, MarginsError, Preset};
use super::metric::{METRICS, Metric};

/// The rules of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How much worse green may be.
    pub margins: MarginTable,
    /// At most this part of the healthy greens is rolled back by the comparison.
    pub alpha: Level,
    /// What a certificate needs; `None`: none is ever given by statistics, as in a sticky service
    /// (B9).
    pub certificate: Option<CertificateRule>,
    /// The absolute processes; `None` without a service level objective.
    pub absolute: Option<AbsoluteRule>,
    /// From how many targets of green on a rollback must stand without any one of them; `None`
    /// switches leave-one-out off (section 6.5).
    pub leave_one_out_from: Option<usize>,
    /// How many cohorts may be open at once; see [`Rules::ring_for`].
    pub ring: usize,
}

impl Rules {
    /// The fewest open cohorts that are kept: 64 s.
    pub const SMALLEST_RING: usize = 640;
    /// The most open cohorts that are kept, whatever the timeout: 10 minutes.
    pub const LARGEST_RING: usize = 6_000;

    /// The rules of a rollout whose requests may take so long; `None` if nothing is compared.
    ///
    /// # Errors
    /// If margins or levels are such that no bet can be built for them.
    pub fn agreed(terms: &AnalysisTerms, longest: Span) -> Result<Option<Self>, MarginsError> {
        let Some(spec) = &terms.compared else {
            return Ok(None);
        };
        let margins = margin_table(spec)?;
        let rule = CertificateRule { gating: gating(spec)?, beta: Level::new(spec.beta.share())? };
        Ok(Some(Self {
            margins: if terms.sticky { margins.for_units() } else { margins },
            alpha: Level::new(spec.alpha.share())?.for_attempt(terms.attempt),
            // Of users only the first failure is a datum: there is nothing to certify with (B9).
            certificate: (!terms.sticky).then_some(rule),
            absolute: terms.slo.map(|slo| AbsoluteRule::for_objective(slo.share())),
            leave_one_out_from: spec
                .leave_one_out
                .map(|from| usize::try_from(from).unwrap_or(usize::MAX)),
            ring: Self::ring_for(longest),
        }))
    }

    /// How many open cohorts it takes so that no request of a service with this timeout is given up
    /// before it is answered: the timeout and a second (C5), and some for cuts at changes.
    #[must_use]
    pub fn ring_for(upstream_timeout: Span) -> usize {
        let time = upstream_timeout.saturating_add(Span::from_secs(1));
        let cohorts = time.ms().div_ceil(Calendar::COHORT.ms()) + SPARE;
        let cohorts = usize::try_from(cohorts).unwrap_or(Self::LARGEST_RING);
        cohorts.clamp(Self::SMALLEST_RING, Self::LARGEST_RING)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            margins: MarginTable::default(),
            alpha: Level::ALPHA,
            certificate: Some(CertificateRule::default()),
            absolute: None,
            leave_one_out_from: Some(3),
            ring: Self::SMALLEST_RING,
        }
    }
}

fn margin_table(spec: &AnalysisSpec) -> Result<MarginTable, MarginsError> {
    let preset = match spec.preset {
        MarginPreset::Strict => Preset::Strict,
        MarginPreset::Default => Preset::Default,
        MarginPreset::Lenient => Preset::Lenient,
    };
    let usual = preset.table();
    let mut rows = Metric::ALL.map(|metric| (usual.of(metric), usual.omega(metric)));
    for (row, own) in rows.iter_mut().zip(&spec.margins) {
        row.0 = own_margins(row.0, own)?;
    }
    MarginTable::new(rows)
}

fn own_margins(usual: Margins, own: &MarginSpec) -> Result<Margins, MarginsError> {
    let ratio = own.ratio_milli.map_or(usual.rho0(), ratio);
    let margins =
        Margins::new(ratio, own.delta.map_or(usual.delta(), Weight::share), usual.centre())?;
    if margins.theta() >= 1.0 {
        return Err(MarginsError::Vacuous { found: margins.theta() });
    }
    Ok(margins)
}

fn gating(spec: &AnalysisSpec) -> Result<[Option<CertificateMargins>; METRICS], MarginsError> {
    let mut gating = [None; METRICS];
    for (metric, own) in [Metric::Errors, Metric::Client4xx].into_iter().zip(&spec.certificate) {
        let usual = CertificateMargins::usual(metric);
        let ratio = own.ratio_milli.map_or(usual.rho1(), ratio);
        let delta = own.delta.map_or(usual.theta() - usual.rho1() * usual.centre(), Weight::share);
        gating[metric.index()] = Some(CertificateMargins::new(ratio, delta, usual.centre())?);
    }
    Ok(gating)
}

fn ratio(milli: u32) -> f64 {
    f64::from(milli) / 1_000.0
}

/// Cohorts that are kept for cuts at changes of weight, step or dormancy.
const SPARE: u64 = 16;

/// What the absolute processes go by (section 6.3b).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbsoluteRule {
    /// The share of failures that is alarmed above, 0..1; at 1 and more nothing is.
    pub p0: f64,
    /// The level of each of the two processes.
    pub alpha: Level,
}

impl AbsoluteRule {
    /// The rule of an objective, `0.999` for 99.9 %: a burn rate above 14.4.
    #[must_use]
    pub fn for_objective(objective: f64) -> Self {
        Self { p0: 14.4 * (1.0 - objective), alpha: Level::ALPHA }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_outlasts_the_timeout() {
        assert_eq!(Rules::ring_for(Span::from_secs(1)), 640);
        assert_eq!(Rules::ring_for(Span::from_secs(120)), 1_226);
        assert_eq!(Rules::ring_for(Span::from_hours(10)), 6_000);
    }

    fn agreed(terms: AnalysisTerms) -> Result<Option<Rules>, MarginsError> {
        Rules::agreed(&terms, Span::from_secs(1))
    }

    #[test]
    fn what_is_not_configured_is_as_usual() {
        let terms = AnalysisTerms { compared: Some(AnalysisSpec::default()), ..Default::default() };
        let rules = agreed(terms).unwrap().unwrap();
        // An attempt of one spends 6 / pi^2 of the level, so that all of them together spend it.
        let alpha = Level::ALPHA.for_attempt(1);
        assert_eq!(rules, Rules { alpha, ..Rules::default() });
        assert_eq!(agreed(AnalysisTerms::default()), Ok(None));
    }

    #[test]
    fn each_attempt_has_a_smaller_part_of_alpha() {
        let spec = AnalysisSpec::default();
        let of = |attempt| {
            let terms = AnalysisTerms { compared: Some(spec), attempt, ..Default::default() };
            agreed(terms).unwrap().unwrap().alpha.get()
        };
        assert!(of(2) < of(1) && of(3) < of(2));
    }

    #[test]
    fn users_are_compared_without_certificate_and_absolute_tolerance() {
        let compared = Some(AnalysisSpec::default());
        let terms = AnalysisTerms { compared, sticky: true, ..Default::default() };
        let rules = agreed(terms).unwrap().unwrap();
        assert_eq!(rules.certificate, None);
        assert!(rules.margins.of(Metric::Errors).delta().abs() < 1e-12);
    }

    #[test]
    fn own_margins_take_the_place_of_the_usual_ones_and_are_checked() {
        let mut spec = AnalysisSpec::default();
        spec.margins[0] = MarginSpec { ratio_milli: Some(2_500), delta: Weight::from_bp(100).ok() };
        let of = |spec| agreed(AnalysisTerms { compared: Some(spec), ..Default::default() });
        let margins = of(spec).unwrap().unwrap().margins;
        assert_eq!(margins.of(Metric::Errors), Margins::new(2.5, 0.01, 0.0).unwrap());
        spec.margins[2].ratio_milli = Some(2_000);
        assert_eq!(of(spec), Err(MarginsError::Vacuous { found: 1.0 }));
        spec.margins[2].ratio_milli = Some(0);
        assert_eq!(of(spec), Err(MarginsError::Ratio { found: 0.0 }));
    }
}
