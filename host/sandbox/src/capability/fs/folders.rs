//! The folders of one attempt, and what of them the guest has open.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::runtime::spawn_blocking;
use wasmtime_wasi::{FsPerms, OpenMode};

use super::account::{Account, Keeps, Node, Refused};
use super::stream::{Meter, Place};
use crate::grants::{FolderQuota, FsGrant};
use crate::powers::Traffic;
use crate::scratch::ScratchHome;
use crate::worker::Connecting;

/// Where a guest sees its own folder.
const SCRATCH: &str = "/scratch";

/// A folder that was granted cannot be opened. The attempt fails and may be made again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FolderUnavailable(String);

/// The folders of one attempt.
pub(crate) struct Folders {
    granted: Vec<Folder>,
    /// By the handles that the guest has.
    open: HashMap<u32, Handle>,
    /// One permit for each file or folder that may be open besides the granted ones.
    files: Arc<Semaphore>,
    pub(super) meter: Arc<Meter>,
}

/// A folder as the guest finds it.
struct Folder {
    dir: Dir,
    guest: String,
    account: Option<Arc<Account>>,
}

/// What belongs to an open file or folder.
#[derive(Clone, Default)]
pub(super) struct Handle {
    /// What may be written where it is; none where nothing may be.
    pub(super) account: Option<Arc<Account>>,
    /// Of an open file in a folder that is written to.
    pub(super) node: Option<Arc<Node>>,
    /// Of what the guest opened; streams have it too.
    pub(super) permit: Option<Permit>,
}

/// Leave to have one file open, for as long as anything has it open.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// A file that is open for writing. Its parts are dropped in this order, so that the file is
/// closed when what it held is given back.
#[derive(Clone)]
pub(super) struct OpenFile {
    pub(super) file: Arc<File>,
    pub(super) node: Arc<Node>,
    pub(super) _permit: Option<Permit>,
}

impl OpenFile {
    /// Write all of it. Blocks.
    pub(super) fn write(&self, data: &[u8], place: Place) -> Result<(), Refused> {
        match place {
            Place::At(at) => self.node.write_at(&self.file, data, at),
            Place::End => self.node.append(&self.file, data),
        }
    }
}

impl Folders {
    /// Open what was granted. The guest may have `files` open besides.
    pub(crate) async fn open(
        grant: &FsGrant,
        home: Option<&ScratchHome>,
        files: u32,
    ) -> Result<Self, FolderUnavailable> {
        if let Some(lender) = home.and_then(ScratchHome::lender) {
            return Self::lent(grant, lender, files).await;
        }
        let mut granted = Vec::with_capacity(grant.dirs.len() + 1);
        if let Some(quota) = grant.scratch {
            let made = match home {
                Some(home) => home.folder().await.map_err(|error| error.to_string()),
                None => Err("the host has no `scratch_dir`".to_owned()),
            };
            let (scratch, opened) = made.map_err(|why| {
                FolderUnavailable(format!("a scratch folder cannot be made: {why}"))
            })?;
            let account = Account::new(quota, Some(Keeps::Scratch(scratch)));
            granted.push(Folder::of(opened, SCRATCH, Some(account)));
        }
        let dirs = grant.dirs.clone();
        let opened = spawn_blocking(move || -> Result<Vec<Folder>, FolderUnavailable> {
            let opened = dirs.iter().map(|dir| {
                let account = dir.write.map(|quota: FolderQuota| Account::new(quota, None));
                Ok(Folder::of(open_granted(&dir.host)?, &dir.guest, account))
            });
            opened.collect()
        });
        granted.extend(opened.await?);
        let files = Arc::new(Semaphore::new(files as usize));
        Ok(Self { granted, open: HashMap::new(), files, meter: Arc::default() })
    }

    /// Take what the host opened for a worker process.
    async fn lent(
        grant: &FsGrant,
        lender: &Connecting,
        files: u32,
    ) -> Result<Self, FolderUnavailable> {
        let (own, opened) = lender.folders().await.map_err(FolderUnavailable)?;
        let mut opened = opened.into_iter();
        let mut granted = Vec::with_capacity(grant.dirs.len() + 1);
        let missing = || FolderUnavailable("a folder did not come from the host".to_owned());
        if let Some(quota) = grant.scratch {
            let account = Account::new(quota, own.map(Keeps::Lent));
            granted.push(Folder::of(opened.next().ok_or_else(missing)?, SCRATCH, Some(account)));
        }
        for dir in &grant.dirs {
            let account = dir.write.map(|quota| Account::new(quota, None));
            granted.push(Folder::of(opened.next().ok_or_else(missing)?, &dir.guest, account));
        }
        let files = Arc::new(Semaphore::new(files as usize));
        Ok(Self { granted, open: HashMap::new(), files, meter: Arc::default() })
    }

    /// The folders that the guest begins with: where it sees each, and what it is given.
    pub(super) fn granted(&self) -> impl Iterator<Item = (Descriptor, String, Handle)> {
        self.granted.iter().map(|folder| {
            let handle = Handle { account: folder.account.clone(), ..Handle::default() };
            (Descriptor::Dir(folder.dir.clone()), folder.guest.clone(), handle)
        })
    }

    /// Leave to open one file or folder more.
    pub(super) fn permit(&self) -> Result<Permit, Refused> {
        let permit = Arc::clone(&self.files).try_acquire_owned();
        permit.map(Arc::new).map_err(|_| Refused::Code(ErrorCode::InsufficientMemory))
    }

    pub(super) fn opened(&mut self, at: u32, handle: Handle) {
        self.open.insert(at, handle);
    }

    pub(super) fn closed(&mut self, at: u32) {
        self.open.remove(&at);
    }

    pub(super) fn handle(&self, at: u32) -> Result<Handle, Refused> {
        self.open.get(&at).cloned().ok_or(Refused::Code(ErrorCode::BadDescriptor))
    }

    /// What was used so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let Meter { calls, bytes_in, bytes_out, .. } = &*self.meter;
        Traffic {
            calls: calls.load(Ordering::Relaxed),
            bytes_in: bytes_in.load(Ordering::Relaxed),
            bytes_out: bytes_out.load(Ordering::Relaxed),
        }
    }
}

impl Folder {
    fn of(opened: File, guest: &str, account: Option<Arc<Account>>) -> Self {
        let (perms, mode) = match &account {
            Some(_) => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
            None => (FsPerms::ReadOnly, OpenMode::READ),
        };
        Self { dir: Dir::new(opened, perms, mode, false), guest: guest.to_owned(), account }
    }
}

/// Open a folder that the operator named. Blocks.
pub(crate) fn open_granted(host: &Path) -> Result<File, FolderUnavailable> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(host, flags, Mode::empty()).map(File::from).map_err(|error| {
        let error = std::io::Error::from(error);
        FolderUnavailable(format!(
            "the folder `{}` that `fs.dirs` names cannot be opened: {error}",
            host.display().to_string().escape_debug()
        ))
    })
}
