//! The plugin folder as files: what is there, whether it has come to rest, its bytes.
//!
//! Access goes through a directory handle: a symbolic link that leads out of the
//! folder is not followed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};

use crate::manifest::MAX_MANIFEST_BYTES;
use crate::trust;

/// A file that has looked the same for this long is taken as written.
pub(super) const AT_REST: Duration = Duration::from_millis(40);

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    len: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A plugin's file, its manifest and its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Files {
    wasm: Stamp,
    manifest: Option<Stamp>,
    signature: Option<Stamp>,
}

struct Seen {
    files: Files,
    since: Instant,
    taken: bool,
}

/// The folder, and what was seen in it last.
pub(super) struct Folder {
    files: Arc<PluginFiles>,
    /// Most plugins that are looked at.
    most: usize,
    /// Plugins beyond that at the last look.
    beyond: usize,
    seen: BTreeMap<String, Seen>,
}

/// What a look through the folder found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Plugins whose files are new or changed, and at rest.
    pub(super) changed: Vec<String>,
    /// Plugins whose files are gone.
    pub(super) gone: Vec<String>,
    /// Whether a file is still changing: look again soon.
    pub(super) restless: bool,
    /// How many plugins were not looked at for their number, if that is new.
    pub(super) beyond: Option<usize>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::at(Dir::open_ambient_dir(path, ambient_authority())?, usize::MAX))
    }

    /// The folder behind this handle, in which so many plugins are looked at.
    pub(super) fn at(dir: Dir, most: usize) -> Self {
        Self { files: Arc::new(PluginFiles(dir)), most, beyond: 0, seen: BTreeMap::new() }
    }

    /// The same folder has become another one.
    pub(super) fn replace(&mut self, dir: Dir) {
        self.files = Arc::new(PluginFiles(dir));
    }

    /// What tells the folder from every other one.
    pub(super) fn place(&self) -> io::Result<Place> {
        Ok(Place::of(&self.files.0.dir_metadata()?))
    }

    /// The plugins in it, with the bytes of their files.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.seen.iter().map(|(name, seen)| (name.as_str(), seen.files.wasm.len))
    }

    /// The files, to be read while the folder is looked at.
    pub(super) fn files(&self) -> Arc<PluginFiles> {
        self.files.clone()
    }

    /// Look through the folder. A plugin is reported as changed once.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<Look> {
        let mut look = Look::default();
        let (mut present, mut beyond) = (BTreeMap::new(), 0);
        // What was seen keeps its place.
        let mut room = self.most.saturating_sub(self.seen.len());
        for entry in self.files.0.entries()? {
            let entry = entry?;
            let file = entry.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".wasm")) else {
                continue;
            };
            if name.is_empty() || name.starts_with('.') {
                continue;
            }
            let is_new = !self.seen.contains_key(name);
            if is_new && room == 0 {
                beyond += 1;
                continue;
            }
            // A file that vanishes between listing and looking is simply not there.
            let Ok(wasm) = self.files.0.metadata(&file) else { continue };
            if !wasm.is_file() {
                continue;
            }
            room -= usize::from(is_new);
            let beside = |file: String| self.files.0.metadata(file).ok().as_ref().map(Stamp::of);
            let files = Files {
                wasm: Stamp::of(&wasm),
                manifest: beside(format!("{name}.toml")),
                signature: beside(format!("{name}.wasm.sig")),
            };
            present.insert(name.to_owned(), files);
        }
        if beyond != self.beyond {
            self.beyond = beyond;
            look.beyond = Some(beyond);
        }
        look.gone = self.seen.keys().filter(|name| !present.contains_key(*name)).cloned().collect();
        for name in &look.gone {
            self.seen.remove(name);
        }
        for (name, files) in present {
            let seen =
                self.seen.entry(name.clone()).or_insert(Seen { files, since: now, taken: false });
            if seen.files != files {
                *seen = Seen { files, since: now, taken: false };
            }
            if seen.taken {
                continue;
            }
            if now.duration_since(seen.since) >= AT_REST {
                seen.taken = true;
                look.changed.push(name);
            } else {
                look.restless = true;
            }
        }
        Ok(look)
    }

    /// Report these plugins as changed again at the next look.
    pub(super) fn forget(&mut self, which: impl Fn(&str) -> bool) {
        for (name, seen) in &mut self.seen {
            seen.taken &= !which(name);
        }
    }

    /// Report this plugin as changed again once it has rested anew.
    pub(super) fn doubt(&mut self, name: &str, now: Instant) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.taken = false;
            seen.since = now;
        }
    }

    /// Whether a plugin's file still is as it was last seen.
    pub(super) fn unchanged(&self, name: &str) -> bool {
        let now =
            self.files.0.metadata(format!("{name}.wasm")).map(|metadata| Stamp::of(&metadata));
        self.seen.get(name).is_some_and(|seen| now.is_ok_and(|now| now == seen.files.wasm))
    }
}

/// Where a folder is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The contents of the folder's files.
pub(super) struct PluginFiles(Dir);

impl PluginFiles {
    /// How many bytes a plugin file has.
    pub(super) fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.0.metadata(format!("{name}.wasm"))?.len())
    }

    /// Read a plugin file, at most `max` bytes of it and one more.
    pub(super) fn read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(&format!("{name}.wasm"))?;
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Read a plugin's manifest, if it has one.
    pub(super) fn manifest(&self, name: &str) -> io::Result<Option<String>> {
        self.text(&format!("{name}.toml"), MAX_MANIFEST_BYTES)
    }

    /// Read a plugin's signature, if it has one.
    pub(super) fn signature(&self, name: &str) -> io::Result<Option<String>> {
        self.text(&format!("{name}.wasm.sig"), trust::MAX_FILE_BYTES)
    }

    /// Open a file, if it is one: what has no end, or opens only when somebody answers, is not.
    fn open(&self, name: &str) -> io::Result<File> {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(i32::try_from(nonblocking).unwrap_or_default());
        let file = self.0.open_with(name, &options)?;
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }

    fn text(&self, file: &str, max_bytes: u64) -> io::Result<Option<String>> {
        let file = match self.open(file) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut text = String::new();
        file.take(max_bytes + 1).read_to_string(&mut text)?;
        if text.len() as u64 > max_bytes {
            let message = format!("it has more than {max_bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(folder: &mut Folder, at: Instant) -> (Vec<String>, bool) {
        let look = folder.look(at).unwrap();
        (look.changed, look.restless)
    }

    #[test]
    fn a_file_is_reported_once_after_it_has_come_to_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        std::fs::write(&path, b"one").unwrap();
        std::fs::write(dir.path().join("notes.txt"), b"no plugin").unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        let start = Instant::now();
        assert_eq!(changed(&mut folder, start), (vec![], true));
        // Written to in the meantime: the wait begins anew.
        std::fs::write(&path, b"longer").unwrap();
        assert_eq!(changed(&mut folder, start + AT_REST), (vec![], true));
        assert_eq!(changed(&mut folder, start + AT_REST * 2), (vec!["a".into()], false));
        assert_eq!(changed(&mut folder, start + AT_REST * 3), (vec![], false));
        // A new manifest is a change of the plugin.
        std::fs::write(dir.path().join("a.toml"), b"").unwrap();
        assert_eq!(changed(&mut folder, start + AT_REST * 4), (vec![], true));
        assert_eq!(changed(&mut folder, start + AT_REST * 5), (vec!["a".into()], false));
        std::fs::write(dir.path().join("a.wasm.sig"), b"s").unwrap();
        assert_eq!(changed(&mut folder, start + AT_REST * 6), (vec![], true));
        assert_eq!(changed(&mut folder, start + AT_REST * 7), (vec!["a".into()], false));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(folder.look(start + AT_REST * 8).unwrap().gone, ["a"]);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.toml", "a.wasm"] {
            let path = dir.path().join(name);
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        }
        let folder = Folder::open(dir.path()).unwrap();
        let said = folder.files().manifest("a").unwrap_err().to_string();
        assert_eq!(said, "it is no regular file");
        assert!(folder.files().read("a", 10).is_err());
    }

    #[test]
    fn what_was_seen_goes_before_what_is_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::write(dir.path().join(name), b"x").unwrap();
        ["m.wasm", "n.wasm"].into_iter().for_each(file);
        let opened = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        let (mut folder, now) = (Folder::at(opened, 2), Instant::now());
        assert_eq!(folder.look(now).unwrap().beyond, None);
        ["a.wasm", "z.wasm"].into_iter().for_each(file);
        assert_eq!(folder.look(now).unwrap().beyond, Some(2));
        let look = folder.look(now + AT_REST).unwrap();
        assert_eq!((look.changed, look.beyond), (vec!["m".into(), "n".into()], None));
        std::fs::remove_file(dir.path().join("m.wasm")).unwrap();
        let look = folder.look(now + AT_REST).unwrap();
        assert_eq!((look.gone, look.beyond), (vec!["m".into()], None));
        assert_eq!(folder.look(now).unwrap().beyond, Some(1), "its place is free now");
        assert_eq!(folder.sizes().count(), 2);
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("a.wasm");
        std::os::unix::fs::symlink(outside.path().join("secret"), link).unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        let look = folder.look(Instant::now()).unwrap();
        assert!(!look.restless && look.changed.is_empty());
        assert!(folder.files().read("a", 10).is_err());
    }
}
