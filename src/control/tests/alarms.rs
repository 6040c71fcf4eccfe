//! Alarms that are pushed.

use super::*;
use crate::core::rollout::Cause;

#[tokio::test]
async fn an_alarm_takes_the_traffic_back_before_it_is_answered() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.push(AlarmState::Alarm).await;
    // The answer comes with the view that shows what follows: no tick was waited for.
    assert_eq!(rig.green(), Weight::ZERO);
    let view = rig.rollout(&id);
    assert_eq!(view.state, StateName::RolledBack);
    assert_eq!(view.cause, Some(Cause::Alarm { alarm: name("pager") }));
    rig.until_over(&id, StateName::RolledBack).await;
}

#[tokio::test]
async fn an_alarm_takes_the_traffic_back_whatever_the_store_does() {
    let rig = Rig::new().await;
    let id = rig.shifting().await;
    rig.store.fail(outage());
    rig.push(AlarmState::Alarm).await;
    assert_eq!(rig.green(), Weight::ZERO);
    rig.store.release();
    rig.until_over(&id, StateName::RolledBack).await;
}

#[tokio::test]
async fn an_alarm_is_remembered_over_a_restart() {
    let rig = Rig::new().await;
    rig.push(AlarmState::Alarm).await;
    let rig = rig.restart(SHOP).await;
    let view = rig.handle.view();
    let alarm = &view.alarms[0];
    assert_eq!((alarm.state, alarm.reason.as_deref()), (AlarmState::Alarm, Some("because")));
    let next = rig.send(Command::StartRollout(Box::new(rig.start("quick")))).await;
    refused(next, "alarm_active");
    rig.push(AlarmState::Ok).await;
    rig.started("quick").await;
}

#[tokio::test]
async fn only_alarms_that_are_pushed_can_be_pushed() {
    let own = "own: { metric: error_rate }, above: 1%";
    let rig = Remains::none().start(&SHOP.replace("pushed: true", own)).await;
    for alarm in ["pager", "unheard-of"] {
        let push = Command::PushAlarm { alarm: name(alarm), state: AlarmState::Ok };
        refused(rig.send(push).await, "no_such_alarm");
    }
}
