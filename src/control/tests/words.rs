//! Short words for what the tests say often: names, commands, records, answers.

use super::super::{Command, Refusal, Reply, Request, RoleChange};
use crate::core::model::{RolloutId, Target, Weight};
use crate::core::rollout::Actor;
use crate::store::{Faulty, Key, MemoryStore, Store as _, StoreError, Transaction};

/// A record of the store with its version there; `None` if there is none.
pub(super) async fn record(
    store: &Faulty<MemoryStore>,
    key: &str,
) -> Option<(serde_json::Value, u64)> {
    let records = store.inner().load().await.unwrap().records;
    let found = records.into_iter().find(|record| record.key.as_str() == key)?;
    Some((serde_json::from_str(&found.value).unwrap(), found.version))
}

/// Puts a record into the store.
pub(super) async fn put(store: &Faulty<MemoryStore>, key: &str, value: String) {
    let key: Key = key.parse().unwrap();
    let transaction = Transaction { puts: vec![(key, value)], ..Transaction::default() };
    store.inner().commit(transaction).await.unwrap();
}

pub(super) fn actor() -> Actor {
    Actor { name: "ann".to_owned(), origin: "test".to_owned() }
}

pub(super) fn request(command: Command) -> Request {
    Request { command, actor: actor(), reason: Some("because".to_owned()), if_match: None }
}

pub(super) fn split(green: &str) -> Command {
    Command::SetSplit { service: name("shop"), green: percent(green) }
}

pub(super) fn roles(change: RoleChange) -> Command {
    Command::Roles { service: name("shop"), change }
}

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn percent(text: &str) -> Weight {
    name(text)
}

pub(super) fn targets(ports: &[u16]) -> Vec<Target> {
    ports.iter().map(|port| Target { address: name(&format!("127.0.0.1:{port}")) }).collect()
}

/// The rollout that an answer is about.
pub(super) fn id_of(reply: Reply) -> RolloutId {
    let Reply::Started { rollout } = reply else { panic!("{reply:?}") };
    rollout.id.clone()
}

/// Whether an answer says that the change is saved.
pub(super) fn persisted(reply: &Reply) -> bool {
    let (Reply::Service { persisted, .. } | Reply::Rollout { persisted, .. }) = reply else {
        panic!("{reply:?}")
    };
    *persisted
}

pub(super) fn refused(answer: Result<Reply, Refusal>, code: &str) -> Refusal {
    let refusal = answer.expect_err("refused");
    assert_eq!(refusal.code(), code, "{refusal}");
    refusal
}

pub(super) fn outage() -> StoreError {
    StoreError::Full
}
