//! What a child process says last, before it ends: it tells, and the host listens.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::text::bounded_lossy;

/// What is kept of a child's words, in bytes.
const MAX_WORDS_BYTES: usize = 512;

/// How a child process ends that has served. Only the host reads what went wrong.
pub(crate) fn end(served: io::Result<()>) -> ExitCode {
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

/// The first words of a stream; the rest is read and dropped.
pub(crate) async fn last_words(mut from: impl AsyncRead + Unpin) -> String {
    let mut words = Vec::new();
    let _ = (&mut from).take(MAX_WORDS_BYTES as u64).read_to_end(&mut words).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    bounded_lossy(words.trim_ascii(), MAX_WORDS_BYTES)
}
