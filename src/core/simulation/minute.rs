//! A minute of a simulated rollout.

use serde::Serialize;

use crate::core::model::{Side, Weight};

/// The requests of a side in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SideCount {
    /// Those that arrived.
    pub requests: u64,
    /// Those of them that fail, whenever that becomes known.
    pub failed: u64,
}

/// What happened in a minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Minute {
    /// Its number, from 1.
    pub minute: u64,
    /// Green's weights in it, one after the other.
    pub weights: Vec<Weight>,
    /// Green's requests.
    pub green: SideCount,
    /// Blue's requests.
    pub blue: SideCount,
    /// How much spoke against green, twelve times in the minute, in percent of the way to a
    /// rollback on a scale of logarithms.
    pub evidence: Vec<u8>,
    /// The verdict at its end.
    pub verdict: String,
}

/// The minutes so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Minutes {
    done: Vec<Minute>,
    present: Minute,
}

impl Minutes {
    /// How often the evidence of a minute is kept.
    pub(super) const POINT_MS: u64 = 5_000;

    /// Counts a request.
    pub(super) fn count(&mut self, side: Side, failed: bool) {
        let count = match side {
            Side::Green => &mut self.present.green,
            Side::Blue => &mut self.present.blue,
        };
        count.requests += 1;
        count.failed += u64::from(failed);
    }

    /// Keeps the weight in force.
    pub(super) fn weigh(&mut self, weight: Weight) {
        if self.present.weights.last() != Some(&weight) {
            self.present.weights.push(weight);
        }
    }

    /// Keeps the evidence, given what suffices for a rollback.
    pub(super) fn mark(&mut self, evidence: f64, boundary: f64) {
        let way = (evidence.max(1.0).ln() / boundary.ln() * 100.0).clamp(0.0, 100.0);
        // Between 0 and 100. What does not quite suffice is not shown as if it did.
        let percent = if evidence < boundary { way.min(99.0) } else { way };
        self.present.evidence.push(percent as u8);
    }

    /// Ends a minute.
    pub(super) fn close(&mut self, verdict: String) {
        let minute = self.done.len() as u64 + 1;
        let closed = std::mem::take(&mut self.present);
        self.done.push(Minute { minute, verdict, ..closed });
    }

    /// Whether something happened since the last minute ended.
    pub(super) fn is_begun(&self) -> bool {
        !self.present.weights.is_empty()
    }

    /// All minutes.
    pub(super) fn finish(self) -> Vec<Minute> {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_shown_as_the_way_to_a_rollback() {
        let mut minutes = Minutes::default();
        for evidence in [0.5, 1.0, 31.622_776_7, 999.9, 1_000.0, f64::MAX] {
            minutes.mark(evidence, 1_000.0);
        }
        minutes.close("x".to_owned());
        assert_eq!(minutes.finish()[0].evidence, [0, 0, 50, 99, 100, 100]);
    }

    #[test]
    fn a_minute_knows_its_weights_and_both_sides() {
        let mut minutes = Minutes::default();
        assert!(!minutes.is_begun());
        minutes.weigh(Weight::ZERO);
        minutes.weigh(Weight::ZERO);
        minutes.weigh(Weight::FULL);
        minutes.count(Side::Green, true);
        minutes.count(Side::Blue, false);
        minutes.close(String::new());
        assert!(!minutes.is_begun());
        let minute = &minutes.finish()[0];
        assert_eq!(minute.weights, [Weight::ZERO, Weight::FULL]);
        assert_eq!(minute.green, SideCount { requests: 1, failed: 1 });
        assert_eq!(minute.blue, SideCount { requests: 1, failed: 0 });
        assert_eq!(minute.minute, 1);
    }
}
