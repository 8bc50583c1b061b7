//! The interfaces as the guest calls them: what each call does once it may.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File as WasiFile, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi::runtime::spawn_blocking;
use wasmtime_wasi::{FsPerms, OpenMode};

use types::{ErrorCode, HostDescriptor as Wasi, HostDirectoryEntryStream};

use super::account::Refused;
use super::folders::Handle;
use super::listing::Listing;
use super::path::{self, Opened, Wanted};
use super::stream::{Place, Reader};
use super::view::{FolderView, checked, writable};

impl preopens::Host for FolderView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        // A guest without folders asks too.
        let Ok(folders) = self.folders() else { return Ok(Vec::new()) };
        folders.meter.call();
        let granted: Vec<_> = folders.granted().collect();
        let mut given = Vec::with_capacity(granted.len());
        for (descriptor, guest, handle) in granted {
            let fd = self.0.table().push(descriptor)?;
            if let Ok(folders) = self.folders() {
                folders.opened(fd.rep(), handle);
            }
            given.push((fd, guest));
        }
        Ok(given)
    }
}

impl types::Host for FolderView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        match self.0.table().get(&error)?.downcast_ref::<Refused>() {
            Some(refused) => Ok(Some(refused.code())),
            None => types::Host::filesystem_error_code(&mut self.0.filesystem(), error),
        }
    }
}

impl Wasi for FolderView<'_> {
    async fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        offset: types::Filesize,
        len: types::Filesize,
        advice: types::Advice,
    ) -> FsResult<()> {
        self.call()?;
        Wasi::advise(&mut self.0.filesystem(), fd, offset, len, advice).await
    }

    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.call()?;
        Wasi::sync_data(&mut self.0.filesystem(), fd).await
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<types::DescriptorFlags> {
        self.call()?;
        Wasi::get_flags(&mut self.0.filesystem(), fd).await
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<types::DescriptorType> {
        self.call()?;
        Wasi::get_type(&mut self.0.filesystem(), fd).await
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: types::Filesize) -> FsResult<()> {
        let file = self.file_to_change(&fd)?;
        Ok(spawn_blocking(move || file.node.set_length(&file.file, size)).await?)
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        self.call()?;
        writable(&self.handle(&fd)?)?;
        Wasi::set_times(&mut self.0.filesystem(), fd, accessed, modified).await
    }

    async fn read(
        &mut self,
        fd: Resource<Descriptor>,
        len: types::Filesize,
        offset: types::Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.call()?;
        let read = Wasi::read(&mut self.0.filesystem(), fd, len, offset).await?;
        self.folders()?.meter.came_in(read.0.len());
        Ok(read)
    }

    async fn write(
        &mut self,
        fd: Resource<Descriptor>,
        data: Vec<u8>,
        offset: types::Filesize,
    ) -> FsResult<types::Filesize> {
        let file = self.file_to_change(&fd)?;
        let bytes = data.len();
        spawn_blocking(move || file.write(&data, Place::At(offset))).await?;
        self.folders()?.meter.went_out(bytes);
        Ok(bytes as u64)
    }

    async fn read_directory(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let (dir, _) = self.folder(&fd)?;
        let permit = self.folders()?.permit()?;
        let listing = spawn_blocking(move || Listing::open(&dir, permit)).await?;
        let listing = self.0.table().push(listing)?;
        // The guest's handle has the interface's type, the table has ours.
        Ok(Resource::new_own(listing.rep()))
    }

    async fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.call()?;
        Wasi::sync(&mut self.0.filesystem(), fd).await
    }

    async fn create_directory_at(&mut self, fd: Resource<Descriptor>, at: String) -> FsResult<()> {
        let (dir, account) = self.folder_to_change(&fd)?;
        let at = checked(at)?;
        Ok(spawn_blocking(move || path::make_folder(&dir, at.as_ref(), &account)).await?)
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<types::DescriptorStat> {
        self.call()?;
        Wasi::stat(&mut self.0.filesystem(), fd).await
    }

    async fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        at: String,
    ) -> FsResult<types::DescriptorStat> {
        self.call()?;
        let at = checked(at)?;
        Wasi::stat_at(&mut self.0.filesystem(), fd, flags, at).await
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        at: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let (dir, account) = self.folder_to_change(&fd)?;
        let at = checked(at)?;
        let times = path::Times::of(accessed, modified)?;
        let follow = flags.contains(types::PathFlags::SYMLINK_FOLLOW);
        Ok(spawn_blocking(move || times.set(&dir, at.as_ref(), follow, &account)).await?)
    }

    async fn link_at(
        &mut self,
        _: Resource<Descriptor>,
        _: types::PathFlags,
        _: String,
        _: Resource<Descriptor>,
        _: String,
    ) -> FsResult<()> {
        self.call()?;
        Err(ErrorCode::NotPermitted.into())
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        at: String,
        how: types::OpenFlags,
        wants: types::DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let began = Instant::now();
        let opened = self.open(fd, flags, at, how, wants).await;
        self.opened(began, opened.is_ok());
        opened
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, at: String) -> FsResult<String> {
        self.call()?;
        let at = checked(at)?;
        Wasi::readlink_at(&mut self.0.filesystem(), fd, at).await
    }

    async fn remove_directory_at(&mut self, fd: Resource<Descriptor>, at: String) -> FsResult<()> {
        let (dir, account) = self.folder_to_change(&fd)?;
        let at = checked(at)?;
        Ok(spawn_blocking(move || path::remove_folder(&dir, at.as_ref(), &account)).await?)
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        at: String,
        new_fd: Resource<Descriptor>,
        new_at: String,
    ) -> FsResult<()> {
        let (from, account) = self.folder_to_change(&fd)?;
        let (to, other) = self.folder_to_change(&new_fd)?;
        if !Arc::ptr_eq(&account, &other) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let (at, new_at) = (checked(at)?, checked(new_at)?);
        Ok(spawn_blocking(move || {
            path::move_to(&from, at.as_ref(), &to, new_at.as_ref(), &account)
        })
        .await?)
    }

    async fn symlink_at(&mut self, _: Resource<Descriptor>, _: String, _: String) -> FsResult<()> {
        self.call()?;
        Err(ErrorCode::NotPermitted.into())
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, at: String) -> FsResult<()> {
        let (dir, account) = self.folder_to_change(&fd)?;
        let at = checked(at)?;
        Ok(spawn_blocking(move || path::unlink(&dir, at.as_ref(), &account)).await?)
    }

    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: types::Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.call()?;
        let meter = Arc::clone(&self.folders()?.meter);
        let permit = self.handle(&fd)?.permit;
        let stream = Wasi::read_via_stream(&mut self.0.filesystem(), fd, offset)?;
        let inner = self.0.table().delete(stream)?;
        let reader: DynInputStream = Box::new(Reader { inner, meter, _permit: permit });
        Ok(self.0.table().push(reader)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: types::Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.push_writer(&fd, Place::At(offset))
    }

    fn append_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.push_writer(&fd, Place::End)
    }

    async fn is_same_object(
        &mut self,
        a: Resource<Descriptor>,
        b: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        if let Ok(folders) = self.folders() {
            folders.meter.call();
        }
        Wasi::is_same_object(&mut self.0.filesystem(), a, b).await
    }

    async fn metadata_hash(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<types::MetadataHashValue> {
        self.call()?;
        Wasi::metadata_hash(&mut self.0.filesystem(), fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        at: String,
    ) -> FsResult<types::MetadataHashValue> {
        self.call()?;
        let at = checked(at)?;
        Wasi::metadata_hash_at(&mut self.0.filesystem(), fd, flags, at).await
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        let at = fd.rep();
        // The file is closed before what it held is given back.
        self.0.table().delete(fd)?;
        if let Ok(folders) = self.folders() {
            folders.closed(at);
        }
        Ok(())
    }
}

impl HostDirectoryEntryStream for FolderView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        self.call()?;
        let listing = Resource::<Listing>::new_borrow(stream.rep());
        let entry = self.0.table().get_mut(&listing)?.next().await?;
        let meter = &self.folders()?.meter;
        meter.came_in(entry.as_ref().map_or(0, |entry| entry.name.len()));
        Ok(entry)
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.0.table().delete(Resource::<Listing>::new_own(stream.rep()))?;
        Ok(())
    }
}

impl FolderView<'_> {
    async fn open(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        at: String,
        how: types::OpenFlags,
        wants: types::DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let (dir, Handle { account, .. }) = self.folder(&fd)?;
        let at = checked(at)?;
        let follow = flags.contains(types::PathFlags::SYMLINK_FOLLOW);
        let wanted = Wanted { follow, how, flags: wants };
        let permit = self.folders()?.permit()?;
        let under = account.clone();
        let opened =
            spawn_blocking(move || path::open_at(&dir, at.as_ref(), wanted, under.as_ref()))
                .await?;
        let perms = if account.is_some() { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        let mut mode = OpenMode::empty();
        mode.set(OpenMode::READ, wanted.reads());
        mode.set(OpenMode::WRITE, wanted.writes());
        let (descriptor, node) = match opened {
            Opened::File(file, node) => {
                (Descriptor::File(WasiFile::new(file, perms, mode, false)), node)
            }
            Opened::Folder(dir) => (Descriptor::Dir(Dir::new(dir, perms, mode, false)), None),
        };
        let fd = self.0.table().push(descriptor)?;
        let handle = Handle { account, node, permit: Some(permit) };
        self.folders()?.opened(fd.rep(), handle);
        Ok(fd)
    }
}
