//! Listing tasks of one state, by walking the index that holds the state.

use std::collections::{BTreeSet, HashSet};

use bulkhead_core::{QueueName, State, TaskId};
use redis::Value;

use super::step::parse_id;
use super::{RedisBroker, inspect, script};
use crate::error::QueueError;
use crate::view::{ListFilter, TaskView};

/// Tasks read in one call while listing.
const PAGE: usize = 100;
/// Ids that one listing looks at in one index, so that a filter that matches nothing ends.
const LOOK_AT_MOST: usize = 20_000;
/// Tenants of one type, or lanes, that one listing looks at.
const LINES: isize = 1_000;
/// Members that one scan of a whole key reads at most.
const SCAN_AT_MOST: usize = 1_000_000;

/// All members of a sorted set or a set, fields of a hash: those that stay throughout the
/// scan, each once.
pub(super) async fn scan(
    broker: &RedisBroker,
    command: &str,
    key: &str,
) -> Result<Vec<String>, QueueError> {
    let stride = if command == "SSCAN" { 1 } else { 2 };
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = redis::cmd(command);
        scan.arg(key).arg(&cursor).arg("COUNT").arg(500);
        let [next, page] = script::tuple::<2>(broker.run(&scan).await?)?;
        for member in script::array(page)?.into_iter().step_by(stride) {
            if let Ok(member) = script::text(member) {
                found.insert(member);
            }
        }
        cursor = script::text(next)?;
        if cursor == "0" || found.len() > SCAN_AT_MOST {
            return Ok(found.into_iter().collect());
        }
    }
}

pub(super) async fn list(
    broker: &RedisBroker,
    queue: &QueueName,
    filter: &ListFilter,
) -> Result<Vec<TaskView>, QueueError> {
    let mut found = Vec::new();
    // A task that has ended twice stands twice in the list of ended ones.
    let mut seen = HashSet::new();
    let mut passed = 0;
    for index in indexes(broker, queue, filter).await? {
        let mut at = 0;
        while at < LOOK_AT_MOST {
            if found.len() >= filter.limit {
                return Ok(found);
            }
            let mut page = index.page(broker, at).await?;
            if page.read == 0 {
                break;
            }
            at += page.read;
            page.ids.retain(|id| seen.insert(*id));
            for view in inspect::inspect(broker, queue, &page.ids).await?.into_iter().flatten() {
                if !filter.admits(&view) {
                    continue;
                }
                passed += 1;
                if passed > filter.offset && found.len() < filter.limit {
                    found.push(view);
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

pub(super) fn id_of(member: Value) -> Option<TaskId> {
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
        State::Pending => lines(broker, &prefix, filter).await?,
    })
}

/// The lines and lanes that may hold what a filter asks for.
async fn lines(
    broker: &RedisBroker,
    prefix: &str,
    filter: &ListFilter,
) -> Result<Vec<Index>, QueueError> {
    let names = async |command: &redis::Cmd| {
        let names = script::array(broker.run(command).await?)?;
        names.into_iter().map(script::text).collect::<Result<BTreeSet<_>, _>>()
    };
    let types = match &filter.task_type {
        Some(task_type) => BTreeSet::from([task_type.to_string()]),
        None => names(&redis::Cmd::smembers(format!("{prefix}:types"))).await?,
    };
    let parked = names(&redis::Cmd::zrange(format!("{prefix}:parked"), 0, LINES - 1)).await?;
    let mut lines = Vec::new();
    for task_type in types {
        let ring = redis::Cmd::zrange(format!("{prefix}:ring:{task_type}"), 0, LINES - 1);
        let mut tenants = names(&ring).await?;
        tenants.extend(parked.iter().cloned());
        if let Some(tenant) = &filter.tenant {
            tenants.retain(|name| name == tenant.as_str());
        }
        lines.extend(tenants.into_iter().map(|tenant| Index {
            key: format!("{prefix}:ready:{task_type}:{tenant}"),
            command: "ZRANGE",
        }));
    }
    let lanes = redis::Cmd::zrange(format!("{prefix}:lanes"), 0, LINES - 1);
    lines.extend(
        names(&lanes)
            .await?
            .into_iter()
            .map(|key| Index { key: format!("{prefix}:lane:{key}"), command: "ZRANGE" }),
    );
    Ok(lines)
}
