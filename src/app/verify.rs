//! `tidegate ledger verify --store`: reads a ledger that no process has open.

use std::path::Path;

use tokio::runtime::Builder;

use crate::core::ledger::{Chain, Head, LedgerQuery};
use crate::store::{SqliteStore, Store as _};

/// Reads the whole ledger of a database and checks every entry against the one before. Blocks.
///
/// # Errors
/// A sentence that names the first bad entry, or what else keeps the database from being read.
pub fn verify_ledger(file: &Path) -> Result<Head, String> {
    if !file.is_file() {
        return Err(format!("{}: there is no such file", file.display()));
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(read(file))
}

async fn read(file: &Path) -> Result<Head, String> {
    // Opening reads everything, and names the first entry that was changed.
    let store = SqliteStore::open(file).await.map_err(|error| error.to_string())?;
    let mut chain = Chain::new();
    loop {
        let query = LedgerQuery { after_seq: chain.head().seq, ..LedgerQuery::default() };
        let page = store.ledger(query).await.map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Ok(chain.head());
        }
        for entry in &page {
            chain.append(entry).map_err(|broken| broken.to_string())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Draft;
    use crate::core::model::WallTime;
    use crate::store::Transaction;

    fn draft(kind: &str) -> Draft {
        Draft {
            at: WallTime::from_ms(1),
            service: None,
            rollout: None,
            actor: "admin".to_owned(),
            origin: "test".to_owned(),
            reason: None,
            kind: kind.to_owned(),
            detail: "{}".to_owned(),
        }
    }

    #[test]
    fn a_changed_entry_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.db");
        assert!(verify_ledger(&file).is_err_and(|why| why.contains("no such file")));
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = SqliteStore::open(&file).await.expect("made");
            let entries = vec![draft("one"), draft("two"), draft("three")];
            let transaction = Transaction { entries, ..Transaction::default() };
            store.commit(transaction).await.expect("saved");
        });
        assert_eq!(verify_ledger(&file).map(|head| head.seq), Ok(3));
        let connection = rusqlite::Connection::open(&file).expect("opened");
        let changed = connection.execute("UPDATE ledger SET actor = 'x' WHERE seq = 2", []);
        assert_eq!(changed, Ok(1));
        drop(connection);
        let why = verify_ledger(&file).expect_err("changed");
        assert!(why.contains("ledger entry 2"), "{why}");
    }
}
