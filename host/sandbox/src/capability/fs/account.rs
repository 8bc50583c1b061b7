//! What an attempt may write in one folder, and what it wrote.
//!
//! Bytes are those by which files became longer, holes included; shortening and removing a file
//! gives back, but never more than was taken. A removed file that is still open gives back when
//! it is closed, because until then it has its place on the disk. All that changes a file's
//! length goes through its [`Node`], which charges first and writes then, one after another:
//! so what is charged is never less than what is there. All of it may block.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use crate::grants::FolderQuota;
use crate::scratch::Scratch;
use crate::worker::Lent;

/// Why something was not done to a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the folder's quota is used up")]
    Quota,
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("refused")]
    Code(ErrorCode),
}

impl Refused {
    /// What the guest is told.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Quota => ErrorCode::Quota,
            Self::Code(code) => *code,
            Self::System(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                // What cannot be opened: a socket, a pipe nobody reads, a device that is not.
                Some(Errno::NXIO | Errno::NODEV) => ErrorCode::NotPermitted,
                Some(Errno::DQUOT) => ErrorCode::Quota,
                Some(Errno::ROFS) => ErrorCode::ReadOnly,
                Some(Errno::XDEV) => ErrorCode::CrossDevice,
                _ => ErrorCode::from(error),
            },
        }
    }
}

/// Which file it is, by device and inode.
pub(super) type FileId = (u64, u64);

/// What an attempt may write in one folder.
pub(super) struct Account {
    quota: FolderQuota,
    ledger: Mutex<Ledger>,
    /// The folder itself goes after the last work in it.
    _keeps: Option<Keeps>,
}

/// An attempt's own folder, for as long as anything works in it.
#[allow(dead_code, reason = "kept for their ends")]
pub(super) enum Keeps {
    /// One that is removed then.
    Scratch(Scratch),
    /// One that the host removes, which is told.
    Lent(Lent),
}

#[derive(Default)]
struct Ledger {
    bytes: u64,
    files: u64,
    open: HashMap<FileId, Weak<Node>>,
}

impl Account {
    pub(super) fn new(quota: FolderQuota, keeps: Option<Keeps>) -> Arc<Self> {
        Arc::new(Self { quota, ledger: Mutex::default(), _keeps: keeps })
    }

    /// Files become longer by so much in all.
    fn grow(&self, bytes: u64) -> Result<(), Refused> {
        let mut ledger = self.ledger.lock();
        let wanted = ledger.bytes.checked_add(bytes).filter(|wanted| *wanted <= self.quota.bytes);
        ledger.bytes = wanted.ok_or(Refused::Quota)?;
        Ok(())
    }

    fn shrink(&self, bytes: u64) {
        let mut ledger = self.ledger.lock();
        ledger.bytes = ledger.bytes.saturating_sub(bytes);
    }

    /// Do what makes one more file or folder, if there may be one more.
    pub(super) fn adding<T>(&self, make: impl FnOnce() -> io::Result<T>) -> Result<T, Refused> {
        {
            let mut ledger = self.ledger.lock();
            if ledger.files >= self.quota.files {
                return Err(Refused::Quota);
            }
            ledger.files += 1;
        }
        make().map_err(|error| {
            self.removed_one();
            Refused::System(error)
        })
    }

    /// There is one file or folder less.
    pub(super) fn removed_one(&self) {
        let mut ledger = self.ledger.lock();
        ledger.files = ledger.files.saturating_sub(1);
    }

    /// The node of an open file.
    pub(super) fn node(self: &Arc<Self>, file: &File) -> io::Result<Arc<Node>> {
        let about = file.metadata()?;
        let id = (about.dev(), about.ino());
        let mut ledger = self.ledger.lock();
        if let Some(node) = ledger.open.get(&id).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let node = Arc::new(Node {
            id,
            account: Arc::clone(self),
            length: Mutex::new(about.len()),
            removed: AtomicBool::new(false),
        });
        ledger.open.insert(id, Arc::downgrade(&node));
        Ok(node)
    }

    /// A file of this length lost its last name.
    pub(super) fn removed(&self, id: FileId, length: u64) {
        let open = self.ledger.lock().open.get(&id).and_then(Weak::upgrade);
        match open {
            Some(node) => node.removed.store(true, Ordering::Release),
            None => self.shrink(length),
        }
    }
}

/// A file that an attempt has open, however often.
pub(super) struct Node {
    id: FileId,
    account: Arc<Account>,
    /// Held while the length changes, so that charges and writes have the same order.
    length: Mutex<u64>,
    removed: AtomicBool,
}

impl Node {
    /// Write all of it at a place.
    pub(super) fn write_at(&self, file: &File, data: &[u8], at: u64) -> Result<(), Refused> {
        let end =
            at.checked_add(data.len() as u64).ok_or(Refused::Code(ErrorCode::FileTooLarge))?;
        let mut length = self.length.lock();
        let longer = end.max(*length);
        self.account.grow(longer - *length)?;
        let written = file.write_all_at(data, at);
        if written.is_ok() {
            *length = longer;
            return Ok(());
        }
        let left = file.metadata().map_or(longer, |about| about.len());
        let left = left.clamp(*length, longer);
        self.account.shrink(longer - left);
        *length = left;
        Ok(written?)
    }

    /// Write all of it at the end, wherever others have moved that.
    pub(super) fn append(&self, file: &File, mut data: &[u8]) -> Result<(), Refused> {
        let mut length = self.length.lock();
        self.account.grow(data.len() as u64)?;
        while !data.is_empty() {
            let written = pwritev2(file, &[IoSlice::new(data)], 0, ReadWriteFlags::APPEND);
            let error = match written {
                Ok(bytes @ 1..) => {
                    *length = length.saturating_add(bytes as u64);
                    data = data.get(bytes..).unwrap_or_default();
                    continue;
                }
                Err(Errno::INTR) => continue,
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Err(error) => io::Error::from(error),
            };
            self.account.shrink(data.len() as u64);
            return Err(error.into());
        }
        Ok(())
    }

    /// Make it so long, with a hole if it becomes longer.
    pub(super) fn set_length(&self, file: &File, wanted: u64) -> Result<(), Refused> {
        let mut length = self.length.lock();
        let growth = wanted.saturating_sub(*length);
        self.account.grow(growth)?;
        if let Err(error) = file.set_len(wanted) {
            self.account.shrink(growth);
            return Err(error.into());
        }
        self.account.shrink(length.saturating_sub(wanted));
        *length = wanted;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let length = *self.length.get_mut();
        let mut ledger = self.account.ledger.lock();
        // Another may have taken its place already.
        if ledger.open.get(&self.id).is_some_and(|node| node.strong_count() == 0) {
            ledger.open.remove(&self.id);
        }
        if *self.removed.get_mut() {
            ledger.bytes = ledger.bytes.saturating_sub(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(bytes: u64) -> Arc<Account> {
        Account::new(FolderQuota { bytes, files: 2 }, None)
    }

    fn used(account: &Account) -> u64 {
        account.ledger.lock().bytes
    }

    #[test]
    fn only_growth_counts_and_shortening_gives_back() {
        let (account, file) = (account(100), tempfile::tempfile().unwrap());
        let node = account.node(&file).unwrap();
        node.write_at(&file, &[1; 60], 0).unwrap();
        node.write_at(&file, &[2; 60], 0).unwrap();
        node.append(&file, &[3; 30]).unwrap();
        assert_eq!(used(&account), 90);
        assert!(matches!(node.append(&file, &[4; 11]), Err(Refused::Quota)));
        assert!(matches!(node.write_at(&file, &[4], 100), Err(Refused::Quota)));
        assert!(matches!(node.set_length(&file, u64::MAX), Err(Refused::Quota)));
        let beyond = node.write_at(&file, &[4], u64::MAX).unwrap_err();
        assert!(matches!(beyond.code(), ErrorCode::FileTooLarge));
        node.write_at(&file, &[5; 10], 90).unwrap();
        assert_eq!((used(&account), file.metadata().unwrap().len()), (100, 100));
        // Full, and still it can be written over and shortened.
        node.write_at(&file, &[6; 100], 0).unwrap();
        node.set_length(&file, 1).unwrap();
        assert_eq!(used(&account), 1);
        node.set_length(&file, 100).unwrap();
        assert_eq!(used(&account), 100);
    }

    #[test]
    fn a_removed_file_counts_until_it_is_closed() {
        let (account, file) = (account(100), tempfile::NamedTempFile::new().unwrap());
        let first = account.node(file.as_file()).unwrap();
        let second = account.node(file.as_file()).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        first.write_at(file.as_file(), &[0; 80], 0).unwrap();
        account.removed(first.id, 80);
        drop(first);
        assert_eq!(used(&account), 80);
        drop(second);
        assert_eq!((used(&account), account.ledger.lock().open.len()), (0, 0));
    }

    #[test]
    fn what_was_there_before_gives_back_no_more_than_was_taken() {
        let account = account(100);
        account.grow(10).unwrap();
        account.removed((1, 1), 1_000);
        assert_eq!(used(&account), 0);
        assert!(account.grow(100).is_ok() && account.grow(1).is_err() && account.grow(0).is_ok());
    }

    #[test]
    fn files_are_counted_unless_making_them_fails() {
        let account = account(1);
        for _ in 0..5 {
            let failed = account.adding(|| Err::<(), _>(io::ErrorKind::AlreadyExists.into()));
            assert!(matches!(failed.unwrap_err().code(), ErrorCode::Exist));
        }
        account.adding(|| Ok(())).unwrap();
        account.adding(|| Ok(())).unwrap();
        assert!(matches!(account.adding(|| Ok(())), Err(Refused::Quota)));
        account.removed_one();
        account.adding(|| Ok(())).unwrap();
    }
}
