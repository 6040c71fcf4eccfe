//! What holds for a store in a file beyond the contract: durability, damage, locking, upgrades.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rusqlite::Connection;
use tempfile::TempDir;

use super::SqliteStore;
use super::engine::Engine;
use super::fault::Fault;
use super::schema::{STEPS, Steps};
use crate::core::ledger::{Chain, Entry};
use crate::store::contract::{delete, draft, key, put, record};
use crate::store::replacement::{OWNER_ONLY, beside};
use crate::store::{LedgerQuery, Snapshot, Store, StoreError, Transaction, WatchError};

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.db");
    (folder, path)
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.expect("opened")
}

async fn contents(store: &SqliteStore) -> (Snapshot, Vec<Entry>) {
    let ledger = store.ledger(LedgerQuery::default()).await.expect("readable");
    (store.load().await.expect("readable"), ledger)
}

/// A closed store with some of everything in it.
async fn filled(path: &Path) -> (Snapshot, Vec<Entry>) {
    let store = open(path).await;
    for number in 0..40 {
        let detail = format!("{{\"green_bp\":{number}}}");
        let name = format!("service/s{}", number % 13);
        let transaction = Transaction {
            entries: vec![draft(Some("shop"), Some("d-ABCDEFGHI"), &detail)],
            ..put(&name, &"x".repeat(number * 50))
        };
        store.commit(transaction).await.expect("committed");
    }
    store.commit(delete("service/s3")).await.expect("committed");
    contents(&store).await
}

fn remove_logs(path: &Path) {
    for suffix in ["-wal", "-shm"] {
        drop(fs::remove_file(beside(path, suffix)));
    }
}

#[tokio::test]
async fn every_acknowledged_write_survives_being_opened_again() {
    let (_folder, path) = place();
    let mut revision = 0;
    for round in 0..5 {
        let store = open(&path).await;
        assert_eq!(store.load().await.expect("readable").revision, revision);
        let transaction = Transaction {
            entries: vec![draft(None, None, "{}")],
            ..put(&format!("service/r{round}"), "{}")
        };
        revision = store.commit(transaction).await.expect("committed").revision;
    }
    let (snapshot, ledger) = contents(&open(&path).await).await;
    assert_eq!((snapshot.records.len(), ledger.len()), (5, 5));
    let mut chain = Chain::new();
    ledger.iter().for_each(|entry| chain.append(entry).expect("unbroken"));
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_there() {
    let (folder, path) = place();
    let store = open(&path).await;
    store.commit(put("service/a", "1")).await.expect("committed");
    store.commit(record(draft(None, None, "{}"))).await.expect("committed");
    // The files as they are while the store is open are what a killed process leaves.
    let left = folder.path().join("left.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&path, suffix), beside(&left, suffix)).expect("copied");
    }
    assert_eq!(contents(&open(&left).await).await, contents(&store).await);
}

#[tokio::test]
async fn a_second_opening_is_refused_at_once() {
    let (_folder, path) = place();
    let first = open(&path).await;
    let second = SqliteStore::open(&path).await.expect_err("refused");
    assert_eq!(second, StoreError::Locked { path: path.clone() });
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    open(&path).await;
}

#[tokio::test]
async fn every_file_is_its_owners_alone() {
    let (folder, path) = place();
    let store = open(&path).await;
    store.commit(put("service/a", "1")).await.expect("committed");
    let files = fs::read_dir(folder.path()).expect("there").map(|file| file.expect("there"));
    let modes: Vec<u32> =
        files.map(|file| file.metadata().expect("there").permissions().mode() & 0o777).collect();
    assert!(modes.len() >= 3, "database, log and lock: {modes:?}");
    assert!(modes.iter().all(|mode| *mode == OWNER_ONLY), "{modes:?}");
}

#[tokio::test]
async fn what_a_crash_left_of_a_new_store_does_not_matter() {
    let (_folder, path) = place();
    fs::write(beside(&path, ".new"), "half of").expect("written");
    open(&path).await.commit(put("service/a", "1")).await.expect("committed");
    assert!(!beside(&path, ".new").exists());
}

#[tokio::test]
async fn a_file_that_is_no_store_is_left_as_it_is() {
    let (_folder, path) = place();
    let other = {
        let connection = Connection::open(&path).expect("made");
        connection.execute_batch("CREATE TABLE t (x)").expect("made");
        drop(connection);
        fs::read(&path).expect("there")
    };
    for bytes in [b"".to_vec(), b"not a database at all".repeat(300), other] {
        fs::write(&path, &bytes).expect("written");
        let error = SqliteStore::open(&path).await.expect_err("refused");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("tidegate.db"), "{error}");
        assert_eq!(fs::read(&path).expect("there"), bytes);
    }
}

#[tokio::test]
async fn a_log_without_its_database_is_not_overlaid_with_a_new_store() {
    let (_folder, path) = place();
    fs::write(beside(&path, "-wal"), "of a store that somebody removed").expect("written");
    let error = SqliteStore::open(&path).await.expect_err("refused");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(!path.exists());
}

/// Opens a damaged file: what is opened must hold what was written, what is refused must be left
/// as it is.
async fn check_damaged(
    path: &Path,
    bytes: &[u8],
    good: &(Snapshot, Vec<Entry>),
    what: &str,
) -> bool {
    remove_logs(path);
    fs::write(path, bytes).expect("written");
    match SqliteStore::open(path).await {
        Ok(store) => {
            assert_eq!(&contents(&store).await, good, "{what}");
            true
        }
        Err(error) => {
            assert!(
                matches!(error, StoreError::Corrupt { .. } | StoreError::Newer { .. }),
                "{what}: {error}"
            );
            assert!(fs::read(path).expect("there") == bytes, "{what}: modified");
            false
        }
    }
}

#[tokio::test]
async fn a_file_cut_short_is_refused() {
    let (_folder, path) = place();
    let good = filled(&path).await;
    let bytes = fs::read(&path).expect("there");
    let cuts = (0..bytes.len()).step_by(1_024).chain([1, 15, 99, bytes.len() - 1]);
    for cut in cuts {
        let opened = check_damaged(&path, &bytes[..cut], &good, &format!("cut at {cut}")).await;
        assert!(!opened, "cut at {cut}");
    }
    assert!(check_damaged(&path, &bytes, &good, "undamaged").await);
}

#[tokio::test]
async fn flipped_bits_are_refused_or_harmless() {
    let (_folder, path) = place();
    let good = filled(&path).await;
    let bytes = fs::read(&path).expect("there");
    let seed = 0x7469_6465;
    let mut random = SmallRng::seed_from_u64(seed);
    // Half of them in the header and the schema, where every byte matters most.
    for round in 0..240 {
        let end = if round % 2 == 0 { 4_096.min(bytes.len()) } else { bytes.len() };
        let (at, bit) = (random.random_range(0..end), random.next_u32() % 8);
        let mut bad = bytes.clone();
        bad[at] ^= 1 << bit;
        check_damaged(&path, &bad, &good, &format!("seed {seed}: byte {at}, bit {bit}")).await;
    }
}

#[tokio::test]
async fn a_change_made_with_another_tool_is_refused() {
    for sql in [
        "UPDATE records SET value = '{}' WHERE key = 'service/s5'",
        "UPDATE records SET version = version - 1 WHERE key = 'service/s5'",
        "UPDATE ledger SET actor = 'nobody' WHERE seq = 7",
        "DELETE FROM ledger WHERE seq = 7",
        "DELETE FROM ledger WHERE seq > 30",
        "UPDATE meta SET revision = revision - 1",
        "DELETE FROM meta",
        "CREATE TRIGGER t AFTER INSERT ON ledger BEGIN DELETE FROM records; END",
    ] {
        let (_folder, path) = place();
        filled(&path).await;
        let connection = Connection::open(&path).expect("opened");
        connection.execute_batch(sql).expect(sql);
        connection.close().expect("closed");
        let error = SqliteStore::open(&path).await.expect_err(sql);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{sql}: {error}");
    }
}

const NEWER: Steps = &[STEPS[0], "CREATE TABLE extra (x INTEGER NOT NULL) STRICT;"];
const FAILING: Steps = &[STEPS[0], "CREATE TABLE extra (x INTEGER) STRICT; DELETE FROM meta;"];

#[tokio::test]
async fn a_newer_store_is_left_as_it_is() {
    let (_folder, path) = place();
    drop(SqliteStore::open_with(path.clone(), NEWER).await.expect("opened"));
    let bytes = fs::read(&path).expect("there");
    let error = SqliteStore::open(&path).await.expect_err("refused");
    assert_eq!(error, StoreError::Newer { path: path.clone(), found: 2, supported: 1 });
    assert_eq!(fs::read(&path).expect("there"), bytes);
}

#[tokio::test]
async fn an_older_store_is_brought_up_to_date_after_a_backup() {
    let (_folder, path) = place();
    let good = filled(&path).await;
    let store = SqliteStore::open_with(path.clone(), NEWER).await.expect("brought up to date");
    assert_eq!(contents(&store).await, good);
    drop(store);
    let backup = beside(&path, ".backup-v1");
    let mode = fs::metadata(&backup).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, OWNER_ONLY);
    fs::rename(&backup, &path).expect("restored");
    assert_eq!(contents(&open(&path).await).await, good);
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_older_store() {
    let (_folder, path) = place();
    let good = filled(&path).await;
    let error = SqliteStore::open_with(path.clone(), FAILING).await.expect_err("refused");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(contents(&open(&path).await).await, good);
}

#[test]
fn a_full_disk_is_named_and_the_store_goes_on_when_there_is_space() {
    let (_folder, path) = place();
    let mut engine = Engine::open(path, STEPS).expect("opened");
    let limit_pages = |engine: &mut Engine, pages: u32| {
        let limit = |connection: &mut Connection| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            Ok(connection.query_row(&sql, [], |row| row.get::<_, u32>(0))?)
        };
        engine.run(limit).expect("limited");
    };
    engine.commit(put("service/a", "1")).expect("committed");
    limit_pages(&mut engine, 1);
    let large = put("service/b", &"x".repeat(100_000));
    assert_eq!(engine.commit(large.clone()), Err(StoreError::Full));
    let snapshot = engine.load().expect("readable");
    assert_eq!((snapshot.revision, snapshot.records.len()), (1, 1));
    limit_pages(&mut engine, 1_000_000);
    assert_eq!(engine.commit(large).expect("committed").revision, 2);
}

fn break_connection(engine: &mut Engine) {
    let broken = engine.run(|_| Err::<(), _>(Fault::Io(std::io::Error::other("a failed flush"))));
    assert!(matches!(broken, Err(StoreError::Io { .. })), "{broken:?}");
}

#[test]
fn after_an_io_error_the_file_is_opened_and_checked_again() {
    let (_folder, path) = place();
    let mut engine = Engine::open(path.clone(), STEPS).expect("opened");
    engine.commit(put("service/a", "1")).expect("committed");
    break_connection(&mut engine);
    assert_eq!(engine.commit(put("service/a", "2")).expect("committed").revision, 2);
    break_connection(&mut engine);
    fs::write(&path, "something else").expect("written");
    for _ in 0..2 {
        assert!(matches!(engine.load(), Err(StoreError::Corrupt { .. })));
    }
    assert_eq!(fs::read(&path).expect("there"), b"something else");
}

#[tokio::test]
async fn watchers_hear_of_a_commit_that_was_made_after_all() {
    let (_folder, path) = place();
    let mut engine = Engine::open(path, STEPS).expect("opened");
    let mut watch = engine.feed().watch(0);
    let unanswered = engine.run(|connection| {
        super::content::commit(connection, put("service/a", "1"))?;
        Err::<(), _>(Fault::Io(std::io::Error::other("a failed flush")))
    });
    assert!(unanswered.is_err());
    let snapshot = engine.load().expect("readable");
    assert_eq!((snapshot.revision, &snapshot.records[0].key), (1, &key("service/a")));
    assert_eq!(watch.next().await, Err(WatchError::Lagged));
}

#[test]
fn a_file_that_has_lost_an_acknowledged_commit_is_refused() {
    let (folder, path) = place();
    let mut engine = Engine::open(path.clone(), STEPS).expect("opened");
    let older = folder.path().join("older.db");
    fs::copy(&path, &older).expect("copied");
    engine.commit(put("service/a", "1")).expect("committed");
    break_connection(&mut engine);
    remove_logs(&path);
    fs::rename(&older, &path).expect("put in its place");
    let error = engine.load().expect_err("refused");
    assert!(error.to_string().contains("revision 1 was acknowledged"), "{error}");
}
