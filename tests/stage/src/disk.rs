//! A disk that a test slows down, and that forgets at a loss of power what was not synced.
//!
//! A Redis server started with it tells through a library (`disk.c`) how much of its log each
//! sync made sure of. A real crash may leave more; this one leaves what must be left.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::preload::Preload;

/// The page's integers, as `disk.c` has them.
const DELAY_US: u64 = 0;
const SYNCED_BYTES: u64 = 1;
const SYNCED_NS: u64 = 2;
const WRITTEN_NS: u64 = 3;

/// The disk of one server.
pub struct StageDisk {
    preload: Preload,
}

/// What the end of a server took.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    /// Whatever was answered before is still there; `None` if the server did not live long
    /// enough to tell.
    pub kept_from: Option<Instant>,
    /// How much of the log is gone.
    pub bytes: u64,
}

impl Default for StageDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl StageDisk {
    /// A disk as fast as the machine's.
    ///
    /// # Panics
    /// If no temporary file can be made.
    #[must_use]
    pub fn new() -> Self {
        Self { preload: Preload::new(env!("STAGE_DISK_LIBRARY"), "STAGE_DISK_FILE") }
    }

    /// Let every sync that begins from now on take so much longer.
    ///
    /// # Panics
    /// If that is more than 292,000 years.
    pub fn slow_by(&self, time: Duration) {
        self.preload.write(DELAY_US, i64::try_from(time.as_micros()).expect("a short time"));
    }

    /// How much of a server's log no sync has made sure of.
    ///
    /// # Panics
    /// If the server in this folder has no log.
    #[must_use]
    pub fn unsynced_bytes(&self, folder: &Path) -> u64 {
        let length = log(folder).metadata().expect("a log").len();
        length.saturating_sub(self.preload.read(SYNCED_BYTES).unsigned_abs())
    }

    pub(crate) fn preload(&self) -> &Preload {
        &self.preload
    }

    /// What a server's memory had taken along: what was not written yet.
    pub(crate) fn written(&self) -> Loss {
        Loss { kept_from: instant(self.preload.read(WRITTEN_NS)), bytes: 0 }
    }

    /// Cut a server's log to what is on disk for sure.
    pub(crate) fn cut(&self, folder: &Path) -> Loss {
        let bytes = self.unsynced_bytes(folder);
        let log = OpenOptions::new().write(true).open(log(folder)).expect("a log");
        let length = log.metadata().expect("a length").len() - bytes;
        log.set_len(length).and_then(|()| log.sync_all()).expect("the log is cut");
        Loss { kept_from: instant(self.preload.read(SYNCED_NS)), bytes }
    }
}

/// The file to which a server appends.
fn log(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder.join("appendonlydir")).expect("a folder of logs");
    let mut logs = files.map(|file| file.expect("a file").path());
    logs.find(|path| path.to_string_lossy().ends_with(".incr.aof")).expect("a log")
}

/// A time of the monotonic clock, which [`Instant`] reads too; none if it is 0.
fn instant(ns: i64) -> Option<Instant> {
    let now = clock_gettime(ClockId::Monotonic);
    let now_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    let ago = Duration::from_nanos(u64::try_from(now_ns - ns).unwrap_or(0));
    (ns != 0).then(|| Instant::now().checked_sub(ago))?
}
