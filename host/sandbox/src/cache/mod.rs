//! Compiled plugins, kept between starts: a folder of sealed files.
//!
//! A file's name says which content and which engine it is for; its seal says that a host of
//! this user made it. What does not open, is of another user, readable by others, truncated,
//! changed or of another engine is passed over with a warning and made anew: the cache makes
//! loading fast and never decides whether a plugin loads. It must not know what it keeps.

mod seal;

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bulkhead_core::Digest;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use self::seal::{Opened, SealKey};

/// What the names of kept files end in.
const SUFFIX: &str = ".sealed";

/// What the names of files begin with that are being written.
const UNFINISHED: &str = ".new-";

/// A file that has been written for so long was given up.
const GIVEN_UP: Duration = Duration::from_secs(3_600);

/// The form of what is kept; part of every key.
const FORM: &[u8] = b"bulkhead compiled plugin 1";

/// Where compiled plugins are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFolder {
    /// The folder, made if it is not there, open to this user only. The key that seals its
    /// files lies beside it, under its name and `.key`.
    pub folder: PathBuf,
    /// Most bytes of all files in it. Over it, those go that were not used for longest.
    pub max_bytes: u64,
}

/// The folder in use by one engine.
pub(crate) struct Cache {
    folder: PathBuf,
    max_bytes: u64,
    key: SealKey,
    engine: [u8; 32],
    tidying: Mutex<()>,
}

/// A compiled plugin as it was put in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Cache {
    /// Open the folder for an engine; why it cannot be used, if it cannot.
    pub(crate) fn open(place: &CacheFolder, engine: &[u8; 32]) -> Result<Self, String> {
        let folder = place.folder.clone();
        let shown = folder.display();
        let unusable = |e: io::Error| format!("`{shown}` cannot be used: {e}");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(unusable)?;
        let metadata = fs::metadata(&folder).map_err(unusable)?;
        if !is_private(&metadata) {
            return Err(format!(
                "`{shown}` is open to others or not this user's; make it its own with mode 0700"
            ));
        }
        let key = SealKey::beside(&folder)?;
        let (max_bytes, tidying) = (place.max_bytes, Mutex::new(()));
        Ok(Self { folder, max_bytes, key, engine: *engine, tidying })
    }

    /// What was kept of a file of this content.
    pub(crate) fn get(&self, digest: Digest) -> Option<Kept> {
        let name = self.name(digest);
        let path = self.folder.join(&name);
        let ignored = |reason: &str| {
            tracing::warn!(file = %path.display(), reason,
                "a compiled plugin in the cache is ignored; it is compiled anew");
            None
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return ignored(&error.to_string()),
        };
        match file.metadata() {
            Ok(metadata) if !metadata.is_file() || !is_private(&metadata) => {
                return ignored("it is open to others or not this user's");
            }
            Ok(metadata) if metadata.len() > self.max_bytes => return ignored("it is too large"),
            Ok(_) => {}
            Err(error) => return ignored(&error.to_string()),
        }
        let mut bytes = Vec::new();
        if let Err(error) = (&mut file).take(self.max_bytes).read_to_end(&mut bytes) {
            return ignored(&error.to_string());
        }
        match self.key.open(&name, bytes) {
            Some(Opened { head, body }) => {
                // The time of the last use; without it the file is only removed earlier.
                let _ = file.set_modified(SystemTime::now());
                Some(Kept { head, body })
            }
            None => ignored("its seal is not this host's, or it was changed"),
        }
    }

    /// Keep what a file of this content was compiled to.
    pub(crate) fn put(&self, digest: Digest, head: &[u8], body: &[u8]) {
        let name = self.name(digest);
        if let Err(error) = self.write(&name, head, body) {
            tracing::warn!(folder = %self.folder.display(), %error,
                "a compiled plugin cannot be kept; the next start compiles it anew");
        }
        if let Err(error) = self.tidy(&name) {
            tracing::warn!(folder = %self.folder.display(), %error,
                "the cache of compiled plugins cannot be looked through");
        }
    }

    fn name(&self, digest: Digest) -> String {
        let mut key = Sha256::new();
        key.update(FORM);
        key.update(env!("CARGO_PKG_VERSION").as_bytes());
        key.update(self.engine);
        key.update(digest.0);
        let key = Digest(key.finalize().into());
        format!("{key}{SUFFIX}")
    }

    fn write(&self, name: &str, head: &[u8], body: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal(name, head, body);
        if sealed.len() as u64 > self.max_bytes {
            return Ok(());
        }
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let unfinished =
            self.folder.join(format!("{UNFINISHED}{:016x}", u64::from_le_bytes(nonce)));
        let written = write_private(&unfinished, &sealed)
            .and_then(|()| fs::rename(&unfinished, self.folder.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Bring the folder under its bound; `newest` stays.
    fn tidy(&self, newest: &str) -> io::Result<()> {
        let _alone = self.tidying.lock();
        let now = SystemTime::now();
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Another host may have removed it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.starts_with(UNFINISHED) {
                if now.duration_since(used).is_ok_and(|age| age > GIVEN_UP) {
                    let _ = fs::remove_file(entry.path());
                }
            } else if name.ends_with(SUFFIX) && name != newest {
                kept.push((used, metadata.len(), entry.path()));
            }
        }
        let own = fs::metadata(self.folder.join(newest)).map_or(0, |metadata| metadata.len());
        let mut total = kept.iter().map(|(_, bytes, _)| bytes).sum::<u64>() + own;
        kept.sort();
        for (_, bytes, path) in kept {
            if total <= self.max_bytes {
                break;
            }
            let _ = fs::remove_file(path);
            total = total.saturating_sub(bytes);
        }
        Ok(())
    }
}

/// Write a new file that only this user can read.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// Whether only this process's user can get at a file.
fn is_private(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ENGINE: [u8; 32] = [7; 32];

    fn place(root: &Path, max_bytes: u64) -> CacheFolder {
        CacheFolder { folder: root.join("compiled"), max_bytes }
    }

    fn digest(byte: u8) -> Digest {
        Digest([byte; 32])
    }

    fn kept(cache: &Cache, of: u8) -> Option<(Vec<u8>, Vec<u8>)> {
        cache.get(digest(of)).map(|kept| (kept.head, kept.body))
    }

    fn only_file(cache: &Cache) -> PathBuf {
        let files = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    #[test]
    fn what_was_put_in_comes_out_for_the_same_content_and_engine_only() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), 1 << 20);
        let cache = Cache::open(&place, &ENGINE).unwrap();
        assert_eq!(kept(&cache, 1), None);
        cache.put(digest(1), b"head", b"body");
        assert_eq!(kept(&cache, 1), Some((b"head".to_vec(), b"body".to_vec())));
        assert_eq!(kept(&cache, 2), None);
        let again = Cache::open(&place, &ENGINE).unwrap();
        assert!(kept(&again, 1).is_some(), "the next start finds it");
        let other = Cache::open(&place, &[8; 32]).unwrap();
        assert_eq!(kept(&other, 1), None, "another engine");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&place.folder), 0o700);
        assert_eq!(mode(&only_file(&cache)), 0o600);
        assert_eq!(mode(&root.path().join("compiled.key")), 0o600);
    }

    #[test]
    fn a_changed_truncated_moved_or_foreign_file_is_ignored() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), 1 << 20);
        let cache = Cache::open(&place, &ENGINE).unwrap();
        cache.put(digest(1), b"head", b"body");
        let file = only_file(&cache);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            fs::write(&file, changed).unwrap();
            assert_eq!(kept(&cache, 1), None, "byte {at}");
            fs::write(&file, &good[..at]).unwrap();
            assert_eq!(kept(&cache, 1), None, "cut at {at}");
        }
        fs::write(&file, &good).unwrap();
        assert!(kept(&cache, 1).is_some());
        fs::copy(&file, cache.folder.join(cache.name(digest(2)))).unwrap();
        assert_eq!(kept(&cache, 2), None, "another content's");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(kept(&cache, 1), None, "open to others");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(root.path().join("compiled.key")).unwrap();
        let rekeyed = Cache::open(&place, &ENGINE).unwrap();
        assert_eq!(kept(&rekeyed, 1), None, "sealed with another key");
        rekeyed.put(digest(1), b"head", b"new");
        assert!(kept(&rekeyed, 1).is_some(), "and made anew");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), 900);
        let cache = Cache::open(&place, &ENGINE).unwrap();
        let body = [0; 200];
        let day = Duration::from_secs(24 * 3_600);
        for at in 1..=3_u8 {
            cache.put(digest(at), b"", &body);
            let file = File::open(cache.folder.join(cache.name(digest(at)))).unwrap();
            file.set_modified(SystemTime::now() - day * (10 - u32::from(at))).unwrap();
        }
        assert!(kept(&cache, 1).is_some(), "used: now 2 is the oldest");
        cache.put(digest(4), b"", &body);
        let there: Vec<u8> = (1..=4).filter(|at| kept(&cache, *at).is_some()).collect();
        assert_eq!(there, [1, 3, 4]);
        cache.put(digest(5), b"", &[0; 900]);
        assert_eq!(kept(&cache, 5), None, "larger than all of it");
        let old = cache.folder.join(format!("{UNFINISHED}1"));
        write_private(&old, b"").unwrap();
        File::open(&old).unwrap().set_modified(SystemTime::now() - day).unwrap();
        cache.put(digest(6), b"", b"");
        assert!(!old.exists(), "given up");
    }

    #[test]
    fn a_folder_that_is_open_to_others_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path(), 1_000);
        fs::create_dir(&place.folder).unwrap();
        fs::set_permissions(&place.folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&place, &ENGINE).err().unwrap().contains("0700"));
        fs::set_permissions(&place.folder, fs::Permissions::from_mode(0o700)).unwrap();
        let key = root.path().join("compiled.key");
        fs::write(&key, [1; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Cache::open(&place, &ENGINE).err().unwrap().contains("0600"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Cache::open(&place, &ENGINE).is_ok());
        fs::write(&key, [1; 31]).unwrap();
        assert!(Cache::open(&place, &ENGINE).err().unwrap().contains("32 bytes"));
    }
}
