//! Depths and counters.

use std::collections::BTreeMap;

use bulkhead_core::{Priority, QueueName, TenantName};
use redis::Value;

use super::{RedisBroker, script};
use crate::error::QueueError;
use crate::held::{HeldBy, HeldTenant, QuotaUse};
use crate::view::{QueueStats, TenantDepth, TypeDepth};

/// Tenants that are told.
const TENANTS: usize = 100;
/// Tenants that one call reads, and the calls that look for those with the most tasks.
const CALL_TENANTS: usize = 1_000;
const CALLS: usize = 20;
/// Tenants whose quotas one call looks at.
const CALL_QUOTAS: usize = 100;

pub(super) async fn stats(
    broker: &RedisBroker,
    queue: &QueueName,
) -> Result<QueueStats, QueueError> {
    let reply = broker.scripts.stats.call(broker, queue, &[]).await?;
    let [
        scheduled,
        blocked,
        running,
        failed,
        by_type,
        held_back,
        oldest,
        totals,
        config,
        held,
        by_priority,
    ] = script::tuple::<11>(reply)?;
    let count = |value| script::integer(value).map(|n| u64::try_from(n).unwrap_or(0));
    let mut depths = script::array(by_type)?
        .into_iter()
        .map(|depth| {
            let [task_type, pending, paused] = script::tuple::<3>(depth)?;
            Ok(TypeDepth {
                task_type: script::text(task_type)?,
                pending: count(pending)?,
                paused: script::integer(paused)? == 1,
            })
        })
        .collect::<Result<Vec<_>, QueueError>>()?;
    depths.sort_by(|a, b| a.task_type.cmp(&b.task_type));
    let config = pairs(config)?;
    let mut named = BTreeMap::new();
    for (field, total) in pairs(totals)? {
        named.insert(total_name(&field).to_owned(), total.parse().unwrap_or(0));
    }
    let classes = script::tuple::<{ Priority::CLASSES }>(by_priority)?;
    let mut by_priority = [0; Priority::CLASSES];
    for (depth, class) in by_priority.iter_mut().zip(classes) {
        *depth = count(class)?;
    }
    Ok(QueueStats {
        by_priority,
        pending: depths.iter().map(|depth| depth.pending).sum(),
        held_back: count(held_back)?,
        scheduled: count(scheduled)?,
        blocked: count(blocked)?,
        running: count(running)?,
        failed: count(failed)?,
        oldest_pending_at: u64::try_from(script::integer(oldest)?).ok(),
        by_type: depths,
        by_tenant: tenants(broker, queue).await?,
        held_tenants: script::array(held)?
            .into_iter()
            .map(held_tenant)
            .collect::<Result<_, _>>()?,
        totals: named,
        paused: config.contains_key("paused"),
        concurrency: config.get("concurrency").and_then(|limit| limit.parse().ok()),
    })
}

fn held_tenant(held: Value) -> Result<HeldTenant, QueueError> {
    let [tenant, by, until] = script::tuple::<3>(held)?;
    let by = match script::text(by)?.as_str() {
        "in_flight" => HeldBy::InFlight,
        "f" => HeldBy::Fuel,
        "m" => HeldBy::Memory,
        _ => HeldBy::Rate,
    };
    let until = u64::try_from(script::integer(until)?).ok();
    Ok(HeldTenant { tenant: script::text(tenant)?, by, until })
}

/// The tenants with the most tasks that have not ended, of the first 20,000 that are found.
async fn tenants(broker: &RedisBroker, queue: &QueueName) -> Result<Vec<TenantDepth>, QueueError> {
    let key = format!("{}:live", broker.prefix(queue));
    let mut open = BTreeMap::new();
    let mut cursor = "0".to_owned();
    for _ in 0..CALLS {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(&key).arg(&cursor).arg("COUNT").arg(CALL_TENANTS);
        let [next, page] = script::tuple::<2>(broker.run(&scan).await?)?;
        for (tenant, n) in pairs(page)? {
            open.insert(tenant, n.parse::<u64>().unwrap_or(0));
        }
        cursor = script::text(next)?;
        if cursor == "0" {
            break;
        }
    }
    let mut depths: Vec<TenantDepth> = open
        .into_iter()
        .filter(|(_, open)| *open > 0)
        .map(|(tenant, open)| TenantDepth { tenant, open })
        .collect();
    depths.sort_by(|a, b| b.open.cmp(&a.open).then_with(|| a.tenant.cmp(&b.tenant)));
    depths.truncate(TENANTS);
    Ok(depths)
}

/// What of their bounds tenants have in use.
pub(super) async fn quota_use(
    broker: &RedisBroker,
    queue: &QueueName,
    tenants: &[TenantName],
) -> Result<Vec<QuotaUse>, QueueError> {
    let mut answer = Vec::with_capacity(tenants.len());
    for some in tenants.chunks(CALL_QUOTAS) {
        let args: Vec<&[u8]> = some.iter().map(|tenant| tenant.as_str().as_bytes()).collect();
        let reply = script::array(broker.scripts.quota.call(broker, queue, &args).await?)?;
        if reply.len() != some.len() {
            let got = reply.len();
            return Err(QueueError::Protocol(format!("{got} answers for {} tenants", some.len())));
        }
        for used in reply {
            let [pending, in_flight, starts, fuel, kib_ms] = script::tuple::<5>(used)?;
            // What is below 0 is not bounded.
            let told = |value| script::integer(value).map(|n| u64::try_from(n).ok());
            answer.push(QuotaUse {
                pending: told(pending)?.unwrap_or(0),
                in_flight: told(in_flight)?,
                starts: told(starts)?,
                fuel: told(fuel)?,
                kib_ms: told(kib_ms)?,
            });
        }
    }
    Ok(answer)
}

/// The scripts count settlements under their kind's letter.
pub(super) fn total_name(field: &str) -> &str {
    match field {
        "c" => "completed",
        "r" => "retried",
        "d" => "dead_lettered",
        "x" => "cancelled",
        "e" => "expired",
        "b" => "returned",
        "u" => "unreadable",
        other => other,
    }
}

/// A hash's fields.
pub(super) fn pairs(value: Value) -> Result<BTreeMap<String, String>, QueueError> {
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
