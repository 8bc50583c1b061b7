//! A plugin whose guests run in worker processes: its machine code, kept where each of them can
//! read it and nobody can change it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Weak;

use rustix::fs::{MemfdFlags, SealFlags};

use super::pool::Workers;
use crate::worker::wire::Ware;

/// A plugin as workers are given it.
pub(crate) struct Elsewhere {
    pub(super) id: u64,
    pub(super) ware: Ware,
    pub(super) takes_batches: bool,
    code: File,
    workers: Weak<Workers>,
}

impl Elsewhere {
    pub(super) fn new(
        workers: Weak<Workers>,
        id: u64,
        ware: Ware,
        code: &[u8],
    ) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("plugin", flags)?);
        file.write_all(code)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(Self { id, ware, takes_batches: false, code: file, workers })
    }

    /// Whether it takes batches, as it says itself.
    pub(crate) fn takes_batches(&self) -> bool {
        self.takes_batches
    }

    /// A descriptor of the machine code for one worker.
    pub(super) fn code(&self) -> io::Result<OwnedFd> {
        self.code.try_clone().map(OwnedFd::from)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.upgrade() {
            workers.forget(self.id);
        }
    }
}
