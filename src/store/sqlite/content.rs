//! What is in the file: records, the ledger, and the summary that ties them together.
//!
//! SQLite does not checksum its pages. So each record carries a checksum, the ledger is a chain,
//! and the summary (revision, and head of the ledger) carries a checksum too: whatever is read was
//! written so, or is refused.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction as Writing, params};

use super::fault::Fault;
use crate::core::ledger::{Chain, Draft, Entry, Head};
use crate::core::model::{Sha256, WallTime};
use crate::store::transaction::{Writes, writes};
use crate::store::{
    Change, Committed, Key, LedgerQuery, Record, Snapshot, StoreError, Transaction,
};

/// What the store is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The revision of the last commit that wrote records.
    pub(super) revision: u64,
    /// The end of the ledger.
    pub(super) head: Head,
}

impl Summary {
    /// The summary of a store that was just made.
    pub(super) const EMPTY: Self = Self { revision: 0, head: Head::GENESIS };

    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        let mut statement = connection
            .prepare_cached("SELECT revision, seq, hash, checksum FROM meta WHERE id = 1")?;
        let (summary, checksum) = statement.query_row([], |row| {
            let head = Head { seq: number(row, 1)?, hash: digest(row, 2)? };
            Ok((Self { revision: number(row, 0)?, head }, digest(row, 3)?))
        })?;
        if summary.checksum() == checksum {
            return Ok(summary);
        }
        Err(Fault::Content("its summary does not match its checksum".to_owned()))
    }

    pub(super) fn write(self, connection: &Connection) -> Result<(), Fault> {
        let sql = "INSERT INTO meta (id, revision, seq, hash, checksum) VALUES (1, ?1, ?2, ?3, ?4)
            ON CONFLICT (id) DO UPDATE SET revision = ?1, seq = ?2, hash = ?3, checksum = ?4";
        connection.prepare_cached(sql)?.execute(params![
            self.revision.cast_signed(),
            self.head.seq.cast_signed(),
            self.head.hash.as_bytes(),
            self.checksum().as_bytes(),
        ])?;
        Ok(())
    }

    fn checksum(self) -> Sha256 {
        let numbers = [self.revision.to_be_bytes(), self.head.seq.to_be_bytes()].concat();
        Sha256::of(&[numbers.as_slice(), self.head.hash.as_bytes()].concat())
    }
}

/// Reads all records.
pub(super) fn load(connection: &Connection) -> Result<Snapshot, Fault> {
    let revision = Summary::read(connection)?.revision;
    let mut statement = connection
        .prepare_cached("SELECT key, value, version, checksum FROM records ORDER BY key")?;
    let mut rows = statement.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record(row)?);
    }
    match records.iter().find(|record| record.version > revision) {
        None => Ok(Snapshot { revision, records }),
        Some(record) => {
            let what = format!("record {} is newer than the store", record.key);
            Err(Fault::Content(what))
        }
    }
}

/// Reads a page of the ledger.
pub(super) fn ledger(connection: &Connection, query: &LedgerQuery) -> Result<Vec<Entry>, Fault> {
    let mut conditions = match (query.newest_first, query.after_seq) {
        (true, 0) => "?1 = 0".to_owned(),
        (true, _) => "seq < ?1".to_owned(),
        (false, _) => "seq > ?1".to_owned(),
    };
    // Every parameter occurs in every text, so that the same four are always bound.
    conditions.push_str(if query.service.is_some() {
        " AND service = ?3"
    } else {
        " AND ?3 IS NULL"
    });
    conditions.push_str(if query.rollout.is_some() {
        " AND rollout = ?4"
    } else {
        " AND ?4 IS NULL"
    });
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let sql = format!("{ENTRIES} WHERE {conditions} ORDER BY seq {order} LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        i64::try_from(query.after_seq).unwrap_or(i64::MAX),
        i64::try_from(query.page_length()).expect("a page is short"),
        query.service.as_ref().map(|service| service.as_str()),
        query.rollout.as_ref().map(|rollout| rollout.as_str()),
    ])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

/// Reads everything, and refuses what was not written so.
pub(super) fn check(connection: &Connection) -> Result<(), Fault> {
    load(connection)?;
    let mut statement = connection.prepare(&format!("{ENTRIES} ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    let mut chain = Chain::new();
    while let Some(row) = rows.next()? {
        chain.append(&entry(row)?).map_err(|broken| Fault::Content(broken.to_string()))?;
    }
    let (found, expected) = (chain.head(), Summary::read(connection)?.head);
    if found == expected {
        return Ok(());
    }
    let what = format!("its ledger ends with entry {}, not {}", found.seq, expected.seq);
    Err(Fault::Content(what))
}

/// Makes a change whole or not at all.
pub(super) fn commit(
    connection: &mut Connection,
    transaction: Transaction,
) -> Result<(Summary, Vec<Change>), Fault> {
    let Transaction { expect, puts, deletes, entries } = transaction;
    let writing = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut summary = Summary::read(&writing)?;
    for (key, expected) in expect {
        let found = version(&writing, &key)?;
        if !expected.holds(found) {
            return Err(StoreError::Conflict { key, expected, found }.into());
        }
    }
    let writes = writes(puts, deletes);
    summary.revision += u64::from(!writes.is_empty());
    let changes = write(&writing, writes, summary.revision)?;
    summary.head = append(&writing, entries, summary.head)?;
    summary.write(&writing)?;
    writing.commit()?;
    Ok((summary, changes))
}

impl From<Summary> for Committed {
    fn from(summary: Summary) -> Self {
        Self { revision: summary.revision, last_seq: summary.head.seq }
    }
}

fn version(connection: &Connection, key: &Key) -> Result<Option<u64>, Fault> {
    let mut statement = connection.prepare_cached("SELECT version FROM records WHERE key = ?1")?;
    Ok(statement.query_row([key.as_str()], |row| number(row, 0)).optional()?)
}

fn write(writing: &Writing<'_>, writes: Writes, revision: u64) -> Result<Vec<Change>, Fault> {
    let mut put = writing.prepare_cached(
        "INSERT OR REPLACE INTO records (key, value, version, checksum) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut delete = writing.prepare_cached("DELETE FROM records WHERE key = ?1")?;
    let mut changes = Vec::with_capacity(writes.len());
    for (key, value) in writes {
        match &value {
            Some(text) => put.execute(params![
                key.as_str(),
                text,
                revision.cast_signed(),
                record_checksum(key.as_str(), text, revision).as_bytes(),
            ])?,
            None => delete.execute([key.as_str()])?,
        };
        changes.push(Change { revision, key, value });
    }
    Ok(changes)
}

fn append(writing: &Writing<'_>, drafts: Vec<Draft>, mut head: Head) -> Result<Head, Fault> {
    let mut insert = writing.prepare_cached(
        "INSERT INTO ledger
            (seq, at_ms, service, rollout, actor, origin, reason, kind, detail, prev, hash)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for draft in drafts {
        let entry = draft.seal(head);
        insert.execute(params![
            entry.seq.cast_signed(),
            entry.at.ms().cast_signed(),
            entry.service.as_ref().map(|service| service.as_str()),
            entry.rollout.as_ref().map(|rollout| rollout.as_str()),
            entry.actor,
            entry.origin,
            entry.reason,
            entry.kind,
            entry.detail,
            entry.prev.as_bytes(),
            entry.hash.as_bytes(),
        ])?;
        head = entry.head();
    }
    Ok(head)
}

fn record(row: &Row<'_>) -> Result<Record, Fault> {
    let (text, value): (String, String) = (row.get(0)?, row.get(1)?);
    let version = number(row, 2)?;
    if record_checksum(&text, &value, version) != digest(row, 3)? {
        let what = format!("record {text:?} does not match its checksum");
        return Err(Fault::Content(what));
    }
    let key = text.parse().map_err(|error| Fault::Content(format!("record {text:?}: {error}")))?;
    Ok(Record { key, value, version })
}

fn entry(row: &Row<'_>) -> Result<Entry, Fault> {
    let seq = number(row, 0)?;
    let bad_name = |error| Fault::Content(format!("ledger entry {seq}: {error}"));
    let service: Option<String> = row.get(2)?;
    let rollout: Option<String> = row.get(3)?;
    Ok(Entry {
        seq,
        at: WallTime::from_ms(number(row, 1)?),
        service: service.map(TryInto::try_into).transpose().map_err(bad_name)?,
        rollout: rollout.map(TryInto::try_into).transpose().map_err(bad_name)?,
        actor: row.get(4)?,
        origin: row.get(5)?,
        reason: row.get(6)?,
        kind: row.get(7)?,
        detail: row.get(8)?,
        prev: digest(row, 9)?,
        hash: digest(row, 10)?,
    })
}

/// A record's checksum: over its version and its key's length, eight bytes each, big-endian, then
/// its key and its text.
fn record_checksum(key: &str, value: &str, version: u64) -> Sha256 {
    let length = u64::try_from(key.len()).expect("a length fits 64 bits");
    let numbers = [version.to_be_bytes(), length.to_be_bytes()].concat();
    Sha256::of(&[numbers.as_slice(), key.as_bytes(), value.as_bytes()].concat())
}

/// SQLite's integers are signed; ours go there and back bit by bit.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Sha256> {
    row.get(column).map(Sha256::from_bytes)
}

const ENTRIES: &str = "SELECT
    seq, at_ms, service, rollout, actor, origin, reason, kind, detail, prev, hash FROM ledger";
