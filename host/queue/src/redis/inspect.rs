//! Looking at tasks and queues. Nothing here changes a task.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, State, TaskId};
use redis::Value;

use super::step::{parse_id, parse_member};
use super::{RedisBroker, script};
use crate::codec;
use crate::error::QueueError;
use crate::view::{Entry, Holder, ListFilter, Next, QueueStats, TaskView, TypeDepth};

/// Tasks read in one call while listing.
const PAGE: usize = 100;
/// Ids that one listing looks at, so that a filter that matches nothing ends.
const LOOK_AT_MOST: usize = 20_000;

pub(super) async fn watch(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<bool>, QueueError> {
    let prefix = broker.prefix(queue);
    let names: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    let mut known = Vec::with_capacity(ids.len());
    broker.run(&redis::Cmd::sadd(format!("{prefix}:waiters"), &names)).await?;
    for name in &names {
        let reply = broker.run(&redis::Cmd::exists(format!("{prefix}:task:{name}"))).await?;
        known.push(script::integer(reply)? == 1);
    }
    let unknown: Vec<&String> =
        names.iter().zip(&known).filter(|(_, known)| !**known).map(|(name, _)| name).collect();
    if !unknown.is_empty() {
        broker.run(&redis::Cmd::srem(format!("{prefix}:waiters"), unknown)).await?;
    }
    Ok(known)
}

pub(super) async fn inspect(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<Option<TaskView>>, QueueError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    let args: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let reply = broker.scripts.inspect.call(broker, queue, &args).await?;
    script::array(reply)?
        .into_iter()
        .zip(ids)
        .map(|(found, id)| match found {
            Value::Nil | Value::Int(0) | Value::Boolean(false) => Ok(None),
            found => view(queue, *id, found).map(Some),
        })
        .collect()
}

fn view(queue: &QueueName, id: TaskId, found: Value) -> Result<TaskView, QueueError> {
    let [record, place, time, member, cancel] = script::tuple::<5>(found)?;
    let (task, history) = match codec::decode(queue, id, &script::bytes(record)?) {
        Ok(record) => (Ok(record.task), record.history),
        Err(unreadable) => (Err(unreadable), Vec::new()),
    };
    let time = u64::try_from(script::integer(time)?).ok();
    let place = script::text(place)?;
    let state = match place.as_str() {
        "s" => State::Scheduled,
        "r" => State::Running,
        "d" => State::Failed,
        "e" => match history.last() {
            Some(Entry::Ended(Next::Completed, _)) => State::Completed,
            Some(Entry::Ended(Next::DeadLetter, _)) => State::Failed,
            _ => State::Cancelled,
        },
        _ => State::Pending,
    };
    let member = script::text(member)?;
    let holder = parse_member(&member).zip(time).map(|((token, host), lease_until)| Holder {
        host: host.to_owned(),
        token,
        lease_until,
    });
    Ok(TaskView {
        id,
        queue: queue.clone(),
        state,
        task,
        history,
        due_at: time.filter(|_| state == State::Scheduled),
        kept_until: time.filter(|_| state.is_terminal()),
        holder,
        cancel_requested: script::integer(cancel)? == 1,
        progress: None,
        waits_for: Vec::new(),
    })
}

pub(super) async fn list(
    broker: &RedisBroker,
    queue: &QueueName,
    filter: &ListFilter,
) -> Result<Vec<TaskView>, QueueError> {
    let mut found = Vec::new();
    let mut passed = 0;
    for index in indexes(broker, queue, filter).await? {
        let mut at = 0;
        while at < LOOK_AT_MOST {
            let page = index.page(broker, at).await?;
            if page.read == 0 {
                break;
            }
            at += page.read;
            for view in inspect(broker, queue, &page.ids).await?.into_iter().flatten() {
                let of_type = filter.task_type.as_ref().is_none_or(|wanted| {
                    view.task.as_ref().is_ok_and(|task| task.task_type == *wanted)
                });
                if view.state != filter.state || !of_type {
                    continue;
                }
                passed += 1;
                if passed > filter.offset {
                    found.push(view);
                }
                if found.len() >= filter.limit {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// A key that lists ids, and how to read it.
struct Index {
    key: String,
    command: &'static str,
}

/// Part of an index: how many members were read, and the ids among them. What is no id
/// was put there by somebody else's hand.
struct Page {
    read: usize,
    ids: Vec<TaskId>,
}

fn id_of(member: Value) -> Option<TaskId> {
    let member = script::text(member).ok()?;
    parse_id(member.get(..36).unwrap_or(&member)).ok()
}

impl Index {
    async fn page(&self, broker: &RedisBroker, at: usize) -> Result<Page, QueueError> {
        let mut command = redis::cmd(self.command);
        command.arg(&self.key).arg(at).arg(at + PAGE - 1);
        let members = script::array(broker.run(&command).await?)?;
        Ok(Page { read: members.len(), ids: members.into_iter().filter_map(id_of).collect() })
    }
}

async fn indexes(
    broker: &RedisBroker,
    queue: &QueueName,
    filter: &ListFilter,
) -> Result<Vec<Index>, QueueError> {
    let prefix = broker.prefix(queue);
    let one = |name: &str, command| vec![Index { key: format!("{prefix}:{name}"), command }];
    Ok(match filter.state {
        State::Scheduled => one("scheduled", "ZRANGE"),
        State::Running => one("leases", "ZRANGE"),
        State::Failed => one("dead", "ZREVRANGE"),
        State::Blocked => one("blocked", "ZRANGE"),
        State::Completed | State::Cancelled | State::Expired => one("ended", "LRANGE"),
        State::Pending => {
            let types = match &filter.task_type {
                Some(task_type) => vec![task_type.to_string()],
                None => {
                    let command = redis::Cmd::smembers(format!("{prefix}:types"));
                    let mut types = script::array(broker.run(&command).await?)?
                        .into_iter()
                        .map(script::text)
                        .collect::<Result<Vec<_>, _>>()?;
                    types.sort();
                    types
                }
            };
            let mut lines = Vec::new();
            for task_type in types {
                let ring = redis::Cmd::zrange(format!("{prefix}:ring:{task_type}"), 0, 999);
                for tenant in script::array(broker.run(&ring).await?)? {
                    let tenant = script::text(tenant)?;
                    lines.push(Index {
                        key: format!("{prefix}:ready:{task_type}:{tenant}"),
                        command: "ZRANGE",
                    });
                }
            }
            lines
        }
    })
}

pub(super) async fn stats(
    broker: &RedisBroker,
    queue: &QueueName,
) -> Result<QueueStats, QueueError> {
    let reply = broker.scripts.stats.call(broker, queue, &[]).await?;
    let [pending, scheduled, running, failed, by_type, totals, config] = script::tuple::<7>(reply)?;
    let count = |value| script::integer(value).map(|n| u64::try_from(n).unwrap_or(0));
    let mut depths = script::array(by_type)?
        .into_iter()
        .map(|pair| {
            let [task_type, pending] = script::tuple::<2>(pair)?;
            Ok(TypeDepth {
                task_type: script::text(task_type)?,
                pending: count(pending)?,
                paused: false,
            })
        })
        .collect::<Result<Vec<_>, QueueError>>()?;
    depths.sort_by(|a, b| a.task_type.cmp(&b.task_type));
    let config = pairs(config)?;
    let mut named = BTreeMap::new();
    for (field, total) in pairs(totals)? {
        named.insert(total_name(&field).to_owned(), total.parse().unwrap_or(0));
    }
    Ok(QueueStats {
        blocked: 0,
        held_back: 0,
        oldest_pending_at: None,
        by_tenant: Vec::new(),
        pending: count(pending)?,
        scheduled: count(scheduled)?,
        running: count(running)?,
        failed: count(failed)?,
        by_type: depths,
        totals: named,
        paused: config.contains_key("paused"),
        concurrency: config.get("concurrency").and_then(|limit| limit.parse().ok()),
    })
}

/// The scripts count settlements under their kind's letter.
fn total_name(field: &str) -> &str {
    match field {
        "c" => "completed",
        "r" => "retried",
        "d" => "dead_lettered",
        "x" => "cancelled",
        "b" => "returned",
        "u" => "unreadable",
        other => other,
    }
}

fn pairs(value: Value) -> Result<BTreeMap<String, String>, QueueError> {
    if let Value::Map(pairs) = value {
        return pairs.into_iter().map(|(k, v)| Ok((script::text(k)?, script::text(v)?))).collect();
    }
    let flat =
        script::array(value)?.into_iter().map(script::text).collect::<Result<Vec<_>, _>>()?;
    Ok(flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

pub(super) async fn queues(broker: &RedisBroker) -> Result<Vec<QueueName>, QueueError> {
    let reply = broker.run(&redis::Cmd::smembers(broker.queues_key())).await?;
    let mut queues: Vec<QueueName> = script::array(reply)?
        .into_iter()
        .filter_map(|name| script::text(name).ok().and_then(|name| QueueName::new(&name).ok()))
        .collect();
    queues.sort();
    Ok(queues)
}
