//! Listing tasks of one state, by walking the index that holds the state.

use std::collections::{BTreeSet, HashSet};

use bulkhead_core::{QueueName, State, TaskId};
use redis::Value;

use super::step::parse_id;
use super::{RedisBroker, inspect, script};
use crate::error::QueueError;
use crate::view::{ListFilter, Mark, TaskPage};

/// Tasks read in one call while listing.
const PAGE: usize = 100;
/// Ids that one page of a listing looks at, so that a filter that matches nothing ends.
const LOOK_AT_MOST: usize = 5_000;
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
    after: Option<&Mark>,
) -> Result<TaskPage, QueueError> {
    let mut tasks = Vec::new();
    // A task that has ended twice stands twice in the list of ended ones.
    let mut seen = HashSet::new();
    let mut looked_at = 0;
    // What is wanted for its state alone is at the beginning of the index.
    let is_plain = *filter == ListFilter { limit: filter.limit, ..ListFilter::of(filter.state) };
    let mut page = if is_plain { filter.limit.clamp(1, PAGE) } else { PAGE };
    for index in indexes(broker, queue, filter).await? {
        let mut at = match after {
            Some(mark) if index.key < mark.index => continue,
            Some(mark) if index.key == mark.index => index.behind(broker, mark).await?,
            _ => 0,
        };
        loop {
            let members = index.page(broker, at, page).await?;
            if members.is_empty() {
                break;
            }
            at += members.len();
            looked_at += members.len();
            // What is no id was put there by somebody else's hand.
            let entries =
                members.iter().filter_map(|(member, score)| Some((id_of(member)?, score)));
            let entries: Vec<(TaskId, &i64)> = entries.filter(|(id, _)| seen.insert(*id)).collect();
            let ids: Vec<TaskId> = entries.iter().map(|(id, _)| *id).collect();
            let views = inspect::inspect(broker, queue, &ids).await?;
            for (view, (id, score)) in views.into_iter().zip(&entries) {
                tasks.extend(view.filter(|view| filter.admits(view)));
                if tasks.len() >= filter.limit {
                    let next = Mark { index: index.key, score: **score, id: *id };
                    return Ok(TaskPage { tasks, next: Some(next) });
                }
            }
            if looked_at >= LOOK_AT_MOST
                && let Some((id, score)) = entries.last()
            {
                let next = Mark { index: index.key, score: **score, id: *id };
                return Ok(TaskPage { tasks, next: Some(next) });
            }
            if members.len() < page {
                break;
            }
            page = PAGE;
        }
    }
    Ok(TaskPage { tasks, next: None })
}

/// A key that lists ids, and how it is read.
struct Index {
    key: String,
    order: Order,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// A sorted set from its lowest score.
    Rising,
    /// A sorted set from its highest score.
    Falling,
    /// A list from its head.
    List,
}

/// The id that a member begins with.
pub(super) fn id_of(member: &str) -> Option<TaskId> {
    parse_id(member.get(..36).unwrap_or(member)).ok()
}

impl Index {
    /// Some members and their scores.
    async fn page(
        &self,
        broker: &RedisBroker,
        at: usize,
        count: usize,
    ) -> Result<Vec<(String, i64)>, QueueError> {
        let mut command = redis::cmd(match self.order {
            Order::Rising => "ZRANGE",
            Order::Falling => "ZREVRANGE",
            Order::List => "LRANGE",
        });
        command.arg(&self.key).arg(at).arg(at + count - 1);
        if self.order != Order::List {
            command.arg("WITHSCORES");
        }
        let mut read = script::array(broker.run(&command).await?)?.into_iter();
        let mut members = Vec::new();
        while let Some(member) = read.next() {
            let score = match self.order {
                // Its place, which only grows: others are put before it.
                Order::List => i64::try_from(at + members.len()).unwrap_or(i64::MAX),
                _ => read.next().and_then(score).unwrap_or(0),
            };
            members.push((script::text(member).unwrap_or_default(), score));
        }
        Ok(members)
    }

    /// How many members stand before those that follow a mark.
    async fn behind(&self, broker: &RedisBroker, mark: &Mark) -> Result<usize, QueueError> {
        let id = mark.id.to_string();
        let rank = match self.order {
            Order::Rising => "ZRANK",
            Order::Falling => "ZREVRANK",
            Order::List => return self.place_behind(broker, mark).await,
        };
        match broker.run(redis::cmd(rank).arg(&self.key).arg(&id)).await? {
            Value::Nil => {}
            rank => return Ok(count(rank)?.saturating_add(1)),
        }
        // It has left, or its member says more than its id.
        let mut before = redis::cmd("ZCOUNT");
        before.arg(&self.key);
        match self.order {
            Order::Rising => before.arg("-inf").arg(format!("({}", mark.score)),
            _ => before.arg(format!("({}", mark.score)).arg("+inf"),
        };
        let before = count(broker.run(&before).await?)?;
        let mut ties = redis::cmd("ZRANGEBYSCORE");
        ties.arg(&self.key).arg(mark.score).arg(mark.score);
        let ties = script::array(broker.run(&ties).await?)?.into_iter();
        // Members of one score are in the order of their bytes.
        let passed = ties.filter_map(|tie| script::text(tie).ok()).filter(|tie| match self.order {
            Order::Falling => tie.get(..36).is_some_and(|tie| tie >= id.as_str()),
            _ => tie.get(..36).is_some_and(|tie| tie <= id.as_str()),
        });
        Ok(before + passed.count())
    }

    /// The same in the list, which may have the id more than once; nothing leaves it but at
    /// its end.
    async fn place_behind(&self, broker: &RedisBroker, mark: &Mark) -> Result<usize, QueueError> {
        let mut places = redis::cmd("LPOS");
        places.arg(&self.key).arg(mark.id.to_string()).arg("COUNT").arg(0);
        let places = script::integers(broker.run(&places).await?)?;
        let place = places.into_iter().find(|place| *place >= mark.score);
        Ok(place.and_then(|place| usize::try_from(place).ok()).map_or(usize::MAX >> 1, |at| at + 1))
    }
}

fn count(value: Value) -> Result<usize, QueueError> {
    Ok(usize::try_from(script::integer(value)?).unwrap_or(usize::MAX))
}

/// A score as a whole number, as all of ours are.
fn score(value: Value) -> Option<i64> {
    match value {
        Value::Double(score) => Some(score as i64),
        other => script::text(other).ok()?.parse::<f64>().ok().map(|score| score as i64),
    }
}

/// The indexes that may hold what a filter asks for, in the order of their keys.
async fn indexes(
    broker: &RedisBroker,
    queue: &QueueName,
    filter: &ListFilter,
) -> Result<Vec<Index>, QueueError> {
    let prefix = broker.prefix(queue);
    let one = |name: &str, order| vec![Index { key: format!("{prefix}:{name}"), order }];
    let mut indexes = match filter.state {
        State::Scheduled => one("scheduled", Order::Rising),
        State::Running => one("leases", Order::Rising),
        State::Failed => one("dead", Order::Falling),
        State::Blocked => one("blocked", Order::Rising),
        State::Completed | State::Cancelled | State::Expired => one("ended", Order::List),
        State::Pending => lines(broker, &prefix, filter).await?,
    };
    indexes.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(indexes)
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
            order: Order::Rising,
        }));
    }
    let lanes = redis::Cmd::zrange(format!("{prefix}:lanes"), 0, LINES - 1);
    lines.extend(
        names(&lanes)
            .await?
            .into_iter()
            .map(|key| Index { key: format!("{prefix}:lane:{key}"), order: Order::Rising }),
    );
    Ok(lines)
}
