//! The entries of a folder, some at a time, so that a folder of any size can be listed.

use std::collections::VecDeque;
use std::fs::File;

use cap_primitives::fs::{FileType, ReadDir, read_base_dir};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};
use wasmtime_wasi::runtime::spawn_blocking;

use super::account::Refused;
use super::folders::Permit;

/// Entries that are read at one time.
const SOME: usize = 64;

/// A folder that is being listed.
pub(super) struct Listing {
    /// None when all were read, or while some are.
    left: Option<ReadDir>,
    read: VecDeque<Result<DirectoryEntry, Refused>>,
    _permit: Permit,
}

impl Listing {
    /// Begin with the first. Blocks.
    pub(super) fn open(folder: &File, permit: Permit) -> Result<Self, Refused> {
        let left = Some(read_base_dir(folder)?);
        Ok(Self { left, read: VecDeque::new(), _permit: permit })
    }

    /// The next entry; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<DirectoryEntry>, Refused> {
        if self.read.is_empty()
            && let Some(mut left) = self.left.take()
        {
            let reading = spawn_blocking(move || {
                let some: VecDeque<_> = left.by_ref().take(SOME).map(entry).collect();
                ((some.len() == SOME).then_some(left), some)
            });
            (self.left, self.read) = reading.await;
        }
        self.read.pop_front().transpose()
    }
}

fn entry(entry: std::io::Result<cap_primitives::fs::DirEntry>) -> Result<DirectoryEntry, Refused> {
    let entry = entry?;
    let type_ = descriptor_type(entry.file_type()?);
    let name = entry.file_name().into_string();
    let name = name.map_err(|_| Refused::Code(ErrorCode::IllegalByteSequence))?;
    Ok(DirectoryEntry { type_, name })
}

fn descriptor_type(file_type: FileType) -> DescriptorType {
    if file_type.is_dir() {
        DescriptorType::Directory
    } else if file_type.is_file() {
        DescriptorType::RegularFile
    } else if file_type.is_symlink() {
        DescriptorType::SymbolicLink
    } else {
        DescriptorType::Unknown
    }
}
