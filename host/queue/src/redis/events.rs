//! The stream of lifecycle events.

use std::time::Duration;

use bulkhead_core::{QueueName, TaskId};
use redis::Value;

use super::stats::pairs;
use super::{RedisBroker, script};
use crate::error::QueueError;
use crate::event::{Event, EventId, EventKind};

/// Events read in one call.
const LIMIT: usize = 1_000;
/// The longest wait for one event.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn read(
    broker: &RedisBroker,
    queue: &QueueName,
    after: Option<&EventId>,
    limit: usize,
    wait: Duration,
) -> Result<Vec<Event>, QueueError> {
    let key = format!("{}:events", broker.prefix(queue));
    let limit = limit.clamp(1, LIMIT);
    let after = match after {
        Some(EventId(id)) => check(id)?,
        None => "0-0",
    };
    let mut range = redis::cmd("XRANGE");
    range.arg(&key).arg(format!("({after}")).arg("+").arg("COUNT").arg(limit);
    let events = parse(broker.run(&range).await?)?;
    if !events.is_empty() || wait.is_zero() {
        return Ok(events);
    }
    let wait = wait.min(WAIT_MAX);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut block = redis::cmd("XREAD");
    block.arg("COUNT").arg(limit).arg("BLOCK").arg(wait_ms);
    block.arg("STREAMS").arg(&key).arg(after);
    let reply = broker.connection.block(&block, wait).await?;
    match reply {
        Value::Nil => Ok(Vec::new()),
        Value::Map(streams) => {
            streams.into_iter().next().map_or(Ok(Vec::new()), |(_, events)| parse(events))
        }
        streams => match script::array(streams)?.into_iter().next() {
            None => Ok(Vec::new()),
            Some(stream) => {
                let [_, events] = script::tuple::<2>(stream)?;
                parse(events)
            }
        },
    }
}

/// The form `ms-n`; anything else would mean something to Redis that is not meant here.
pub(super) fn check(id: &str) -> Result<&str, QueueError> {
    let good = id
        .split_once('-')
        .is_some_and(|(ms, n)| ms.parse::<u64>().is_ok() && n.parse::<u64>().is_ok());
    if good {
        return Ok(id);
    }
    Err(QueueError::Refused(format!("`{}` is no event; write ms-n", id.escape_debug())))
}

/// Events as the stream holds them; what is none was put there by somebody else's hand.
pub(super) fn parse(entries: Value) -> Result<Vec<Event>, QueueError> {
    let mut events = Vec::new();
    for entry in script::array(entries)? {
        let [id, fields] = script::tuple::<2>(entry)?;
        let id = script::text(id)?;
        let fields = pairs(fields)?;
        let field = |name: &str| fields.get(name).map(String::as_str);
        let kind = EventKind::ALL.into_iter().find(|kind| field("k") == Some(kind.as_str()));
        let task = field("i").and_then(|id| id.parse::<TaskId>().ok());
        let at = id.split('-').next().and_then(|ms| ms.parse().ok());
        if let (Some(kind), Some(task), Some(at)) = (kind, task, at) {
            let text = |name| field(name).unwrap_or("").to_owned();
            let (task_type, tenant) = (text("y"), text("o"));
            events.push(Event { id: EventId(id), at, kind, task, task_type, tenant });
        }
    }
    Ok(events)
}
