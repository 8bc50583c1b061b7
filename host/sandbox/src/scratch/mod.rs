//! Where attempts have folders of their own.
//!
//! A host has one folder under `scratch_dir`, locked for as long as the host lives, and in it
//! one folder for each attempt that has one. An attempt's folder goes when the last work in it
//! has ended, whatever ended the attempt; removing runs on threads that may block. What a
//! killed host left is no longer locked, and the next host to start removes it. Nothing here
//! knows what a guest may write there.

mod discard;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use self::discard::discard;
use crate::worker::Connecting;

/// How a host's folder is called, before 32 hexadecimal digits.
const PREFIX: &str = "host-";

/// Who may enter: the host's user.
const PRIVATE: u32 = 0o700;

/// What nobody else may do to the folder of all hosts: write.
const OTHERS_WRITE: u32 = 0o022;

/// The scratch folders of one host. Nothing is made before the first attempt needs one.
#[derive(Clone)]
pub struct ScratchHome(Place);

#[derive(Clone)]
enum Place {
    Here(Arc<Home>),
    /// In a worker process, where the host makes them.
    Host(Connecting),
}

struct Home {
    root: PathBuf,
    own: Mutex<Option<Own>>,
    next: AtomicU64,
    /// One permit for each folder that is there or being removed.
    folders: Arc<Semaphore>,
    most: u32,
}

/// A host's own folder, locked.
struct Own {
    path: PathBuf,
    _lock: File,
}

impl ScratchHome {
    /// Scratch folders under `root`, at most so many at a time: those of attempts, and those
    /// that are being removed. An attempt beyond it waits.
    #[must_use]
    pub fn new(root: PathBuf, most: u32) -> Self {
        let most = most.max(1);
        let folders = Arc::new(Semaphore::new(most as usize));
        let (own, next) = (Mutex::new(None), AtomicU64::new(0));
        Self(Place::Here(Arc::new(Home { root, own, next, folders, most })))
    }

    /// Folders that a worker process is lent by the host.
    pub(crate) fn of_worker(host: Connecting) -> Self {
        Self(Place::Host(host))
    }

    /// Who lends them, in a worker process.
    pub(crate) fn lender(&self) -> Option<&Connecting> {
        match &self.0 {
            Place::Here(_) => None,
            Place::Host(host) => Some(host),
        }
    }

    fn home(&self) -> io::Result<&Arc<Home>> {
        match &self.0 {
            Place::Here(home) => Ok(home),
            Place::Host(_) => Err(io::Error::other("a worker process makes no folders")),
        }
    }

    /// Remove what hosts left that live no more; how many they were. Blocks.
    pub fn sweep(&self) -> io::Result<u32> {
        let root = &self.home()?.root;
        if !root.try_exists()? {
            return Ok(0);
        }
        check_private(root)?;
        let mut left = Vec::new();
        {
            let all = File::open(root)?;
            all.lock()?;
            for entry in fs::read_dir(root)? {
                let entry = entry?;
                if !is_host(&entry)? {
                    continue;
                }
                let lock = File::open(entry.path())?;
                match lock.try_lock() {
                    Ok(()) => left.push((entry.path(), lock)),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        }
        let mut removed = 0;
        // The locks keep other hosts from removing the same.
        for (path, _lock) in left {
            discard(&path)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Wait until every attempt's folder has been removed.
    pub async fn emptied(&self) {
        // The semaphore is never closed.
        if let Ok(home) = self.home() {
            drop(home.folders.acquire_many(home.most).await);
        }
    }

    /// A folder for one attempt, and what it is opened by.
    pub(crate) async fn folder(&self) -> io::Result<(Scratch, File)> {
        self.make(None).await
    }

    /// The same, in the room of a worker process.
    pub(crate) async fn folder_in(&self, room: &Arc<Room>) -> io::Result<(Scratch, File)> {
        self.make(Some(room.clone())).await
    }

    /// A folder for the folders of one worker process. Blocks.
    pub(crate) fn room(&self) -> io::Result<Room> {
        let home = Arc::clone(self.home()?);
        let path = home.folder()?;
        Ok(Room { path, _home: home })
    }

    async fn make(&self, room: Option<Arc<Room>>) -> io::Result<(Scratch, File)> {
        let home = Arc::clone(self.home()?);
        let permit = Arc::clone(&home.folders).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let making = tokio::task::spawn_blocking(move || {
            let path = match &room {
                Some(room) => home.folder_in(room)?,
                None => home.folder()?,
            };
            let scratch = Scratch(Some(Removal { path, _permit: permit, home, _room: room }));
            let opened = File::open(scratch.path())?;
            Ok((scratch, opened))
        });
        making.await.map_err(io::Error::other)?
    }
}

impl Home {
    /// Make a folder; its path.
    fn folder(&self) -> io::Result<PathBuf> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let make = || {
            let path = self.own()?.join(&name);
            DirBuilder::new().mode(PRIVATE).create(&path)?;
            Ok(path)
        };
        make().or_else(|error: io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // Somebody tidied up.
            *self.own.lock() = None;
            make()
        })
    }

    /// Make a folder in a room; its path.
    fn folder_in(&self, room: &Room) -> io::Result<PathBuf> {
        let path = room.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        DirBuilder::new().mode(PRIVATE).create(&path)?;
        Ok(path)
    }

    /// The host's own folder, made and locked before anybody can take it for a leftover.
    fn own(&self) -> io::Result<PathBuf> {
        let mut own = self.own.lock();
        if let Some(own) = &*own {
            return Ok(own.path.clone());
        }
        DirBuilder::new().recursive(true).mode(PRIVATE).create(&self.root)?;
        check_private(&self.root)?;
        let all = File::open(&self.root)?;
        all.lock()?;
        let path = self.root.join(format!("{PREFIX}{}", Uuid::new_v4().simple()));
        DirBuilder::new().mode(PRIVATE).create(&path)?;
        let lock = File::open(&path)?;
        lock.lock()?;
        *own = Some(Own { path: path.clone(), _lock: lock });
        Ok(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(own) = self.own.get_mut() {
            // What is left in it goes at the next start.
            let _ = fs::remove_dir(&own.path);
        }
    }
}

/// Where a worker process has its attempts' folders, and can reach no others. It goes when the
/// worker is over and its last attempt's folder is gone.
pub(crate) struct Room {
    path: PathBuf,
    _home: Arc<Home>,
}

impl Room {
    /// What it is opened by.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What a worker that broke out has left in it goes at the next start.
        let _ = fs::remove_dir(&self.path);
    }
}

/// An attempt's folder, until this is dropped.
pub(crate) struct Scratch(Option<Removal>);

impl Scratch {
    fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), |removal| &removal.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(removal) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || removal.run())),
            Err(_) => removal.run(),
        }
    }
}

/// A folder that must go.
struct Removal {
    path: PathBuf,
    home: Arc<Home>,
    _room: Option<Arc<Room>>,
    /// Given back last: who waits for it may take the home away.
    _permit: OwnedSemaphorePermit,
}

impl Removal {
    fn run(self) {
        if let Err(error) = discard(&self.path) {
            let root = self.home.root.display();
            tracing::warn!(%error, %root, "a scratch folder could not be removed");
        }
    }
}

/// Whether it is called as a host's folder is.
fn is_host(entry: &fs::DirEntry) -> io::Result<bool> {
    let name = entry.file_name();
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    let named =
        digits.is_some_and(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    Ok(named && entry.file_type()?.is_dir())
}

/// Refuse a folder in which others than this user could plant something.
fn check_private(root: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(root)?;
    let own = about.uid() == rustix::process::geteuid().as_raw();
    if about.is_dir() && own && about.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    let message = format!(
        "`{}` must be a folder, no link, that belongs to the host's user and that no other can \
         write to",
        root.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn host_folders(root: &Path) -> Vec<PathBuf> {
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn a_folder_is_private_and_goes_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let home = ScratchHome::new(root.path().join("a/b"), 1);
        let (scratch, _) = home.folder().await.unwrap();
        let path = scratch.path().to_owned();
        let host = path.parent().unwrap().to_owned();
        for folder in [&path, &host, &root.path().join("a/b")] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, PRIVATE, "{}", folder.display());
        }
        // Deeper than a path may be long, and than there are files to be open.
        for _ in 0..1_200 {
            // It grows at its top, so that no path here is long.
            let above = host.join("above");
            fs::create_dir(&above).unwrap();
            fs::rename(&path, above.join("d")).unwrap();
            fs::rename(&above, &path).unwrap();
            fs::write(path.join("f"), "x").unwrap();
        }
        drop(scratch);
        home.emptied().await;
        assert!(host.exists() && !path.exists());
        drop(home);
        assert!(!host.exists());
    }

    #[tokio::test]
    async fn one_folder_more_waits_for_one_to_go() {
        let root = tempfile::tempdir().unwrap();
        let home = ScratchHome::new(root.path().join("s"), 1);
        let first = home.folder().await.unwrap();
        let mut second = std::pin::pin!(home.folder());
        let waits = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(second.as_mut().poll(cx).is_pending())
        });
        assert!(waits.await);
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn what_a_killed_host_left_goes_and_what_a_live_one_has_stays() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("s");
        let live = ScratchHome::new(root.clone(), 1);
        let (scratch, _) = live.folder().await.unwrap();
        let name = format!("{PREFIX}{}", Uuid::new_v4().simple());
        for left in [root.join(name).join("0/deep"), root.join("host-of-something-else")] {
            fs::create_dir_all(left).unwrap();
        }
        let next = ScratchHome::new(root.clone(), 1);
        assert_eq!(next.sweep().unwrap(), 1);
        assert!(scratch.path().exists());
        assert_eq!(host_folders(&root).len(), 2);
        assert_eq!(ScratchHome::new(root.join("none"), 1).sweep().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_others_could_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (open, link) = (root.path().join("open"), root.path().join("link"));
        fs::create_dir(&open).unwrap();
        std::os::unix::fs::symlink(root.path(), &link).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        for root in [open, link] {
            let home = ScratchHome::new(root, 1);
            let error = home.folder().await.err().unwrap().to_string();
            assert!(error.contains("must be a folder"), "{error}");
            assert!(home.sweep().is_err());
        }
    }

    #[tokio::test]
    async fn a_home_that_was_tidied_away_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let home = ScratchHome::new(root.path().join("s"), 2);
        drop(home.folder().await.unwrap());
        home.emptied().await;
        fs::remove_dir_all(root.path().join("s")).unwrap();
        assert!(home.folder().await.is_ok());
    }
}
