//! The tables, as an ordered list of steps from each schema number to the next.
//!
//! A step that was released is never edited: stores out there have taken it.

use rusqlite::Connection;

use super::fault::Fault;

/// The steps from an empty file; a file's schema number is how many of them it has taken.
pub(super) type Steps = &'static [&'static str];

/// Says that a SQLite file is a store of ours: `tide`.
pub(super) const APPLICATION_ID: i32 = 0x7469_6465;

/// The steps of this release.
pub(super) const STEPS: Steps = &["
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    checksum BLOB NOT NULL
) STRICT;
CREATE TABLE records (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    checksum BLOB NOT NULL
) STRICT;
CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    service TEXT,
    rollout TEXT,
    actor TEXT NOT NULL,
    origin TEXT NOT NULL,
    reason TEXT,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX ledger_by_service ON ledger (service, seq) WHERE service IS NOT NULL;
CREATE INDEX ledger_by_rollout ON ledger (rollout, seq) WHERE rollout IS NOT NULL;
"];

/// The schema number after all of these steps.
pub(super) fn version_of(steps: Steps) -> u32 {
    u32::try_from(steps.len()).expect("there are few steps")
}

/// Takes the steps that follow schema number `from`.
pub(super) fn take(connection: &Connection, steps: Steps, from: u32) -> Result<(), Fault> {
    let taken = usize::try_from(from).expect("a schema number fits");
    steps.iter().skip(taken).try_for_each(|step| connection.execute_batch(step))?;
    connection.pragma_update(None, "user_version", version_of(steps))?;
    Ok(())
}

/// Refuses a file whose tables are not exactly those of its schema number: nothing may be missing,
/// spelled differently, or added, a trigger least of all.
pub(super) fn check(connection: &Connection, steps: Steps, version: u32) -> Result<(), Fault> {
    let taken = usize::try_from(version).expect("a schema number fits");
    let model = Connection::open_in_memory()?;
    steps.iter().take(taken).try_for_each(|step| model.execute_batch(step))?;
    if objects(connection)? == objects(&model)? {
        return Ok(());
    }
    Err(Fault::Content(format!("its tables are not those of schema {version}")))
}

type Object = (String, String, String, Option<String>);

fn objects(connection: &Connection) -> Result<Vec<Object>, Fault> {
    let mut statement = connection
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
