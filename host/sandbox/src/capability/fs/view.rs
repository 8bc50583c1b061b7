//! What every call of a guest goes through before it does anything: it is counted, its handle is
//! one of an open file or folder, and what it would change has an account to be charged to.
//!
//! What a call then does is not known here.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::Resource;
use wasmtime_wasi::OpenMode;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{DynOutputStream, FsError, FsResult};

use super::account::{Account, Refused};
use super::folders::{Folders, Handle, OpenFile};
use super::stream::{Place, Writer};
use crate::compartment::Compartment;

/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 4 << 10;

/// What a guest has of folders.
pub(super) struct FolderView<'a>(pub(super) &'a mut Compartment);

impl From<Refused> for FsError {
    fn from(refused: Refused) -> Self {
        refused.code().into()
    }
}

/// A path that is short enough.
pub(super) fn checked(path: String) -> FsResult<String> {
    match path.len() {
        ..=MAX_PATH_BYTES => Ok(path),
        _ => Err(ErrorCode::NameTooLong.into()),
    }
}

/// What has an account may be written.
pub(super) fn writable(handle: &Handle) -> FsResult<Arc<Account>> {
    handle.account.clone().ok_or_else(|| ErrorCode::ReadOnly.into())
}

impl FolderView<'_> {
    pub(super) fn folders(&mut self) -> FsResult<&mut Folders> {
        let powers = self.0.powers.as_deref_mut();
        powers
            .and_then(|powers| powers.folders.as_deref_mut())
            .ok_or_else(|| ErrorCode::BadDescriptor.into())
    }

    /// A call begins.
    pub(super) fn call(&mut self) -> FsResult<()> {
        self.folders()?.meter.call();
        Ok(())
    }

    /// A file or folder was opened, or could not be.
    pub(super) fn opened(&self, began: Instant, succeeded: bool) {
        if let Some(powers) = self.0.powers.as_deref() {
            powers.called("fs", "open", began, succeeded);
        }
    }

    pub(super) fn handle(&mut self, fd: &Resource<Descriptor>) -> FsResult<Handle> {
        Ok(self.folders()?.handle(fd.rep())?)
    }

    /// A call on a folder begins.
    pub(super) fn folder(&mut self, fd: &Resource<Descriptor>) -> FsResult<(Arc<File>, Handle)> {
        self.call()?;
        match self.0.table().get(fd)? {
            Descriptor::Dir(dir) => {
                let dir = Arc::clone(&dir.dir);
                Ok((dir, self.handle(fd)?))
            }
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// A call that changes a folder begins.
    pub(super) fn folder_to_change(
        &mut self,
        fd: &Resource<Descriptor>,
    ) -> FsResult<(Arc<File>, Arc<Account>)> {
        let (dir, handle) = self.folder(fd)?;
        Ok((dir, writable(&handle)?))
    }

    /// A call that changes a file begins.
    pub(super) fn file_to_change(&mut self, fd: &Resource<Descriptor>) -> FsResult<OpenFile> {
        self.call()?;
        let Descriptor::File(file) = self.0.table().get(fd)? else {
            return Err(ErrorCode::BadDescriptor.into());
        };
        let (file, written) = (Arc::clone(&file.file), file.open_mode.contains(OpenMode::WRITE));
        let Handle { node, permit, .. } = self.handle(fd)?;
        let node = node.ok_or(ErrorCode::ReadOnly)?;
        match written {
            true => Ok(OpenFile { file, node, _permit: permit }),
            false => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    pub(super) fn push_writer(
        &mut self,
        fd: &Resource<Descriptor>,
        place: Place,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.file_to_change(fd)?;
        let meter = Arc::clone(&self.folders()?.meter);
        let writer: DynOutputStream = Box::new(Writer::new(file, place, meter));
        Ok(self.0.table().push(writer)?)
    }
}
