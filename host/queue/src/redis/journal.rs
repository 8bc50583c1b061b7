//! The journal: a capped stream of the namespace.

use redis::Value;

use super::events::check;
use super::stats::pairs;
use super::{RedisBroker, script};
use crate::error::QueueError;
use crate::event::EventId;
use crate::journal::{JournalEntry, JournalLine, JournalRange, KEPT};

fn key(broker: &RedisBroker) -> String {
    format!("{}:journal", broker.namespace)
}

pub(super) async fn write(broker: &RedisBroker, line: &JournalLine) -> Result<(), QueueError> {
    line.check()?;
    let JournalLine { actor, action, object, detail } = line;
    let mut command = redis::cmd("XADD");
    command.arg(key(broker)).arg("MAXLEN").arg(KEPT).arg("*");
    command.arg(&[("a", actor), ("v", action), ("o", object), ("d", detail)]);
    broker.run(&command).await.map(|_| ())
}

pub(super) async fn read(
    broker: &RedisBroker,
    range: &JournalRange,
) -> Result<Vec<JournalEntry>, QueueError> {
    let bound = |id: &Option<EventId>, open: &str| match id {
        Some(EventId(id)) => check(id).map(|id| format!("({id}")),
        None => Ok(open.to_owned()),
    };
    let (first, last) = (bound(&range.after, "-")?, bound(&range.before, "+")?);
    let mut command = match range.after {
        Some(_) => redis::cmd("XRANGE"),
        None => redis::cmd("XREVRANGE"),
    };
    command.arg(key(broker));
    match range.after {
        Some(_) => command.arg(first).arg(last),
        None => command.arg(last).arg(first),
    };
    let found = broker.run(command.arg("COUNT").arg(range.page())).await?;
    let mut entries = Vec::new();
    for entry in script::array(found)? {
        entries.extend(parse(entry)?);
    }
    if range.after.is_none() {
        entries.reverse();
    }
    Ok(entries)
}

/// A line; none if it was put there by somebody else's hand.
fn parse(entry: Value) -> Result<Option<JournalEntry>, QueueError> {
    let [id, fields] = script::tuple::<2>(entry)?;
    let (id, fields) = (script::text(id)?, pairs(fields)?);
    let at = id.split('-').next().and_then(|ms| ms.parse().ok());
    let word = |name: &str| fields.get(name).cloned();
    let line = || {
        let (actor, action) = (word("a")?, word("v")?);
        Some(JournalLine { actor, action, object: word("o")?, detail: word("d")? })
    };
    Ok(at.zip(line()).map(|(at, line)| JournalEntry { id: EventId(id), at, line }))
}
