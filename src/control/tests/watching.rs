//! A writer that does not come round.

use super::*;

#[tokio::test]
async fn a_writer_that_is_gone_shows_although_it_cannot_say_so() {
    let rig = Rig::new().await;
    let silent = |rig: &Rig| -> f64 {
        let metrics = rig.handle.metrics();
        let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(name, _)| *name == "tidegate_writer_silent_seconds");
        found.and_then(|(_, value)| value.parse().ok()).expect("exposed")
    };
    rig.until("it comes round", |rig| silent(rig) < 0.5).await;
    assert!(rig.handle.is_alive());
    rig.tasks[1].abort();
    rig.until("it is missed", |rig| !rig.handle.is_alive()).await;
    assert!(silent(&rig) > 3.0);
}
