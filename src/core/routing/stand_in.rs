//! Failing open: green answers what is blue's, while blue has nobody left to answer.
//!
//! An outage of blue in the middle of a release would fail most requests although targets that
//! could answer them are there. Green stands in only where it is trusted with traffic already: at
//! weight 0 nobody has tried it. The weight stays as it is; it is the rollout's alone.

use std::sync::Arc;

use crate::core::model::{Side, Weight};

use super::{LiveTarget, ServiceRoute};

impl ServiceRoute {
    /// The healthy target of green that answers a request of blue's; `None` while blue has a target
    /// that may be given it, where green has no weight, and where the service does not want it.
    /// `draw` is uniform over all 64-bit numbers.
    #[must_use]
    pub fn stand_in(&self, draw: u64) -> Option<&Arc<LiveTarget>> {
        let has_green = self.retries.fail_open && self.exposure.split.green() > Weight::ZERO;
        if !has_green || self.blue_may_serve() {
            return None;
        }
        self.pick(Side::Green, draw, None).filter(|target| target.is_able())
    }

    /// Whether blue has a target that may be given a request. While it has none its requests are
    /// routed by panic or to green, and none of the service says anything about green.
    #[must_use]
    pub fn blue_may_serve(&self) -> bool {
        self.blue.targets.iter().any(|target| target.may_serve())
    }
}

#[cfg(test)]
mod tests {
    use super::super::side::tests::service;
    use super::*;
    use crate::core::model::{Split, TargetHealth};

    fn weight(bp: u16) -> Weight {
        Weight::from_bp(bp).expect("in range")
    }

    #[test]
    fn green_stands_in_for_a_blue_without_a_target_that_may_be_tried() {
        let route = service(weight(1_000), &["127.0.0.1:1", "127.0.0.1:2"]);
        let [first, second] = [0, 1].map(|i| Arc::clone(&route.blue.targets[i]));
        assert!(route.stand_in(0).is_none(), "blue is well");
        first.set_health(TargetHealth::Unhealthy);
        assert!(route.stand_in(0).is_none(), "blue has another target");
        second.eject();
        let found = route.stand_in(0).expect("green is well");
        assert!(route.green.targets.iter().any(|target| Arc::ptr_eq(target, found)));
        second.readmit();
        second.set_health(TargetHealth::Unknown);
        assert!(route.stand_in(0).is_none(), "nobody knows that it is not well");
    }

    #[test]
    fn green_does_not_stand_in_untried_unhealthy_or_unasked() {
        let mut route = service(weight(1_000), &["127.0.0.1:1"]);
        route.blue.targets[0].set_health(TargetHealth::Unhealthy);
        assert!(route.stand_in(0).is_some());
        route.exposure.split = Split::with_green(Weight::ZERO);
        assert!(route.stand_in(0).is_none(), "nobody has tried it");
        route.exposure.split = Split::with_green(weight(1));
        route.retries.fail_open = false;
        assert!(route.stand_in(0).is_none(), "the service does not want it");
        route.retries.fail_open = true;
        for health in [TargetHealth::Unhealthy, TargetHealth::Unknown] {
            route.green.targets[0].set_health(health);
            assert!(route.stand_in(0).is_none(), "{health}");
        }
    }
}
