//! Too much of `fs`, and what lies beside it. Granted: a scratch folder of 1 MiB and 50 files.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};

use bulkhead_guest::prelude::*;

use crate::told;

const BYTES: usize = 1 << 20;
const FILES: usize = 50;
const HANDLES: usize = 128;

/// Writes until it is stopped.
#[handler]
pub(crate) fn fs_bytes(_: Payload) -> String {
    let chunk = vec![b'x'; 64 << 10];
    let mut written = 0;
    for at in 0..4 {
        let Ok(mut file) = File::create(format!("/scratch/{at}")) else { continue };
        while written <= BYTES && file.write_all(&chunk).is_ok() {
            written += chunk.len();
        }
    }
    told((written > BYTES).then(|| format!("{written} bytes")))
}

/// Makes files until it is stopped.
#[handler]
pub(crate) fn fs_files(_: Payload) -> String {
    let made = (0..FILES + 30).filter(|at| File::create(format!("/scratch/{at}")).is_ok()).count();
    told((made > FILES).then(|| format!("{made} files")))
}

/// Opens one file until it is stopped.
#[handler]
pub(crate) fn fs_handles(_: Payload) -> String {
    let _ = fs::write("/scratch/a", "x");
    let held: Vec<File> = (0..HANDLES + 50).filter_map(|_| File::open("/scratch/a").ok()).collect();
    told((held.len() > HANDLES).then(|| format!("{} open files", held.len())))
}

/// Makes folders in folders until it is stopped.
#[handler]
pub(crate) fn fs_deep(_: Payload) -> String {
    let mut path = "/scratch".to_owned();
    let mut made = 0;
    for _ in 0..FILES + 30 {
        path.push_str("/d");
        made += usize::from(fs::create_dir(&path).is_ok());
    }
    let long = format!("/scratch/{}", "d/".repeat(50_000));
    let mut found: Vec<String> =
        (made > FILES).then(|| format!("{made} folders")).into_iter().collect();
    found.extend(File::open(&long).is_ok().then(|| "a path of 100 KB".to_owned()));
    found.extend(fs::create_dir_all(long).is_ok().then(|| "50,000 folders".to_owned()));
    told(found)
}

/// Makes files that are huge and empty.
#[handler]
pub(crate) fn fs_sparse(_: Payload) -> String {
    let mut found = Vec::new();
    for length in [BYTES as u64 + 1, 1 << 40, i64::MAX as u64, u64::MAX] {
        let Ok(mut file) = File::create("/scratch/hole") else { continue };
        found.extend(file.set_len(length).is_ok().then(|| format!("a file of {length} bytes")));
        let written = file.seek(SeekFrom::Start(length)).and_then(|_| file.write_all(b"x"));
        found.extend(written.is_ok().then(|| format!("a byte at {length}")));
        let mut append = OpenOptions::new();
        if let Ok(mut file) = append.append(true).open("/scratch/hole") {
            let appended = file.write_all(&vec![b'x'; BYTES + 1]);
            found.extend(appended.is_ok().then(|| "more than the quota at once".to_owned()));
        }
    }
    told(found)
}

/// Gives files other names, thousands of times, and hopes to be given room back.
#[handler]
pub(crate) fn fs_renames(_: Payload) -> String {
    let half = vec![b'x'; BYTES / 2];
    let _ = fs::write("/scratch/a", &half);
    let _ = fs::write("/scratch/b", "b");
    for _ in 0..500 {
        let _ = fs::rename("/scratch/a", "/scratch/c");
        let _ = fs::rename("/scratch/c", "/scratch/a");
        let _ = fs::rename("/scratch/b", "/scratch/b");
    }
    let more = fs::write("/scratch/d", &half).and_then(|()| fs::write("/scratch/e", &half));
    told(more.is_ok().then(|| "room that it had given away".to_owned()))
}

/// Goes everywhere but where it may.
#[handler]
pub(crate) fn fs_paths(_: Payload) -> String {
    let _ = fs::create_dir("/scratch/in");
    let long = format!("/scratch/{}", "x".repeat(100_000));
    let paths = [
        "/",
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/dev/zero",
        "/scratch/..",
        "/scratch/../",
        "/scratch/../../../../etc/passwd",
        "/scratch/in/../../..",
        "/scratch/in/../../../etc/passwd",
        "/scratch//..//..//etc/passwd",
        "/scratch/./../etc/passwd",
        "/scratch/%2e%2e/etc/passwd",
        "/scratch/\u{2025}/etc/passwd",
        "scratch/../../etc/passwd",
        "../etc/passwd",
        "/scratchy",
        "/scratch/in\0/../../etc/passwd",
        &long,
    ];
    let mut found = Vec::new();
    for path in paths {
        let name = || format!("{path:.40?}");
        found.extend(File::open(path).is_ok().then(name));
        found.extend(fs::read_dir(path).is_ok().then(name));
        found.extend(fs::metadata(path).is_ok().then(name));
        found.extend(fs::write(format!("{path}/made"), "x").is_ok().then(name));
        found.extend(fs::rename("/scratch/in", path).is_ok().then(name));
        found.extend(fs::remove_file(path).is_ok().then(name));
    }
    told(found)
}

/// Makes links to what lies outside, and goes through them.
#[handler]
pub(crate) fn fs_links(_: Payload) -> String {
    let _ = fs::write("/scratch/a", "x");
    let mut found = Vec::new();
    for to in ["/etc/passwd", "..", "../..", "a", "/scratch/a", "/proc/self/fd/0", "/"] {
        #[allow(deprecated, reason = "the stable way to make one on this target")]
        let made = fs::soft_link(to, "/scratch/link");
        found.extend(made.is_ok().then(|| format!("a link to {to}")));
        let made = fs::hard_link(to, "/scratch/hard");
        found.extend(made.is_ok().then(|| format!("a hard link to {to}")));
        found.extend(fs::read("/scratch/link").is_ok().then(|| format!("what is in {to}")));
    }
    let made = fs::hard_link("/scratch/a", "/scratch/hard");
    found.extend(made.is_ok().then(|| "a hard link".to_owned()));
    told(found)
}

/// Looks for what an earlier attempt left in its folder, and leaves something.
#[handler]
pub(crate) fn fs_stays(_: Payload) -> String {
    let earlier = fs::read_dir("/scratch").into_iter().flatten().flatten();
    let found: Vec<String> = earlier.map(|entry| format!("{:?}", entry.file_name())).collect();
    let _ = fs::write("/scratch/left-behind", "x");
    told(found)
}
