//! The contract of a store as tests; every engine passes all of them.

use std::time::Duration;

use super::feed::Feed;
use super::{
    Change, Committed, Expect, Key, LedgerQuery, Record, Store, StoreError, Transaction, Watch,
    WatchError,
};
use crate::core::ledger::{Chain, Draft, Entry};
use crate::core::model::WallTime;

macro_rules! contract {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::store::MemoryStore::new()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("store.db");
                super::$test(&crate::store::SqliteStore::open(path).await.expect("open")).await;
            })*
        }
    };
}

contract! {
    a_new_store_is_empty
    what_was_put_is_loaded_in_the_order_of_keys
    each_commit_that_writes_takes_the_next_revision
    a_record_made_anew_is_not_mistaken_for_the_old_one
    a_commit_goes_through_only_if_every_expectation_holds
    a_refused_commit_changes_nothing
    of_many_writers_that_expect_the_same_version_one_wins
    the_ledger_is_one_chain_over_all_commits
    a_page_of_the_ledger_is_what_was_asked_for
    pages_follow_each_other_both_ways
    a_page_is_never_longer_than_the_limit
    a_commit_that_is_too_large_is_refused
    a_watch_gives_every_change_in_order
    a_watch_of_the_past_gives_what_it_missed_or_says_so
    a_watch_given_up_loses_nothing
}

pub(super) fn key(text: &str) -> Key {
    text.parse().expect("a valid key")
}

pub(super) fn put(name: &str, value: &str) -> Transaction {
    Transaction { puts: vec![(key(name), value.to_owned())], ..Transaction::default() }
}

pub(super) fn delete(name: &str) -> Transaction {
    Transaction { deletes: vec![key(name)], ..Transaction::default() }
}

fn expecting(name: &str, expect: Expect, transaction: Transaction) -> Transaction {
    let mut expected = transaction.expect;
    expected.push((key(name), expect));
    Transaction { expect: expected, ..transaction }
}

pub(super) fn draft(service: Option<&str>, rollout: Option<&str>, detail: &str) -> Draft {
    Draft {
        at: WallTime::from_ms(u64::MAX - 1),
        service: service.map(|name| name.parse().expect("valid")),
        rollout: rollout.map(|id| id.parse().expect("valid")),
        actor: "deployer".to_owned(),
        origin: "api 127.0.0.1".to_owned(),
        reason: service.map(str::to_owned),
        kind: "weight_raised".to_owned(),
        detail: detail.to_owned(),
    }
}

pub(super) fn record(draft: Draft) -> Transaction {
    Transaction { entries: vec![draft], ..Transaction::default() }
}

async fn commit(store: &dyn Store, transaction: Transaction) -> Committed {
    store.commit(transaction).await.expect("committed")
}

async fn page(store: &dyn Store, query: LedgerQuery) -> Vec<Entry> {
    store.ledger(query).await.expect("readable")
}

async fn next(watch: &mut Watch) -> Result<Change, WatchError> {
    tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("in time")
}

async fn a_new_store_is_empty(store: &dyn Store) {
    let snapshot = store.load().await.expect("readable");
    assert_eq!((snapshot.revision, snapshot.records), (0, vec![]));
    assert_eq!(page(store, LedgerQuery::default()).await, vec![]);
}

async fn what_was_put_is_loaded_in_the_order_of_keys(store: &dyn Store) {
    commit(store, put("service/b", "\"\u{1f30a}\"")).await;
    commit(store, put("service/a", "1")).await;
    commit(store, put("alarm/z", "")).await;
    commit(store, put("service/a", "2")).await;
    let record = |name: &str, value: &str, version| Record {
        key: key(name),
        value: value.to_owned(),
        version,
    };
    let expected = vec![
        record("alarm/z", "", 3),
        record("service/a", "2", 4),
        record("service/b", "\"\u{1f30a}\"", 1),
    ];
    let snapshot = store.load().await.expect("readable");
    assert_eq!((snapshot.revision, snapshot.records), (4, expected));
}

async fn each_commit_that_writes_takes_the_next_revision(store: &dyn Store) {
    let check = |committed: Committed, revision, last_seq| {
        assert_eq!(committed, Committed { revision, last_seq });
    };
    check(commit(store, put("service/a", "1")).await, 1, 0);
    check(commit(store, record(draft(None, None, "{}"))).await, 1, 1);
    check(commit(store, Transaction::default()).await, 1, 1);
    check(commit(store, delete("service/absent")).await, 2, 1);
    let both = Transaction { entries: vec![draft(None, None, "{}")], ..put("service/a", "2") };
    check(commit(store, both).await, 3, 2);
    let several = Transaction {
        puts: vec![(key("a/a"), "1".to_owned()), (key("a/b"), "1".to_owned())],
        ..delete("service/a")
    };
    check(commit(store, several).await, 4, 2);
    let versions = store.load().await.expect("readable").records;
    assert_eq!(versions.iter().map(|record| record.version).collect::<Vec<_>>(), [4, 4]);
}

async fn a_record_made_anew_is_not_mistaken_for_the_old_one(store: &dyn Store) {
    let old = commit(store, put("service/a", "old")).await.revision;
    commit(store, delete("service/a")).await;
    let new = commit(store, expecting("service/a", Expect::Absent, put("service/a", "new"))).await;
    let late = expecting("service/a", Expect::Version(old), put("service/a", "late"));
    let expected = StoreError::Conflict {
        key: key("service/a"),
        expected: Expect::Version(old),
        found: Some(new.revision),
    };
    assert_eq!(store.commit(late).await, Err(expected));
}

async fn a_commit_goes_through_only_if_every_expectation_holds(store: &dyn Store) {
    let first = commit(store, put("service/a", "1")).await.revision;
    let both = |a: Expect, b: Expect| {
        expecting("service/b", b, expecting("service/a", a, put("service/c", "x")))
    };
    let check = async |a, b, found: Result<u64, (&str, Option<u64>)>| {
        let result = store.commit(both(a, b)).await.map(|committed| committed.revision);
        let result = result.map_err(|error| {
            let StoreError::Conflict { key, found, .. } = error else { panic!("{error}") };
            (key.to_string(), found)
        });
        assert_eq!(result, found.map_err(|(key, found)| (key.to_owned(), found)), "{a} {b}");
    };
    check(Expect::Version(first), Expect::Absent, Ok(2)).await;
    check(Expect::Any, Expect::Any, Ok(3)).await;
    check(Expect::Absent, Expect::Absent, Err(("service/a", Some(first)))).await;
    check(Expect::Version(first), Expect::Version(7), Err(("service/b", None))).await;
    check(Expect::Version(first + 1), Expect::Absent, Err(("service/a", Some(first)))).await;
    check(Expect::Version(first), Expect::Absent, Ok(4)).await;
}

async fn a_refused_commit_changes_nothing(store: &dyn Store) {
    commit(store, Transaction { entries: vec![draft(None, None, "1")], ..put("service/a", "1") })
        .await;
    let (before, ledger) =
        (store.load().await.expect("readable"), page(store, LedgerQuery::default()).await);
    let mut watch = store.watch(before.revision).await.expect("watched");
    let refused = Transaction {
        expect: vec![(key("service/a"), Expect::Any), (key("service/b"), Expect::Version(1))],
        puts: vec![(key("service/a"), "2".to_owned()), (key("service/b"), "2".to_owned())],
        deletes: vec![key("service/c")],
        entries: vec![draft(None, None, "2")],
    };
    assert!(matches!(store.commit(refused).await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.load().await.expect("readable"), before);
    assert_eq!(page(store, LedgerQuery::default()).await, ledger);
    let after = commit(store, put("service/d", "3")).await.revision;
    assert_eq!(after, before.revision + 1);
    assert_eq!(next(&mut watch).await.expect("a change").key, key("service/d"));
}

async fn of_many_writers_that_expect_the_same_version_one_wins(store: &dyn Store) {
    let version = commit(store, put("service/a", "0")).await.revision;
    let attempt = |value: &str| {
        let put = put("service/a", value);
        store.commit(expecting("service/a", Expect::Version(version), put))
    };
    let results = tokio::join!(attempt("1"), attempt("2"), attempt("3"), attempt("4"));
    let won = [results.0, results.1, results.2, results.3].iter().filter(|r| r.is_ok()).count();
    assert_eq!(won, 1);
    assert_eq!(store.load().await.expect("readable").revision, version + 1);
}

async fn the_ledger_is_one_chain_over_all_commits(store: &dyn Store) {
    for number in 0..10 {
        let drafts =
            (0..number % 4).map(|part| draft(Some("shop"), None, &format!("{number}.{part}")));
        let transaction = Transaction { entries: drafts.collect(), ..put("service/a", "1") };
        commit(store, transaction).await;
    }
    let entries = page(store, LedgerQuery::default()).await;
    let mut chain = Chain::new();
    entries.iter().for_each(|entry| chain.append(entry).expect("unbroken"));
    assert_eq!(chain.head().seq, 13);
    assert_eq!(entries[12].detail, "9.0");
    assert_eq!(entries[12].at, WallTime::from_ms(u64::MAX - 1));
}

const FIRST: &str = "d-AAAAAAAAA";
const SECOND: &str = "d-BBBBBBBBB";

/// Entries 1 to 6.
async fn six_entries(store: &dyn Store) {
    for (service, rollout) in [
        (None, None),
        (Some("shop"), None),
        (Some("shop"), Some(FIRST)),
        (Some("cart"), Some(SECOND)),
        (Some("shop"), Some(FIRST)),
        (Some("shop"), None),
    ] {
        commit(store, record(draft(service, rollout, "{}"))).await;
    }
}

async fn a_page_of_the_ledger_is_what_was_asked_for(store: &dyn Store) {
    six_entries(store).await;
    let check =
        async |after_seq, limit, service: &str, rollout: &str, newest_first, expected: &[u64]| {
            let query = LedgerQuery {
                after_seq,
                limit,
                service: service.parse().ok(),
                rollout: rollout.parse().ok(),
                newest_first,
            };
            let found = page(store, query.clone()).await;
            let found: Vec<u64> = found.iter().map(|entry| entry.seq).collect();
            assert_eq!(found, expected, "{query:?}");
        };
    check(0, 9, "", "", false, &[1, 2, 3, 4, 5, 6]).await;
    check(0, 9, "", "", true, &[6, 5, 4, 3, 2, 1]).await;
    check(2, 2, "", "", false, &[3, 4]).await;
    check(5, 2, "", "", true, &[4, 3]).await;
    check(0, 9, "shop", "", false, &[2, 3, 5, 6]).await;
    check(0, 2, "shop", "", true, &[6, 5]).await;
    check(0, 9, "", FIRST, false, &[3, 5]).await;
    check(3, 9, "shop", FIRST, false, &[5]).await;
    check(0, 9, "cart", FIRST, false, &[]).await;
    check(0, 9, "unknown", "", true, &[]).await;
    check(0, 0, "", "", false, &[]).await;
    check(6, 9, "", "", false, &[]).await;
    check(u64::MAX, 9, "", "", false, &[]).await;
    check(u64::MAX, 1, "", "", true, &[6]).await;
    check(1, 9, "", "", true, &[]).await;
}

async fn pages_follow_each_other_both_ways(store: &dyn Store) {
    six_entries(store).await;
    for (newest_first, expected) in [(false, [2, 3, 5, 6]), (true, [6, 5, 3, 2])] {
        let (mut after_seq, mut found) = (0, Vec::new());
        loop {
            let service = Some("shop".parse().expect("valid"));
            let query =
                LedgerQuery { after_seq, limit: 3, service, newest_first, ..Default::default() };
            let entries = page(store, query).await;
            let Some(last) = entries.last() else { break };
            after_seq = last.seq;
            found.extend(entries.iter().map(|entry| entry.seq));
        }
        assert_eq!(found, expected);
    }
}

async fn a_page_is_never_longer_than_the_limit(store: &dyn Store) {
    let entries = vec![draft(None, None, "{}"); LedgerQuery::LIMIT + 1];
    commit(store, Transaction { entries, ..Transaction::default() }).await;
    let query = LedgerQuery { limit: usize::MAX, ..LedgerQuery::default() };
    assert_eq!(page(store, query).await.len(), LedgerQuery::LIMIT);
}

async fn a_commit_that_is_too_large_is_refused(store: &dyn Store) {
    let entries = vec![draft(None, None, "{}"); Transaction::ITEM_LIMIT + 1];
    let refused = store.commit(Transaction { entries, ..put("service/a", "1") }).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(store.load().await.expect("readable").revision, 0);
}

async fn a_watch_gives_every_change_in_order(store: &dyn Store) {
    let mut watch = store.watch(0).await.expect("watched");
    commit(store, Transaction { deletes: vec![key("b/b")], ..put("a/a", "1") }).await;
    commit(store, record(draft(None, None, "{}"))).await;
    commit(store, put("a/a", "2")).await;
    commit(store, delete("a/a")).await;
    let change = |revision, name: &str, value: Option<&str>| Change {
        revision,
        key: key(name),
        value: value.map(str::to_owned),
    };
    for expected in [
        change(1, "a/a", Some("1")),
        change(1, "b/b", None),
        change(2, "a/a", Some("2")),
        change(3, "a/a", None),
    ] {
        assert_eq!(next(&mut watch).await, Ok(expected));
    }
}

async fn a_watch_of_the_past_gives_what_it_missed_or_says_so(store: &dyn Store) {
    for number in 0..3 {
        commit(store, put("a/a", &number.to_string())).await;
    }
    let mut behind = store.watch(1).await.expect("watched");
    assert_eq!(next(&mut behind).await.expect("a change").revision, 2);
    let many = (0..Feed::CHANGE_LIMIT).map(|number| (key(&format!("a/{number}")), String::new()));
    commit(store, Transaction { puts: many.collect(), ..Transaction::default() }).await;
    assert_eq!(next(&mut behind).await, Err(WatchError::Lagged));
    let mut too_old = store.watch(2).await.expect("watched");
    assert_eq!(next(&mut too_old).await, Err(WatchError::Lagged));
    let revision = store.load().await.expect("readable").revision;
    let mut anew = store.watch(revision).await.expect("watched");
    commit(store, put("a/a", "last")).await;
    assert_eq!(next(&mut anew).await.expect("a change").value.as_deref(), Some("last"));
}

async fn a_watch_given_up_loses_nothing(store: &dyn Store) {
    let mut watch = store.watch(0).await.expect("watched");
    let given_up = tokio::time::timeout(Duration::from_millis(1), watch.next()).await;
    assert!(given_up.is_err());
    commit(store, put("a/a", "1")).await;
    assert_eq!(next(&mut watch).await.expect("a change").revision, 1);
}
