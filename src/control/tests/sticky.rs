//! Users of a sticky service: each is one datum of a rollout, also over a restart (B9).

use super::comparing::BAD;
use super::*;
use crate::core::analysis::verdict::Word;
use crate::core::model::Side;

pub(super) fn sticky() -> String {
    SHOP.replacen("strategy: quick", "strategy: quick, stickiness: { header: x-user-id }", 1)
}

impl Rig {
    /// A user fails on green; whether the request was counted in.
    fn fails_for(&self, user: u64) -> bool {
        let counters = self.counters();
        let counted = counters.and_then(|counters| {
            let ticket = counters.arrive(Side::Green, percent("10%"), Some(user))?;
            counters.settle(ticket, BAD, self.clock.now().mono);
            Some(())
        });
        counted.is_some()
    }

    pub(super) async fn failed_for(&self, users: &[u64]) {
        self.until("a cohort is open", |rig| rig.fails_for(users[0])).await;
        assert!(users[1..].iter().all(|user| self.fails_for(*user)));
    }

    pub(super) fn bad(&self, id: &RolloutId) -> u64 {
        self.analysis(id).metrics[0].green_bad
    }
}

#[tokio::test]
async fn b9_users_who_were_counted_are_not_counted_again_after_a_restart() {
    let rig = Remains::none().start(&sticky()).await;
    let id = rig.shifting().await;
    rig.failed_for(&[1, 2, 1, 2]).await;
    rig.until("both are evidence", |rig| rig.bad(&id) == 2).await;
    let evidence = rig.analysis(&id).evidence;
    rig.tell(&id, Verb::Pause).await.expect("paused");
    let mut rig = rig.restart(&sticky()).await;
    for (users, known) in [([1, 2, 3], 3), ([2, 3, 4], 4)] {
        rig.failed_for(&users).await;
        rig.until("the new one is evidence", |rig| rig.bad(&id) >= known).await;
        assert_eq!(rig.bad(&id), known, "nobody counts twice");
        assert_ne!(rig.analysis(&id).verdict, Word::Unavailable);
        // Another end, with what is watched saved as it is.
        rig = rig.stop().await.start(&sticky()).await;
    }
    assert!(rig.analysis(&id).evidence > evidence);
    assert_eq!(rig.rollout(&id).state, StateName::Shifting);
}

#[tokio::test]
async fn b9_where_nobody_knows_who_was_counted_everything_rests_and_it_says_so() {
    let rig = Remains::none().start(&sticky()).await;
    let id = rig.shifting().await;
    rig.failed_for(&[1]).await;
    rig.until("it is evidence", |rig| rig.bad(&id) == 1).await;
    rig.tell(&id, Verb::Pause).await.expect("paused");
    rig.saved().await;
    let remains = rig.crash().await;
    // A record of an earlier release, which did not keep the users.
    let key = format!("rollout/{id}");
    let (mut saved, _) = record(&remains.store, &key).await.expect("saved");
    let evidence = saved["rollout"]["evidence"].as_object_mut().expect("it is compared");
    assert!(evidence.remove("units").is_some());
    put(&remains.store, &key, saved.to_string()).await;
    let rig = remains.start(&sticky()).await;
    rig.failed_for(&[7, 8, 9]).await;
    let unavailable = |rig: &Rig| rig.analysis(&id).verdict == Word::Unavailable;
    rig.until("it says so", unavailable).await;
    assert!(rig.analysis(&id).text.contains("which users were counted"));
    assert_eq!(rig.bad(&id), 1, "nothing is compared any more");
    // Nor after another restart: what is unknown stays so.
    rig.tell(&id, Verb::Resume { override_regression: false }).await.expect("resumed");
    let rig = rig.restart(&sticky()).await;
    rig.failed_for(&[10]).await;
    rig.until("it says so", unavailable).await;
}
