//! Doors for the fuzz targets in `tests/fuzz`, open with the feature `fuzzing` only: what
//! another process says to a host, and what a host says to another process.

use bulkhead_core::{Payload, QueueName, QueuePolicy};
use bulkhead_queue::{
    BatchView, BlobInfo, BlobPiece, Broker, CancelAnswer, Document, DueSchedules, Event, Finding,
    FireAnswer, HostInfo, JournalEntry, KvEntry, KvPage, KvUsage, KvWritten, QueueStats, QuotaUse,
    RerunAnswer, Sample, ScheduleView, Sealed, SecretId, SubmitAnswer, TaskPage, TaskView,
    UsageRow,
};
use bytes::BytesMut;
use hyper::StatusCode;

use super::operations::{archived, operations};
use super::{client, server};

macro_rules! doors {
    ($($name:ident($($arg:ident: $lent:ty = $owned:ty),*) -> $answer:ty;)*) => {
        /// The names of all operations but those of the archive.
        pub const OPERATIONS: &[&str] = &[$(stringify!($name)),*];

        /// Read a host's answer to an operation; whether it made sense.
        pub fn answered(operation: &str, status: u16, body: &[u8]) -> bool {
            let Ok(status) = StatusCode::from_u16(status) else { return false };
            match operation {
                $(stringify!($name) => client::understand::<$answer>(status, body).is_ok(),)*
                other => archive_answered(other, status, body),
            }
        }
    };
}

operations!(doors);

macro_rules! archive_doors {
    ($($name:ident($($arg:ident: $lent:ty = $owned:ty),*) -> $answer:ty;)*) => {
        /// The names of the archive's operations.
        pub const ARCHIVED: &[&str] = &[$(stringify!($name)),*];

        fn archive_answered(operation: &str, status: StatusCode, body: &[u8]) -> bool {
            match operation {
                $(stringify!($name) => client::understand::<$answer>(status, body).is_ok(),)*
                _ => client::understand::<Vec<Event>>(status, body).is_ok(),
            }
        }
    };
}

archived!(archive_doors);

/// Ask a broker as another process would; whether it was answered.
pub async fn asked(broker: &dyn Broker, operation: &str, body: &[u8]) -> bool {
    server::ask(broker, operation, body).await.is_ok()
}

/// Take every signal out of a stream that arrives in these pieces; how many there were.
pub fn signals(pieces: &[&[u8]]) -> usize {
    let mut buffer = BytesMut::new();
    let mut found = 0;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match client::next_signal(&mut buffer) {
                Ok(Some(_)) => found += 1,
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}
