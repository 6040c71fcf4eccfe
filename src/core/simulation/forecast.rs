//! What can be detected at a weight, and how long a certificate takes.

use serde::Serialize;

use crate::core::analysis::comparison::{CertificateTable, Tally};
use crate::core::model::{Span, Weight};

use super::amount::FailureShare;
use super::distribution::Quantiles;
use super::scenario::Scenario;

/// How soon a green is caught that fails a share of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// The share.
    pub errors: FailureShare,
    /// How many requests green is sent until then, the median of the trials; `None` if half of
    /// them did not catch it in the time of [`Forecast::tried_ms`].
    pub green_requests: Option<u64>,
    /// How many of them it fails.
    pub green_failed: Option<u64>,
    /// How long that takes, in milliseconds.
    pub after_ms: Option<u64>,
}

/// What a certificate takes of a green without errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// How many requests.
    pub green_requests: u64,
    /// How long that takes, in milliseconds.
    pub after_ms: u64,
}

/// What can be detected at a weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Green's weight.
    pub weight: Weight,
    /// How long the trials watched at most, in milliseconds.
    pub tried_ms: u64,
    /// By the share of its requests that green fails, the largest first.
    pub detections: Vec<Detection>,
    /// `None` where none is given: one side has all the traffic, or users are sticky.
    pub certificate: Option<Certificate>,
}

impl Scenario {
    /// How many trials there are of each share.
    pub const TRIALS: u64 = 21;

    /// Finds out what can be detected at a weight with this traffic: the median of seeded trials
    /// with the green of the scenario that fails these shares, the largest first. Once most trials
    /// of a share catch nothing, smaller ones are not tried.
    #[must_use]
    pub fn forecast(&self, weight: Weight, shares: &[FailureShare], seed: u64) -> Forecast {
        let watched = self.watched();
        let mut detections = Vec::new();
        let mut is_hopeless = false;
        for errors in shares {
            let nothing = Detection {
                errors: *errors,
                green_requests: None,
                green_failed: None,
                after_ms: None,
            };
            let found = if is_hopeless { nothing } else { self.detect(weight, *errors, seed) };
            is_hopeless = found.after_ms.is_none();
            detections.push(found);
        }
        let certificate = self.certificate(weight);
        Forecast { weight, tried_ms: watched.ms(), detections, certificate }
    }

    /// An hour, or the time of as many requests as are tried.
    fn watched(&self) -> Span {
        let ms = MOST_REQUESTS as f64 / self.traffic.per_second() * 1_000.0;
        // Whole seconds, and at least one.
        Span::from_secs((ms as u64).min(LONGEST.ms()).div_ceil(1_000).max(1))
    }

    fn detect(&self, weight: Weight, errors: FailureShare, seed: u64) -> Detection {
        let scenario = Self { green_errors: errors, starts_after: Span::ZERO, ..self.clone() };
        let mut trial = scenario.trial();
        trial.steps = vec![(weight, scenario.watched())];
        let half = (Self::TRIALS / 2 + 1) as usize;
        let mut caught = Vec::new();
        for number in 0..Self::TRIALS {
            let missed = number as usize - caught.len();
            if missed >= half {
                break;
            }
            let report = trial
                .run(seed.wrapping_add(number), |chance, arrival| scenario.answer(chance, arrival));
            if let Some(at_us) = report.rolled_back_us {
                caught.push((at_us / 1_000, report.green_requests, report.green_failed));
            }
        }
        let is_found = caught.len() >= half;
        let median = |part: &dyn Fn(&(u64, u64, u64)) -> u64| {
            let of = Quantiles::of(caught.iter().map(part).collect()).filter(|_| is_found);
            of.map(|quantiles| quantiles.median)
        };
        Detection {
            errors,
            green_requests: median(&|found| found.1),
            green_failed: median(&|found| found.2),
            after_ms: median(&|found| found.0),
        }
    }

    fn certificate(&self, weight: Weight) -> Option<Certificate> {
        let rule = self.judging.rules.certificate?;
        let w = weight.share();
        let mut most = 0;
        for margins in rule.gating.into_iter().flatten() {
            let table = CertificateTable::new(w, margins);
            most = most.max(table.missing(Tally::default(), rule.beta.boundary())?);
        }
        let ms = most as f64 / (w * self.traffic.per_second()) * 1_000.0;
        (most > 0).then_some(Certificate { green_requests: most, after_ms: ms.ceil() as u64 })
    }
}

/// The longest time that is tried.
const LONGEST: Span = Span::from_hours(1);
/// The most requests of a trial.
const MOST_REQUESTS: u64 = 400_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::simulation::testkit::scenario;

    fn shares(texts: &[&str]) -> Vec<FailureShare> {
        texts.iter().map(|text| text.parse().expect("a share")).collect()
    }

    #[test]
    fn the_worse_green_is_the_sooner_it_is_caught() {
        let mut scenario = scenario();
        scenario.traffic = "20rps".parse().expect("traffic");
        let weight = Weight::from_bp(1_000).expect("valid");
        let found = scenario.forecast(weight, &shares(&["100%", "20%", "5%"]), 1);
        assert_eq!(found.tried_ms, 3_600_000);
        let times: Vec<u64> = found.detections.iter().filter_map(|found| found.after_ms).collect();
        assert!(times.len() == 3 && times.is_sorted(), "{found:?}");
        let failed = found.detections[0].green_failed.expect("caught");
        assert!((4..=12).contains(&failed), "{found:?}");
    }

    #[test]
    fn what_is_too_small_is_not_promised() {
        let mut scenario = scenario();
        scenario.traffic = "1rps".parse().expect("traffic");
        let weight = Weight::from_bp(1_000).expect("valid");
        let found = scenario.forecast(weight, &shares(&["1%", "0.5%"]), 1);
        assert!(found.detections.iter().all(|found| found.after_ms.is_none()), "{found:?}");
    }

    #[test]
    fn a_certificate_takes_914_requests_without_an_error() {
        let mut scenario = scenario();
        let weight = Weight::from_bp(1_000).expect("valid");
        let found = scenario.certificate(weight).expect("one is given");
        assert_eq!(found.green_requests, 914);
        assert_eq!(found.after_ms, 45_700);
        assert_eq!(scenario.certificate(Weight::FULL), None);
        scenario.judging.rules.certificate = None;
        assert_eq!(scenario.certificate(weight), None);
    }
}
