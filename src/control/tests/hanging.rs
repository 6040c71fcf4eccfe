//! A green that hangs: it is taken back while its requests are still open, and by the same evidence
//! once more.

use super::comparing::OK;
use super::replaying::keeping;
use super::suspects::{THREE, USUAL, with_targets};
use super::*;
use crate::core::analysis::comparison::Ticket;
use crate::core::analysis::replay::Rerun;
use crate::core::model::Side;

impl Rig {
    /// A rollout in the middle, once it is known what is slow: blue took 50 ms before it.
    async fn knows_what_is_slow(&self) -> RolloutId {
        let live = Arc::clone(&self.table.load().services[&name("shop")].live);
        (0..2_000).for_each(|_| live.latencies.record(50_000));
        let id = self.shifting().await;
        let known = |rig: &Self| {
            let latencies = rig.analysis(&id).metrics.into_iter().skip(2);
            latencies.filter(|metric| metric.blue_slow_us.is_some()).count() == 3
        };
        self.until("it is known what is slow", known).await;
        id
    }

    /// Sends a request to a place of green that is written and never answered; `None` if it is not
    /// counted.
    fn hangs(&self, place: usize) -> Option<Ticket> {
        let mut ticket = self.counters()?.arrive(Side::Green, percent("10%"), None)?;
        self.counters()?.written(&mut ticket, Some(place), self.clock.now().mono);
        Some(ticket)
    }

    /// Green hangs on the given places in turn, and blue answers well, until something is so; what
    /// hangs.
    async fn hang_on(
        &self,
        places: &[usize],
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> Vec<Ticket> {
        let mut open = Vec::new();
        for turn in 0..400 {
            if condition(self) {
                return open;
            }
            open.extend(self.hangs(places[turn % places.len()]));
            for _ in 0..9 {
                self.counted(Side::Blue, "10%", OK);
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        panic!("not in time: {what}\n{:#?}", self.handle.view());
    }
}

#[tokio::test]
async fn a_green_that_hangs_is_taken_back_before_anything_of_it_ends_and_that_is_reproduced() {
    let rig = keeping(SHOP).await;
    let id = rig.knows_what_is_slow().await;
    let open = rig.hang_on(&[0], "it is taken back", |rig| rig.green() == Weight::ZERO).await;
    assert!(open.len() >= 3, "{}", open.len());
    rig.until_over(&id, StateName::RolledBack).await;
    let analysis = rig.analysis(&id);
    let [errors, median] = [0_usize, 2].map(|place| &analysis.metrics[place]);
    assert_eq!(errors.green_bad, 0, "{analysis:?}");
    assert!(median.green_bad > 0 && median.green_bad <= open.len() as u64, "{analysis:?}");
    let taken_back = |found: &Rerun| found.taken_back().is_some();
    let found = rig.reproduced(&id, "the rollback is written", taken_back).await;
    assert_eq!(found.crossed, analysis.cohort);
}

#[tokio::test]
async fn a_target_that_hangs_alone_is_ejected_and_nothing_is_rolled_back() {
    let rig = Remains::none().start(&with_targets(&THREE, USUAL)).await;
    let id = rig.knows_what_is_slow().await;
    let bad = rig.of_green(1);
    rig.hang_on(&[1], "the bad one is ejected", |_| bad.is_ejected()).await;
    assert!(!rig.of_green(0).is_ejected() && !rig.of_green(2).is_ejected());
    assert_eq!((rig.rollout(&id).state, rig.green()), (StateName::Shifting, percent("10%")));
}
