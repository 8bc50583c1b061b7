//! A folder as a guest has it, and everything that a guest can do to a path in it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, NewTimestamp, OpenFlags};

use super::account::{Account, Refused};
use super::folders::open_granted;
use super::path::{self, Opened, Times, Wanted};
use crate::grants::FolderQuota;

/// A folder that was granted.
pub struct Folder {
    dir: File,
    account: Option<Arc<Account>>,
}

type Done<T> = Result<T, String>;

fn told(refused: Refused) -> String {
    refused.code().to_string()
}

impl Folder {
    /// Open a folder of the host; it may only be read where there is no quota.
    pub fn open(host: &Path, quota: Option<FolderQuota>) -> io::Result<Self> {
        let dir = open_granted(host).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self { dir, account: quota.map(|quota| Account::new(quota, None)) })
    }

    fn writable(&self) -> Done<&Arc<Account>> {
        self.account.as_ref().ok_or_else(|| "read-only".to_owned())
    }

    /// Open what is at a path, with these bits of the interface's flags.
    pub fn open_at(&self, at: &str, follow: bool, how: u8, flags: u8) -> Done<File> {
        let mut wanted =
            Wanted { follow, how: OpenFlags::empty(), flags: DescriptorFlags::empty() };
        let bits =
            [OpenFlags::CREATE, OpenFlags::DIRECTORY, OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE];
        for (bit, flag) in bits.into_iter().enumerate() {
            if how & 1 << bit != 0 {
                wanted.how |= flag;
            }
        }
        let bits =
            [DescriptorFlags::READ, DescriptorFlags::WRITE, DescriptorFlags::MUTATE_DIRECTORY];
        for (bit, flag) in bits.into_iter().enumerate() {
            if flags & 1 << bit != 0 {
                wanted.flags |= flag;
            }
        }
        match path::open_at(&self.dir, at.as_ref(), wanted, self.account.as_ref()).map_err(told)? {
            Opened::File(file, node) => {
                if let Some(node) = node.filter(|_| wanted.writes()) {
                    node.append(&file, b"written").map_err(told)?;
                }
                Ok(file)
            }
            Opened::Folder(folder) => Ok(folder),
        }
    }

    /// Make a folder.
    pub fn make_folder(&self, at: &str) -> Done<()> {
        path::make_folder(&self.dir, at.as_ref(), self.writable()?).map_err(told)
    }

    /// Remove a folder.
    pub fn remove_folder(&self, at: &str) -> Done<()> {
        path::remove_folder(&self.dir, at.as_ref(), self.writable()?).map_err(told)
    }

    /// Remove a file.
    pub fn unlink(&self, at: &str) -> Done<()> {
        path::unlink(&self.dir, at.as_ref(), self.writable()?).map_err(told)
    }

    /// Give something another name.
    pub fn rename(&self, at: &str, new: &str) -> Done<()> {
        let account = self.writable()?;
        path::move_to(&self.dir, at.as_ref(), &self.dir, new.as_ref(), account).map_err(told)
    }

    /// Say of something that it was changed now.
    pub fn set_times(&self, at: &str, follow: bool) -> Done<()> {
        let account = self.writable()?;
        let times = Times::of(NewTimestamp::NoChange, NewTimestamp::Now).map_err(told)?;
        times.set(&self.dir, at.as_ref(), follow, account).map_err(told)
    }
}
