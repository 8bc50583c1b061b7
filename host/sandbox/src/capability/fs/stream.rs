//! Files as streams: metered, and bounded in what they hold for the guest at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime_wasi::p2::{
    DynInputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn_blocking};

use super::account::Refused;
use super::folders::{OpenFile, Permit};

/// Most bytes of one write.
pub(super) const WRITE_BYTES: usize = 64 << 10;

/// Writes of one attempt at one time that the guest does not wait for.
pub(super) const WRITES: usize = 16;

/// Most bytes that a stream reads before the guest waits for them.
pub(super) const READ_AHEAD_BYTES: usize = 8 << 10;

/// What passed between a guest and its files, streams included.
pub(crate) struct Meter {
    pub(super) calls: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    writes: Arc<Semaphore>,
}

impl Default for Meter {
    fn default() -> Self {
        let none = AtomicU64::default;
        let writes = Arc::new(Semaphore::new(WRITES));
        Self { calls: none(), bytes_in: none(), bytes_out: none(), writes }
    }
}

impl Meter {
    pub(super) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn came_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn went_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A file that is read.
pub(super) struct Reader {
    pub(super) inner: DynInputStream,
    pub(super) meter: Arc<Meter>,
    pub(super) _permit: Option<Permit>,
}

impl Reader {
    fn counted(&self, read: StreamResult<Bytes>) -> StreamResult<Bytes> {
        self.meter.call();
        read.inspect(|bytes| self.meter.came_in(bytes.len()))
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.inner.read(size.min(READ_AHEAD_BYTES));
        self.counted(read)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.inner.blocking_read(size).await;
        self.counted(read)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

/// Where the next write goes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    At(u64),
    End,
}

/// A file that is written, one write at a time.
pub(super) struct Writer {
    pub(super) file: OpenFile,
    pub(super) place: Place,
    pub(super) meter: Arc<Meter>,
    state: State,
}

enum State {
    Ready,
    Writing(AbortOnDropJoinHandle<Result<(), Refused>>),
    Failed(Refused),
    Closed,
}

impl Writer {
    pub(super) fn new(file: OpenFile, place: Place, meter: Arc<Meter>) -> Self {
        Self { file, place, meter, state: State::Ready }
    }

    /// Wait for the write that is under way.
    async fn settle(&mut self) {
        if let State::Writing(writing) = &mut self.state {
            self.state = match writing.await {
                Ok(()) => State::Ready,
                Err(refused) => State::Failed(refused),
            };
        }
    }

    /// The error that has not been told yet, and none after it.
    fn told(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(refused) => {
                Err(StreamError::LastOperationFailed(wasmtime::Error::new(refused)))
            }
            State::Closed => Err(StreamError::Closed),
            state => {
                self.state = state;
                Ok(())
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.told()?;
        let permit = Arc::clone(&self.meter.writes).try_acquire_owned();
        let (State::Ready, Ok(permit)) = (&self.state, permit) else {
            return Err(StreamError::trap("a write that was not permitted"));
        };
        self.meter.call();
        let (file, place, meter) = (self.file.clone(), self.place, Arc::clone(&self.meter));
        let end = |at: u64| at.saturating_add(bytes.len() as u64);
        if let Place::At(at) = place {
            self.place = Place::At(end(at));
        }
        self.state = State::Writing(spawn_blocking(move || {
            let _permit = permit;
            file.write(&bytes, place)?;
            meter.went_out(bytes.len());
            Ok(())
        }));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.told()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.told()?;
        let room = matches!(self.state, State::Ready) && self.meter.writes.available_permits() > 0;
        Ok(if room { WRITE_BYTES } else { 0 })
    }

    async fn cancel(&mut self) {
        // What was accepted is written.
        self.settle().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.settle().await;
        if matches!(self.state, State::Ready) {
            // The semaphore is never closed.
            drop(self.meter.writes.acquire().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

    use super::*;
    use crate::capability::fs::account::Account;
    use crate::grants::FolderQuota;

    fn writer(bytes: u64, place: Place, meter: &Arc<Meter>) -> Writer {
        let account = Account::new(FolderQuota { bytes, files: 1 }, None);
        let file = Arc::new(tempfile::tempfile().unwrap());
        let node = account.node(&file).unwrap();
        Writer::new(OpenFile { file, node, _permit: None }, place, Arc::clone(meter))
    }

    #[tokio::test]
    async fn a_write_beyond_the_quota_says_so_once() {
        let meter = Arc::default();
        for place in [Place::At(0), Place::End] {
            let mut writer = writer(10, place, &meter);
            writer.blocking_write_and_flush(Bytes::from_static(&[1; 10])).await.unwrap();
            writer.write(Bytes::from_static(&[1])).unwrap();
            assert!(matches!(writer.check_write(), Ok(0)), "one at a time");
            writer.ready().await;
            let Err(StreamError::LastOperationFailed(error)) = writer.check_write() else {
                panic!("it was refused");
            };
            let code = error.downcast_ref::<Refused>().map(Refused::code);
            assert!(matches!(code, Some(ErrorCode::Quota)), "{code:?}");
            assert!(matches!(writer.flush(), Err(StreamError::Closed)));
            assert_eq!(writer.file.file.metadata().unwrap().len(), 10);
        }
        assert_eq!(meter.bytes_out.load(Ordering::Relaxed), 20);
    }

    #[tokio::test]
    async fn only_so_many_writes_are_under_way() {
        let meter = Arc::default();
        let mut writers: Vec<Writer> =
            (0..=WRITES).map(|_| writer(10, Place::End, &meter)).collect();
        let (last, others) = writers.split_last_mut().unwrap();
        let held: Vec<_> =
            others.iter().map(|_| Arc::clone(&meter.writes).try_acquire_owned().unwrap()).collect();
        assert!(matches!(last.check_write(), Ok(0)));
        assert!(matches!(last.write(Bytes::from_static(&[1])), Err(StreamError::Trap(_))));
        drop(held);
        last.ready().await;
        assert!(matches!(last.check_write(), Ok(WRITE_BYTES)));
        last.blocking_write_and_flush(Bytes::from_static(&[1])).await.unwrap();
    }
}
