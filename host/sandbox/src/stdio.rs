//! The standard streams of a guest.
//!
//! Standard error, and the standard output of a component, become log lines: always
//! writable, never blocking, never failing, so that a chatty guest does not trap. The
//! standard input and output of a plain command are its payload and its output; an
//! output over the limit ends the attempt with [`OutputTooLarge`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::journal::{SharedJournal, Stream};

/// What a stream accepts in one write, which is also what one call can make the host
/// allocate.
const WRITE_BYTES: usize = 64 << 10;

/// The output of a command passed the result limit.
#[derive(Debug, thiserror::Error)]
#[error("the output passed the limit of {limit_bytes} bytes")]
pub(crate) struct OutputTooLarge {
    pub(crate) limit_bytes: u64,
}

/// A stream whose lines go to the log.
#[derive(Clone)]
pub(crate) struct LoggedStream {
    pub(crate) journal: SharedJournal,
    pub(crate) stream: Stream,
}

/// A stream whose bytes are the attempt's output.
#[derive(Clone)]
pub(crate) struct CollectedStream {
    output: Arc<Mutex<Vec<u8>>>,
    limit_bytes: u64,
}

impl CollectedStream {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { output: Arc::default(), limit_bytes }
    }

    /// What was written so far; the stream starts anew.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.output.lock())
    }
}

/// Where a guest's bytes go.
trait Sink: Clone + Send + Sync + Unpin + 'static {
    fn accept(&self, bytes: &[u8]) -> Result<(), OutputTooLarge>;
}

impl Sink for LoggedStream {
    fn accept(&self, bytes: &[u8]) -> Result<(), OutputTooLarge> {
        self.journal.capture(self.stream, bytes);
        Ok(())
    }
}

impl Sink for CollectedStream {
    fn accept(&self, bytes: &[u8]) -> Result<(), OutputTooLarge> {
        let mut output = self.output.lock();
        if (output.len() + bytes.len()) as u64 > self.limit_bytes {
            return Err(OutputTooLarge { limit_bytes: self.limit_bytes });
        }
        output.extend_from_slice(bytes);
        Ok(())
    }
}

/// A sink as WASI sees it.
pub(crate) struct Writer<S>(pub(crate) S);

impl<S> IsTerminal for Writer<S> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<S: Sink> StdoutStream for Writer<S> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Self(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(self.0.clone()))
    }
}

#[wasmtime_wasi::async_trait]
impl<S: Sink> Pollable for Writer<S> {
    async fn ready(&mut self) {}
}

impl<S: Sink> OutputStream for Writer<S> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.accept(&bytes).map_err(|error| StreamError::Trap(wasmtime::Error::new(error)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl<S: Sink> AsyncWrite for Writer<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.accept(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A command's standard input: all of the payload, then the end. Every stream that
/// the guest opens reads on where the last one stopped.
#[derive(Clone)]
pub(crate) struct PayloadStream(Arc<Mutex<Bytes>>);

impl PayloadStream {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self(Arc::new(Mutex::new(payload)))
    }

    fn next(&self, max_bytes: usize) -> Bytes {
        let mut rest = self.0.lock();
        let length = rest.len().min(max_bytes);
        rest.split_to(length)
    }
}

impl IsTerminal for PayloadStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for PayloadStream {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for PayloadStream {
    async fn ready(&mut self) {}
}

impl InputStream for PayloadStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 && self.0.lock().is_empty() {
            return Err(StreamError::Closed);
        }
        Ok(self.next(size))
    }
}

impl AsyncRead for PayloadStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = self.next(buffer.remaining());
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}
