//! What the tests of this folder share.

use crate::core::model::{FinalBake, Policies, SharedDegradation, Shift, Span, Step, Weight};

use super::{Judging, Scenario, Slowdown};
use crate::core::analysis::comparison::{ClusterGuard, Rules};

/// 10 % for 30 s, 50 % for 30 s, 100 % and a final bake of 30 s, at 200 requests a second, with a
/// green that is as good as blue.
pub(super) fn scenario() -> Scenario {
    let shift = |bp: u16, secs: u64| {
        let weight = Weight::from_bp(bp).expect("valid");
        Step::Shift(Shift::timed(weight, Span::from_secs(secs)))
    };
    Scenario {
        service: "shop".parse().expect("valid"),
        groups: ["shop-a", "shop-b"].map(|name| name.parse().expect("valid")),
        strategy: "careful".parse().expect("valid"),
        steps: vec![shift(1_000, 30), shift(5_000, 30), shift(10_000, 0)],
        final_bake: FinalBake { length: Span::from_secs(30), keep_blue: None },
        policies: Policies::default(),
        judging: Judging {
            rules: Rules::default(),
            guard: ClusterGuard::new(Span::from_secs(1)),
            slo: None,
            on_shared_degradation: SharedDegradation::Hold,
        },
        traffic: "200rps".parse().expect("valid"),
        blue_errors: Scenario::USUAL_ERRORS,
        green_errors: Scenario::USUAL_ERRORS,
        latency: Scenario::USUAL_LATENCY,
        green_latency: Slowdown::default(),
        starts_after: Span::ZERO,
        green_targets: 1,
        users: None,
    }
}
