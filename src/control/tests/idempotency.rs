//! Requests that may be repeated.

use super::*;
use crate::control::record::{IdempotencyRecord, text};
use crate::core::model::WallTime;

#[tokio::test]
async fn a_repeated_start_is_answered_with_the_first_rollout() {
    let rig = Rig::new().await;
    let id = id_of(start(&rig, "body").await.expect("started"));
    assert_eq!(id_of(start(&rig, "body").await.expect("repeated")), id);
    refused(start(&rig, "other body").await, "idempotency_mismatch");
    rig.until_over(&id, StateName::Succeeded).await;
    assert_eq!(id_of(start(&rig, "body").await.expect("repeated")), id);

    let rig = rig.restart(SHOP).await;
    assert_eq!(id_of(start(&rig, "body").await.expect("repeated")), id);
    refused(start(&rig, "other body").await, "idempotency_mismatch");
    assert_eq!(rig.handle.view().rollouts.len(), 1);
}

#[tokio::test]
async fn a_key_that_failed_can_be_used_again() {
    let rig = Rig::new().await;
    rig.saved().await;
    rig.store.fail(StoreError::Unavailable);
    refused(start(&rig, "body").await, "store_failed");
    rig.store.release();
    let id = id_of(start(&rig, "other body").await.expect("started"));
    let rig = rig.restart(SHOP).await;
    assert_eq!(id_of(start(&rig, "other body").await.expect("repeated")), id);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day_and_then_remembered_anew() {
    let remains = Remains::none();
    let day = 24 * 60 * 60 * 1_000;
    let at = WallTime::from_ms(Clock::start().wall().ms() - day);
    let rollout = RolloutId::from_draw(77);
    let old = IdempotencyRecord { body: Sha256::of(b"long ago"), rollout, at };
    let key = format!("idempotency/{}", Sha256::of(b"key"));
    put(&remains.store, &key, text(&old)).await;
    let forgotten = format!("idempotency/{}", Sha256::of(b"another key"));
    put(&remains.store, &forgotten, text(&old)).await;

    let rig = remains.start(SHOP).await;
    let id = id_of(start(&rig, "body").await.expect("started"));
    assert!(record(&rig.store, &forgotten).await.is_none());
    let rig = rig.restart(SHOP).await;
    assert_eq!(id_of(start(&rig, "body").await.expect("repeated")), id);
}

async fn start(rig: &Rig, body: &str) -> Result<Reply, Refusal> {
    let key = IdempotencyKey { scope: Sha256::of(b"key"), body: Sha256::of(body.as_bytes()) };
    let start = StartRollout { idempotency: Some(key), ..rig.start("quick") };
    rig.send(Command::StartRollout(Box::new(start))).await
}
