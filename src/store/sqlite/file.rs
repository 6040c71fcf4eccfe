//! The database file: how it comes to be, is checked, is brought up to date, and is opened.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::content::{self, Summary};
use super::fault::Fault;
use super::schema::{self, APPLICATION_ID, Steps};
use crate::store::StoreError;
use crate::store::replacement::{OWNER_ONLY, Replacement, beside};

/// A database file that this process alone may open.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    steps: Steps,
    /// Held for as long as this exists; the system releases it however the process ends.
    _lock: File,
}

impl DatabaseFile {
    /// Takes the lock, and makes the file if there is none.
    pub(super) fn claim(path: PathBuf, steps: Steps) -> Result<Self, Fault> {
        let lock = lock(&path)?;
        let file = Self { path, steps, _lock: lock };
        if !file.path.try_exists()? {
            file.create()?;
        }
        Ok(file)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks the file, brings it up to date, and opens it for writing.
    pub(super) fn open(&self) -> Result<Connection, Fault> {
        let found = self.check()?;
        let mut connection = open_for_writing(&self.path)?;
        self.flush(&connection)?;
        if found < schema::version_of(self.steps) {
            self.migrate(&mut connection, found)?;
        }
        Ok(connection)
    }

    /// Builds an empty store beside its place, so that a crash cannot leave half of one there.
    fn create(&self) -> Result<(), Fault> {
        if beside(&self.path, "-wal").try_exists()? {
            let what = "the file is missing, but its write-ahead log is there";
            return Err(Fault::Content(what.to_owned()));
        }
        let replacement = Replacement::begin(&self.path)?;
        let mut connection = open_for_writing(replacement.path())?;
        let writing = connection.transaction()?;
        writing.pragma_update(None, "application_id", APPLICATION_ID)?;
        schema::take(&writing, self.steps, 0)?;
        Summary::EMPTY.write(&writing)?;
        writing.commit()?;
        connection.close().map_err(|(_, error)| error)?;
        replacement.finish()?;
        Ok(())
    }

    /// Reads all of the file without write access, and says its schema number.
    fn check(&self) -> Result<u32, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        let application: i32 = read(&connection, "application_id")?;
        if application != APPLICATION_ID {
            return Err(Fault::Content("it is not a store of Tidegate".to_owned()));
        }
        let (found, supported) =
            (read(&connection, "user_version")?, schema::version_of(self.steps));
        if found > supported {
            let path = self.path.clone();
            return Err(StoreError::Newer { path, found, supported }.into());
        }
        if found == 0 {
            return Err(Fault::Content("it has no schema number".to_owned()));
        }
        schema::check(&connection, self.steps, found)?;
        // Slower than `quick_check`, but only this compares the indexes with their tables.
        let structure: String = read(&connection, "integrity_check")?;
        if structure != "ok" {
            return Err(Fault::Content(structure));
        }
        if found == supported {
            content::check(&connection)?;
        }
        Ok(found)
    }

    /// Moves the write-ahead log into the database and empties it.
    ///
    /// After a failed flush the log may hold frames that can be read but are not on the disk, and
    /// whatever is appended after them would be lost with them. Written into the database and
    /// flushed there, they are safe.
    fn flush(&self, connection: &Connection) -> Result<(), Fault> {
        let busy: i32 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        match busy {
            0 => Ok(()),
            _ => Err(StoreError::Locked { path: self.path.clone() }.into()),
        }
    }

    /// Takes the missing steps, all or none, with a backup first.
    fn migrate(&self, connection: &mut Connection, found: u32) -> Result<(), Fault> {
        let backup = Replacement::begin(&beside(&self.path, &format!(".backup-v{found}")))?;
        let place = backup.path().to_str().ok_or_else(|| {
            Fault::Io(std::io::Error::other("the path is not UTF-8, so no backup can be made"))
        })?;
        connection.execute("VACUUM INTO ?1", [place])?;
        backup.finish()?;
        let writing = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::take(&writing, self.steps, found)?;
        content::check(&writing)?;
        writing.commit()?;
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, Fault> {
    let place = beside(path, ".lock");
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(OWNER_ONLY).open(place)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }.into()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Opens a file that is there, so that a commit is durable when it returns.
fn open_for_writing(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let what = format!("the file system allows only journal mode {mode}");
        return Err(std::io::Error::other(what).into());
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn read<T: rusqlite::types::FromSql>(connection: &Connection, pragma: &str) -> Result<T, Fault> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}
