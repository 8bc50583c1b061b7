//! Long records on their own road.
//!
//! Scripts hash and copy every byte that they are shown, and everybody waits for a script. So
//! what is long is sent ahead by plain commands, to a key `draft` that a script then gives the
//! record's name, and is fetched by plain commands after a script has said how long it is.
//! Nothing depends on a draft: what is not there any more is sent within the script's call.

use std::collections::HashMap;
use std::time::Duration;

use bulkhead_core::{QueueName, Task, TaskId};
use parking_lot::Mutex;
use redis::{Cmd, Value};

use super::{RedisBroker, script};
use crate::codec::{self, MAX_RECORD_BYTES};
use crate::error::QueueError;
use crate::step::{ClaimToken, End, Settlement};
use crate::view::Next;

/// The length from which a record or an entry is long, in bytes. Scripts have the same number.
pub(super) const LONG_BYTES: usize = 64 << 10;
/// What one command carries, in bytes: the server does nothing else meanwhile.
const PIECE_BYTES: usize = 1 << 20;
/// How long a draft waits for its script.
const DRAFT_KEPT: Duration = Duration::from_secs(15 * 60);
/// The first byte of what stands for a draft in a script's arguments.
const AHEAD: u8 = 193;
/// Bytes of a claim's token that name its draft: `id:token`.
const TOKEN_BYTES: usize = 57;

/// The drafts of ends that no step has carried yet: claims by the length of the record that
/// each is a copy of.
#[derive(Default)]
pub(super) struct Drafts(Mutex<HashMap<ClaimToken, u64>>);

impl Drafts {
    /// What stands for an end's entry in a step, if it was sent ahead.
    pub(super) fn stand_in(&self, token: &ClaimToken) -> Option<Vec<u8>> {
        let base = self.0.lock().get(token).copied()?;
        Some([&[AHEAD], base.to_string().as_bytes()].concat())
    }

    /// These ends are settled, or must be told whole.
    pub(super) fn forget<'a>(&self, settled: impl Iterator<Item = &'a Settlement>) {
        let mut drafts = self.0.lock();
        if drafts.is_empty() {
            return;
        }
        for settlement in settled {
            drafts.remove(&settlement.token);
        }
    }
}

/// Send the record of a new task ahead; what stands for it.
pub(super) async fn send_task(
    broker: &RedisBroker,
    task: &Task,
    record: &[u8],
) -> Result<Vec<u8>, QueueError> {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let key = format!("{}:draft:{}:{name}", broker.prefix(&task.queue), task.id);
    let mut command = Cmd::with_capacity(5, record.len() + 256);
    command.arg("PSETEX").arg(key).arg(kept_ms()).arg(record);
    broker.connection.send_long(&command).await?;
    Ok([&[AHEAD], name.as_bytes()].concat())
}

/// Send a long end ahead: its record as it is now, and behind it the entry.
pub(super) async fn send_end(
    broker: &RedisBroker,
    queue: &QueueName,
    settlement: &Settlement,
) -> Result<(), QueueError> {
    let Some((next, report)) = kept_entry(&settlement.end) else { return Ok(()) };
    let Some(name) = settlement.token.0.get(..TOKEN_BYTES) else { return Ok(()) };
    let entry = codec::encode_entry(next, report)
        .map_err(|e| QueueError::Refused(format!("cannot encode a report: {e}")))?;
    if entry.len() < LONG_BYTES {
        return Ok(());
    }
    let prefix = broker.prefix(queue);
    let id = settlement.token.0.get(..36).unwrap_or_default();
    let (record, draft) = (format!("{prefix}:task:{id}"), format!("{prefix}:draft:{name}"));
    let road = &broker.connection;
    let mut copy = redis::cmd("COPY");
    copy.arg(record).arg(&draft).arg("REPLACE");
    if script::integer(road.send_long(&copy).await?)? != 1 {
        return Ok(());
    }
    let mut keep = redis::cmd("PEXPIRE");
    road.send_long(keep.arg(&draft).arg(kept_ms())).await?;
    let base = script::integer(road.send_long(&Cmd::strlen(&draft)).await?)?;
    let base = usize::try_from(base).unwrap_or(0);
    // The last piece first, so that the server makes room once.
    for (at, piece) in entry.chunks(PIECE_BYTES).enumerate().rev() {
        let mut command = Cmd::with_capacity(4, piece.len() + 256);
        command.arg("SETRANGE").arg(&draft).arg(base + at * PIECE_BYTES).arg(piece);
        road.send_long(&command).await?;
    }
    broker.drafts.0.lock().insert(settlement.token.clone(), base as u64);
    Ok(())
}

/// What of an end is put behind its record, if that is kept.
fn kept_entry(end: &End) -> Option<(Next, &bulkhead_core::AttemptReport)> {
    match end {
        End::Complete { retention_ms: 0, .. } | End::Cancel { retention_ms: 0, .. } => None,
        End::Complete { report, .. } => Some((Next::Completed, report)),
        End::Cancel { report, .. } => Some((Next::Cancelled, report)),
        End::DeadLetter { report, .. } => Some((Next::DeadLetter, report)),
        End::Retry { report, .. } => Some((Next::Retry, report)),
        End::Return { .. } | End::Unreadable { .. } => None,
    }
}

/// The first so many bytes of a task's record; nothing if there are not as many.
pub(super) async fn fetch(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    bytes: u64,
) -> Result<Option<Vec<u8>>, QueueError> {
    let key = format!("{}:task:{id}", broker.prefix(queue));
    // One byte more than may be decoded is enough to be refused.
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(MAX_RECORD_BYTES + 1);
    let mut record = Vec::with_capacity(bytes);
    while record.len() < bytes {
        let end = bytes.min(record.len() + PIECE_BYTES);
        let mut piece = redis::cmd("GETRANGE");
        piece.arg(&key).arg(record.len()).arg(end - 1);
        let piece = match broker.connection.send_long(&piece).await? {
            Value::Nil => return Ok(None),
            piece => script::bytes(piece)?,
        };
        if piece.len() != end - record.len() {
            return Ok(None);
        }
        record.extend_from_slice(&piece);
    }
    Ok(Some(record))
}

fn kept_ms() -> u64 {
    u64::try_from(DRAFT_KEPT.as_millis()).unwrap_or(u64::MAX)
}
