//! Paths beneath a folder that was granted, tried on real files with every kind of link.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use bulkhead_sandbox::FolderQuota;
use bulkhead_sandbox::fuzzing::Folder;

/// Parts from which most paths are made, besides any text.
const PARTS: [&str; 16] = [
    "a", "b", "file", "..", ".", "", "/", "up", "out", "abs", "loop", "deep", "dangling", "proc",
    "file/", "new",
];

/// Calls of one input.
const MAX_CALLS: usize = 12;

#[derive(Debug, Arbitrary)]
enum Part<'a> {
    Known(u8),
    Any(&'a str),
}

#[derive(Debug, Arbitrary)]
struct Call<'a> {
    what: u8,
    follow: bool,
    how: u8,
    flags: u8,
    path: Vec<Part<'a>>,
    other: Vec<Part<'a>>,
}

fn path(parts: &[Part<'_>]) -> String {
    let text = |part: &Part<'_>| match *part {
        Part::Known(at) => PARTS[usize::from(at) % PARTS.len()].to_owned(),
        Part::Any(text) => text.to_owned(),
    };
    parts.iter().take(64).map(text).collect::<Vec<_>>().join("/")
}

/// Calls on a folder: whatever is opened lies in it, nothing beside it changes, and what is
/// written stays within the quota.
pub fn paths(data: &[u8]) {
    let Ok(calls) = Vec::<Call<'_>>::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let root = tempfile::tempdir().unwrap();
    let inside = laid_out(root.path());
    let quota = FolderQuota { bytes: 64, files: 5 };
    for read_only in [true, false] {
        let folder = Folder::open(&inside, (!read_only).then_some(quota)).unwrap();
        for call in calls.iter().take(MAX_CALLS) {
            done(&folder, call, &inside, read_only);
        }
        assert_outside_is_as_it_was(root.path());
        let (bytes, files) = size(&inside);
        let (most_bytes, most_files) = if read_only { (4, 11) } else { (4 + 64, 11 + 5) };
        assert!(bytes <= most_bytes && files <= most_files, "{bytes} bytes, {files} files");
        if read_only {
            assert_eq!((bytes, files), (4, 11), "nothing changes where nothing may be written");
        }
    }
}

/// A folder `in` with links that lead everywhere, and what must not be reached beside it.
fn laid_out(root: &Path) -> PathBuf {
    let inside = root.join("in");
    fs::create_dir_all(inside.join("a/b")).unwrap();
    fs::create_dir(root.join("beside")).unwrap();
    fs::write(root.join("beside/secret"), "secret").unwrap();
    fs::write(root.join("in-secret"), "secret").unwrap();
    fs::write(inside.join("file"), "file").unwrap();
    for (link, to) in [
        ("up", Path::new("..")),
        ("out", Path::new("../beside")),
        ("abs", root.join("beside").as_path()),
        ("loop", Path::new("loop")),
        ("deep", Path::new("a/b/../../../beside/secret")),
        ("dangling", Path::new("../made-outside")),
        ("proc", Path::new("/proc/self/root")),
        ("fine", Path::new("a/b")),
    ] {
        symlink(to, inside.join(link)).unwrap();
    }
    inside.canonicalize().unwrap()
}

fn assert_outside_is_as_it_was(root: &Path) {
    let mut names: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["beside", "in", "in-secret"]);
    for secret in ["beside/secret", "in-secret"] {
        assert_eq!(fs::read(root.join(secret)).unwrap(), b"secret");
    }
    assert_eq!(fs::read_dir(root.join("beside")).unwrap().count(), 1);
}

fn done(folder: &Folder, call: &Call<'_>, inside: &Path, read_only: bool) {
    let (at, other) = (path(&call.path), path(&call.other));
    let changed = match call.what % 6 {
        0 | 1 => {
            if let Ok(opened) = folder.open_at(&at, call.follow, call.how, call.flags) {
                assert_within(&opened, inside, &at);
            }
            return;
        }
        2 => folder.make_folder(&at),
        3 => folder.remove_folder(&at),
        4 => folder.unlink(&at),
        _ => folder.rename(&at, &other).and_then(|()| folder.set_times(&other, call.follow)),
    };
    assert!(!(read_only && changed.is_ok()), "{call:?}");
}

/// Whether the kernel says that it is in the folder.
fn assert_within(opened: &File, inside: &Path, at: &str) {
    use std::os::fd::AsRawFd;
    let real = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).unwrap();
    assert!(real.starts_with(inside), "{at:?} led to {real:?}");
}

/// Bytes of all files, and the number of everything, without following a link.
fn size(folder: &Path) -> (u64, u64) {
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        files += 1;
        if about.is_dir() {
            let (more_bytes, more_files) = size(&entry.path());
            (bytes, files) = (bytes + more_bytes, files + more_files);
        } else if about.is_file() {
            bytes += about.len();
        }
    }
    (bytes, files)
}
