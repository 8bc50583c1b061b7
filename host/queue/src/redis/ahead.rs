//! Long records on their own road.
//!
//! Scripts hash and copy every byte that they are shown, and everybody waits for a script. So
//! what is long is sent ahead by plain commands, to a key `draft` that a script then gives the
//! record's name, and is fetched by plain commands after a script has said how long it is.
//! Nothing depends on a draft: what is not there any more is sent within the script's call.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{AttemptReport, QueueName, TaskId};
use parking_lot::Mutex;
use redis::{Cmd, Value};

use super::submit::encode;
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
/// Where a claim's token has what names its draft beside the id.
const NAME: Range<usize> = 37..57;
/// Of tasks that are long together, those of as many bytes are sent ahead.
const CHILD_BYTES: usize = 1 << 10;

/// What of an end was sent ahead.
pub(super) struct Draft {
    /// What stands for its entry.
    pub(super) entry: Option<Vec<u8>>,
    /// What stands for the records of the tasks that it submits, each in its place.
    pub(super) children: Vec<Option<Vec<u8>>>,
}

/// The drafts of ends that no step has carried yet.
#[derive(Default)]
pub(super) struct Drafts(Mutex<HashMap<ClaimToken, Arc<Draft>>>);

impl Drafts {
    /// What was sent ahead of an end.
    pub(super) fn of(&self, token: &ClaimToken) -> Option<Arc<Draft>> {
        self.0.lock().get(token).cloned()
    }

    /// These ends are settled, or must be told whole.
    pub(super) fn forget(&self, settled: &[Settlement]) {
        let mut drafts = self.0.lock();
        if drafts.is_empty() {
            return;
        }
        for settlement in settled {
            drafts.remove(&settlement.token);
        }
    }
}

fn stand_in(of: &str) -> Vec<u8> {
    [&[AHEAD], of.as_bytes()].concat()
}

fn new_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Send the record of a new task ahead if it is long, to the slot of `queue`; what stands for
/// it.
pub(super) async fn send_if_long(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    record: &[u8],
) -> Result<Option<Vec<u8>>, QueueError> {
    match record.len() < LONG_BYTES {
        true => Ok(None),
        false => send_record(broker, queue, id, record).await.map(Some),
    }
}

async fn send_record(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    record: &[u8],
) -> Result<Vec<u8>, QueueError> {
    let name = new_name();
    let key = format!("{}:draft:{id}:{name}", broker.prefix(queue));
    let mut command = Cmd::with_capacity(4, record.len() + 256);
    command.arg("PSETEX").arg(key).arg(kept_ms()).arg(record);
    broker.connection.send_long(&command).await?;
    Ok(stand_in(&name))
}

/// Send what is long of an end ahead: its entry and the tasks that it submits.
pub(super) async fn send_end(
    broker: &RedisBroker,
    queue: &QueueName,
    settlement: &Settlement,
) -> Result<(), QueueError> {
    let (Some(id), Some(name)) =
        (settlement.token.parts().map(|(id, ..)| id), settlement.token.0.get(NAME))
    else {
        return Ok(());
    };
    let mut records = Vec::new();
    for child in settlement.end.children() {
        records.push(encode(child)?);
    }
    let mut children = vec![None; records.len()];
    if records.iter().map(Vec::len).sum::<usize>() >= LONG_BYTES {
        let all = settlement.end.children().iter().zip(&records).zip(&mut children);
        for ((child, record), ahead) in all {
            if record.len() >= CHILD_BYTES {
                *ahead = Some(send_record(broker, queue, child.id, record).await?);
            }
        }
    }
    let mut entry = None;
    if let Some((next, report)) = kept_entry(&settlement.end) {
        let bytes = codec::encode_entry(next, report)
            .map_err(|e| QueueError::Refused(format!("cannot encode a report: {e}")))?;
        if bytes.len() >= LONG_BYTES {
            let base = send_behind(broker, queue, id, name, &bytes).await?;
            entry = base.map(|base| stand_in(&base.to_string()));
        }
    }
    if entry.is_some() || children.iter().any(Option::is_some) {
        let draft = Arc::new(Draft { entry, children });
        broker.drafts.0.lock().insert(settlement.token.clone(), draft);
    }
    Ok(())
}

/// Send an entry for a record of which nobody has a claim ahead, if it is long; what stands for
/// it.
pub(super) async fn send_entry(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    entry: &[u8],
) -> Result<Option<Vec<u8>>, QueueError> {
    if entry.len() < LONG_BYTES {
        return Ok(None);
    }
    let name = new_name();
    let base = send_behind(broker, queue, id, &name, entry).await?;
    Ok(base.map(|base| stand_in(&format!("{base} {name}"))))
}

/// Write an entry behind a copy of its record; the length of that. Nothing if there is no
/// record.
async fn send_behind(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    name: &str,
    entry: &[u8],
) -> Result<Option<usize>, QueueError> {
    let prefix = broker.prefix(queue);
    let (record, draft) = (format!("{prefix}:task:{id}"), format!("{prefix}:draft:{id}:{name}"));
    let road = &broker.connection;
    let mut copy = redis::cmd("COPY");
    copy.arg(record).arg(&draft).arg("REPLACE");
    if script::integer(road.send_long(&copy).await?)? != 1 {
        return Ok(None);
    }
    let mut keep = redis::cmd("PEXPIRE");
    road.send_long(keep.arg(&draft).arg(kept_ms())).await?;
    let base = script::integer(road.send_long(&Cmd::strlen(&draft)).await?)?;
    let Some(base) = usize::try_from(base).ok().filter(|base| *base > 0) else { return Ok(None) };
    // The last piece first, so that the server makes room once.
    for (at, piece) in entry.chunks(PIECE_BYTES).enumerate().rev() {
        let mut command = Cmd::with_capacity(4, piece.len() + 256);
        command.arg("SETRANGE").arg(&draft).arg(base + at * PIECE_BYTES).arg(piece);
        road.send_long(&command).await?;
    }
    Ok(Some(base))
}

/// What of an end is put behind its record, if that is kept.
fn kept_entry(end: &End) -> Option<(Next, &AttemptReport)> {
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
