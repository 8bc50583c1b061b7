//! Removing what guests left: folders of any depth, with files of any number.
//!
//! Whoever made them may have meant to exhaust whoever removes them. So nothing here recurses,
//! and neither open files nor memory grow with what is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Remove a folder and all in it. What is nested is moved to the top first, which holds no more
/// than two folders open.
pub(super) fn discard(top: &Path) -> io::Result<()> {
    // Nobody could have made a folder of this name before.
    let unused = Uuid::new_v4().simple().to_string();
    let mut moved = 0_u64;
    loop {
        let some = entries(top)?;
        if some.is_empty() {
            return fs::remove_dir(top);
        }
        for entry in some {
            if entry.file_type()?.is_dir() {
                empty(&entry.path(), || {
                    moved += 1;
                    top.join(format!("{unused}-{moved}"))
                })?;
                fs::remove_dir(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
}

/// Remove the files in a folder and move its folders to where `elsewhere` says.
fn empty(folder: &Path, mut elsewhere: impl FnMut() -> PathBuf) -> io::Result<()> {
    loop {
        let some = entries(folder)?;
        if some.is_empty() {
            return Ok(());
        }
        for entry in some {
            if entry.file_type()?.is_dir() {
                fs::rename(entry.path(), elsewhere())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
}

/// Some entries of a folder; none if it is empty.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)?.take(256).collect()
}
