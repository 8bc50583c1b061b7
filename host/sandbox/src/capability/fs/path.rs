//! What is done to a path beneath an open folder. All of it blocks, and runs where that may be.
//!
//! Paths are resolved by cap-std's primitives, so that nothing leads out of the folder. What
//! makes or removes something goes through the folder's account.

use std::fs::{File, FileTimes};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_primitives::fs::{
    DirOptions, FollowSymlinks, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _,
    create_dir, open, remove_dir, remove_file, rename, stat,
};
use rustix::fs::OFlags;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags,
};

use super::account::{Account, FileId, Node, Refused};

/// How something is to be opened.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) how: OpenFlags,
    pub(super) flags: DescriptorFlags,
}

impl Wanted {
    /// Whether opening it so changes something, or allows to.
    pub(super) fn writes(self) -> bool {
        self.how.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE)
            || self.flags.contains(DescriptorFlags::WRITE)
    }

    /// Whether it can be read then. What is not written must be, or it cannot be opened.
    pub(super) fn reads(self) -> bool {
        self.flags.contains(DescriptorFlags::READ) || !self.flags.contains(DescriptorFlags::WRITE)
    }

    /// Whether it makes sense.
    fn check(self) -> Result<(), Refused> {
        let synced = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        let of_files = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        if self.flags.intersects(synced) {
            Err(Refused::Code(ErrorCode::Unsupported))
        } else if self.how.contains(OpenFlags::DIRECTORY) && self.how.intersects(of_files) {
            Err(Refused::Code(ErrorCode::Invalid))
        } else {
            Ok(())
        }
    }

    fn options(self) -> OpenOptions {
        // A pipe that nobody writes to would hold the thread for ever, and a terminal could
        // become the host's own.
        let mut custom = OFlags::NONBLOCK | OFlags::NOCTTY;
        if !self.follow {
            custom |= OFlags::NOFOLLOW;
        }
        if self.how.contains(OpenFlags::DIRECTORY) {
            custom |= OFlags::DIRECTORY;
        }
        let mut options = OpenOptions::new();
        options.read(self.reads()).write(self.writes()).custom_flags(custom.bits().cast_signed());
        options
    }
}

/// What was opened.
pub(super) enum Opened {
    /// With its node, where it may be written.
    File(File, Option<Arc<Node>>),
    Folder(File),
}

/// Open a file or a folder, and nothing else. Without an account nothing may be changed.
pub(super) fn open_at(
    folder: &File,
    path: &Path,
    wanted: Wanted,
    account: Option<&Arc<Account>>,
) -> Result<Opened, Refused> {
    wanted.check()?;
    let options = wanted.options();
    let create = account.filter(|_| wanted.how.contains(OpenFlags::CREATE));
    let exclusive = wanted.how.contains(OpenFlags::EXCLUSIVE);
    if account.is_none() && wanted.writes() {
        return Err(Refused::Code(ErrorCode::ReadOnly));
    }
    let there = || open(folder, path, &options);
    let opened = match create {
        None => there()?,
        Some(account) => {
            let mut new = options.clone();
            new.create_new(true);
            let make = || account.adding(|| open(folder, path, &new));
            if exclusive { make()? } else { found_or_made(there, make)? }
        }
    };
    let about = opened.metadata()?;
    if about.is_dir() {
        return Ok(Opened::Folder(opened));
    }
    if !about.is_file() {
        return Err(Refused::Code(ErrorCode::NotPermitted));
    }
    let node = account.map(|account| account.node(&opened)).transpose()?;
    if let Some(node) = node.as_ref().filter(|_| wanted.how.contains(OpenFlags::TRUNCATE)) {
        node.set_length(&opened, 0)?;
    }
    Ok(Opened::File(opened, node))
}

/// What is there, or else what is made.
fn found_or_made(
    there: impl Fn() -> io::Result<File>,
    make: impl FnOnce() -> Result<File, Refused>,
) -> Result<File, Refused> {
    match there() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match make() {
            // Another attempt made it in between, or it is a link that leads nowhere.
            Err(refused) if matches!(refused.code(), ErrorCode::Exist) => Ok(there()?),
            made => made,
        },
        there => Ok(there?),
    }
}

/// When something was read and changed last, as far as it is to be said anew.
pub(super) struct Times(FileTimes);

impl Times {
    pub(super) fn of(accessed: NewTimestamp, modified: NewTimestamp) -> Result<Self, Refused> {
        let mut times = FileTimes::new();
        if let Some(accessed) = moment(accessed)? {
            times = times.set_accessed(accessed);
        }
        if let Some(modified) = moment(modified)? {
            times = times.set_modified(modified);
        }
        Ok(Self(times))
    }

    /// Say it of a file or folder. It is opened for that as the guest would, because a pipe
    /// would hold the thread here too.
    pub(super) fn set(
        self,
        folder: &File,
        path: &Path,
        follow: bool,
        account: &Arc<Account>,
    ) -> Result<(), Refused> {
        let (how, flags) = (OpenFlags::empty(), DescriptorFlags::READ);
        let (Opened::File(opened, _) | Opened::Folder(opened)) =
            open_at(folder, path, Wanted { follow, how, flags }, Some(account))?;
        Ok(opened.set_times(self.0)?)
    }
}

/// The time that is meant, if one is.
fn moment(said: NewTimestamp) -> Result<Option<SystemTime>, Refused> {
    let at = match said {
        NewTimestamp::NoChange => return Ok(None),
        NewTimestamp::Now => return Ok(Some(SystemTime::now())),
        NewTimestamp::Timestamp(at) if at.nanoseconds < 1_000_000_000 => {
            UNIX_EPOCH.checked_add(Duration::new(at.seconds, at.nanoseconds))
        }
        NewTimestamp::Timestamp(_) => None,
    };
    at.map(Some).ok_or(Refused::Code(ErrorCode::Invalid))
}

/// Make a folder.
pub(super) fn make_folder(folder: &File, path: &Path, account: &Account) -> Result<(), Refused> {
    account.adding(|| create_dir(folder, path, &DirOptions::new()))
}

/// Remove an empty folder.
pub(super) fn remove_folder(folder: &File, path: &Path, account: &Account) -> Result<(), Refused> {
    remove_dir(folder, path)?;
    account.removed_one();
    Ok(())
}

/// Remove a file, or whatever else that is no folder.
pub(super) fn unlink(folder: &File, path: &Path, account: &Account) -> Result<(), Refused> {
    let about = stat(folder, path, FollowSymlinks::No)?;
    remove_file(folder, path)?;
    gone(&about, account);
    Ok(())
}

/// Give something another name, in place of what has it.
pub(super) fn move_to(
    from: &File,
    path: &Path,
    to: &File,
    new_path: &Path,
    account: &Account,
) -> Result<(), Refused> {
    let moved = stat(from, path, FollowSymlinks::No)?;
    let replaced = stat(to, new_path, FollowSymlinks::No).ok();
    rename(from, path, to, new_path)?;
    if let Some(replaced) = replaced.filter(|replaced| id(replaced) != id(&moved)) {
        gone(&replaced, account);
    }
    Ok(())
}

/// Something lost a name.
fn gone(about: &Metadata, account: &Account) {
    account.removed_one();
    if about.is_file() && about.nlink() == 1 {
        account.removed(id(about), about.len());
    }
}

fn id(about: &Metadata) -> FileId {
    (about.dev(), about.ino())
}
