//! The file: one redb database in a folder that one process at a time has open.
//!
//! It keeps the machine's rows in one table and knows nothing of what they mean, but for
//! the first, which names the format.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableHandle,
};

use super::machine::{Machine, Restoring, Row};
use crate::error::QueueError;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// The row that says what the others are. No other row's key begins with 0.
const FORMAT_KEY: &[u8] = &[0];
const FORMAT: &[u8] = b"bulkhead queue 1";
/// The database's name in its folder.
const DATABASE: &str = "queue.redb";
/// The name of the file that is locked while the folder is in use.
const LOCK: &str = "lock";
/// Memory for pages of the file. What tasks need is in the machine, so few are read.
const CACHE_BYTES: usize = 64 << 20;

/// What the folder's user may do with a folder that is made, and nobody else: in it are
/// everybody's tasks.
const PRIVATE_FOLDER: u32 = 0o700;

/// The same of its files.
const PRIVATE: u32 = 0o600;

/// An open folder.
pub(super) struct RowFile {
    database: Option<Database>,
    path: PathBuf,
    /// Held as long as this is.
    _lock: File,
}

impl RowFile {
    /// Open a folder, made if there is none, and read the machine from it.
    pub(super) fn open(folder: &Path) -> Result<(Self, Machine), QueueError> {
        let cannot = |what: &str, e: &dyn std::fmt::Display| {
            QueueError::Refused(format!("cannot {what} `{}`: {e}", folder.display()))
        };
        let mut made = DirBuilder::new();
        made.recursive(true).mode(PRIVATE_FOLDER);
        made.create(folder).map_err(|e| cannot("make the folder", &e))?;
        let lock = File::options()
            .mode(PRIVATE)
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))
            .map_err(|e| cannot("write in the folder", &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(QueueError::InUse { folder: folder.to_owned() });
            }
            Err(TryLockError::Error(e)) => return Err(cannot("lock the folder", &e)),
        }
        let path = folder.join(DATABASE);
        let database = open_database(&path)?;
        let machine = read(&database).map_err(|reason| damaged(&path, &reason))?;
        Ok((Self { database: Some(database), path, _lock: lock }, machine))
    }

    /// Write rows in one transaction; they are on disk when this returns. After an error the
    /// database is opened anew, since it refuses everything from then on.
    pub(super) fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Result<(), QueueError> {
        if self.database.is_none() {
            self.database = Some(open_database(&self.path)?);
        }
        let Some(database) = &self.database else { return Ok(()) };
        let written = write(database, rows);
        if written.is_err() {
            self.database = None;
        }
        written.map_err(|e| {
            QueueError::Unavailable(format!("`{}` cannot be written: {e}", self.path.display()))
        })
    }
}

fn write<'a>(database: &Database, rows: impl Iterator<Item = &'a Row>) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // The second sync keeps a payload that was made for it from passing for a commit when
    // the machine loses power at the right moment.
    transaction.set_two_phase_commit(true);
    {
        let mut table = transaction.open_table(ROWS)?;
        for row in rows {
            match &row.value {
                Some(value) => table.insert(&row.key[..], &value[..])?,
                None => table.remove(&row.key[..])?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn open_database(path: &Path) -> Result<Database, QueueError> {
    // An empty file is a new database. Why it cannot be made is said better by the next call.
    let _ = File::options().create(true).truncate(false).write(true).mode(PRIVATE).open(path);
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            QueueError::InUse { folder: path.parent().unwrap_or(path).to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(e))
            if e.kind() != std::io::ErrorKind::InvalidData =>
        {
            QueueError::Unavailable(format!("`{}` cannot be opened: {e}", path.display()))
        }
        other => damaged(path, &other.to_string()),
    })
}

fn damaged(path: &Path, reason: &str) -> QueueError {
    QueueError::Refused(format!(
        "`{}` is damaged or no queue of this version: {reason}; put a copy of it in its place, \
         or move it away to begin with an empty queue",
        path.display()
    ))
}

fn read(database: &Database) -> Result<Machine, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let transaction = database.begin_read().map_err(|e| text(&e))?;
    let tables: Vec<String> = transaction
        .list_tables()
        .map_err(|e| text(&e))?
        .map(|table| table.name().to_owned())
        .collect();
    if tables.is_empty() {
        let format =
            Row { key: FORMAT_KEY.to_vec(), value: Some(bytes::Bytes::from_static(FORMAT)) };
        write(database, std::iter::once(&format)).map_err(|e| text(&e))?;
        return Ok(Machine::new());
    }
    let table = transaction.open_table(ROWS).map_err(|e| text(&e))?;
    let mut restoring = Restoring::default();
    let mut known = false;
    for row in table.iter().map_err(|e| text(&e))? {
        let (key, value) = row.map_err(|e| text(&e))?;
        if key.value() == FORMAT_KEY {
            if value.value() != FORMAT {
                let found = String::from_utf8_lossy(value.value()).escape_debug().to_string();
                return Err(format!("its format is `{found}`"));
            }
            known = true;
            continue;
        }
        restoring.row(key.value(), value.value())?;
    }
    if !known {
        return Err("it does not name its format".into());
    }
    restoring.finish()
}
