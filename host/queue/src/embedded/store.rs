//! Group commit: what operations changed is written by one thread, many at a time, and
//! their answers are released when it is on disk.
//!
//! The machine is ahead of the file by what waits here. If the file cannot be written,
//! what waits stays in bounds and is tried again, and callers are told that the broker is
//! unavailable; nothing that was answered is ever lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::file::RowFile;
use super::machine::Row;
use crate::error::QueueError;

/// Bytes of rows that wait to be written before operations wait as well.
const WAITING_BYTES: usize = 64 << 20;
/// How long an operation waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// The shortest and longest pause before a failed write is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(super) struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The newest ticket whose rows are on disk.
    written: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    groups: Vec<Vec<Row>>,
    bytes: usize,
    newest: u64,
    closing: bool,
    /// Why the last write failed, until one succeeds.
    failing: Option<String>,
}

impl Store {
    /// Start the writer of a file.
    pub(super) fn start(file: RowFile) -> Result<Self, QueueError> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            written: watch::Sender::new(0),
        });
        let writer = std::thread::Builder::new()
            .name("queue-writer".into())
            .spawn({
                let shared = shared.clone();
                move || shared.write_groups(file)
            })
            .map_err(|e| QueueError::Unavailable(format!("no thread for the writer: {e}")))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Wait until an operation may change the machine.
    pub(super) async fn admit(&self) -> Result<(), QueueError> {
        if self.shared.has_room() {
            return Ok(());
        }
        let mut written = self.shared.written.subscribe();
        let room = written.wait_for(|_| self.shared.has_room());
        match tokio::time::timeout(PATIENCE, room).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.unavailable()),
        }
    }

    /// Hand rows to the writer, in the order of the changes: called while the machine is
    /// locked. Returns the ticket to wait for.
    pub(super) fn push(&self, rows: Vec<Row>) -> u64 {
        let mut waiting = self.shared.waiting.lock();
        if !rows.is_empty() {
            waiting.newest += 1;
            waiting.bytes += bytes_of(&rows);
            waiting.groups.push(rows);
            self.shared.changed.notify_one();
        }
        waiting.newest
    }

    /// Wait until the rows of a ticket, and of all before it, are on disk.
    pub(super) async fn written(&self, ticket: u64) -> Result<(), QueueError> {
        if *self.shared.written.borrow() >= ticket {
            return Ok(());
        }
        let mut written = self.shared.written.subscribe();
        let done = written.wait_for(|written| *written >= ticket);
        match tokio::time::timeout(PATIENCE, done).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.unavailable()),
        }
    }

    /// Why the file cannot be written, if it cannot.
    pub(super) fn failing(&self) -> Option<String> {
        self.shared.waiting.lock().failing.clone()
    }

    fn unavailable(&self) -> QueueError {
        let reason = self.failing();
        QueueError::Unavailable(
            reason.unwrap_or_else(|| format!("the disk took longer than {PATIENCE:?}")),
        )
    }
}

/// What waits is written before the file is closed.
impl Drop for Store {
    fn drop(&mut self) {
        self.shared.waiting.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the queue's writer ended in a panic");
        }
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.failing.is_none() && waiting.bytes < WAITING_BYTES
    }

    fn write_groups(&self, mut file: RowFile) {
        while let Some((groups, ticket)) = self.next_groups() {
            let bytes = groups.iter().map(|rows| bytes_of(rows)).sum::<usize>();
            // Of several changes of one row the last counts, and the file likes their order.
            let mut rows: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
            for row in groups.into_iter().flatten() {
                rows.insert(row.key.clone(), row);
            }
            let mut pause = PAUSES.0;
            while let Err(error) = file.write(rows.values()) {
                if self.say_failing(error.to_string()) {
                    return;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSES.1);
            }
            let mut waiting = self.waiting.lock();
            waiting.bytes = waiting.bytes.saturating_sub(bytes);
            if waiting.failing.take().is_some() {
                tracing::info!("the queue's file can be written again");
            }
            drop(waiting);
            self.written.send_replace(ticket);
        }
    }

    /// Everything that waits; nothing when the store is closed and all is written.
    fn next_groups(&self) -> Option<(Vec<Vec<Row>>, u64)> {
        let mut waiting = self.waiting.lock();
        while waiting.groups.is_empty() {
            if waiting.closing {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
        Some((std::mem::take(&mut waiting.groups), waiting.newest))
    }

    /// Whether the writer is to give up.
    fn say_failing(&self, reason: String) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.failing.is_none() {
            tracing::error!(%reason, "the queue's file cannot be written; trying again");
        }
        waiting.failing = Some(reason);
        waiting.closing
    }
}

fn bytes_of(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, |value| value.len())).sum()
}
