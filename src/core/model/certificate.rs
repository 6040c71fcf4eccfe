//! Certificates that nobody will ever get: what a strategy asks for, and a service cannot give.

use super::{ServiceSpec, Step, Strategy};

/// Why the comparison of a service never gives a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeverCertified {
    /// Green is not compared with blue.
    #[error("`analysis` is off, and nothing is compared")]
    Off,
    /// Users are drawn and not requests: only the first failure of each is a datum.
    #[error("it has `stickiness`, so that users are compared, which certifies nothing")]
    Sticky,
}

impl ServiceSpec {
    /// Why the comparison never gives a certificate; `None` if it may.
    #[must_use]
    pub fn never_certified(&self) -> Option<NeverCertified> {
        match (&self.analysis, &self.stickiness) {
            (None, _) => Some(NeverCertified::Off),
            (Some(_), Some(_)) => Some(NeverCertified::Sticky),
            (Some(_), None) => None,
        }
    }
}

impl Strategy {
    /// The place in the list of the first step that wants the comparison's certificate; `None` if
    /// none does.
    #[must_use]
    pub fn wants_certificate(&self) -> Option<usize> {
        self.steps().iter().position(|step| match step {
            Step::Shift(shift) => shift.evidence_pass || shift.promote_early,
            Step::Approval(_) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::{Shift, Span};

    #[test]
    fn the_first_step_that_wants_a_certificate_is_found() {
        let timed = |weight: &str| Shift::timed(weight.parse().unwrap(), Span::from_secs(1));
        let check = |second: Shift, expected: Option<usize>| {
            let steps = vec![Step::Shift(timed("1%")), Step::Shift(second)];
            let strategy = Strategy::new("own".parse().unwrap(), steps, None).unwrap();
            assert_eq!(strategy.wants_certificate(), expected, "{second:?}");
        };
        check(timed("2%"), None);
        check(Shift { samples: Some(3), ..timed("2%") }, None);
        check(Shift { evidence_pass: true, ..timed("2%") }, Some(1));
        check(Shift { promote_early: true, ..timed("2%") }, Some(1));
    }
}
