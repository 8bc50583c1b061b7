//! A queue's policy, and its pauses.
//!
//! The policy is kept whole for hosts, and taken apart into single fields that scripts look
//! up: `q` the queue's rate, `t:<type>`, `k:<key>`, `kp` the key prefixes, longest first,
//! `T:<tenant>`, `T:*` all others. A policy that is kept has been checked, so scripts can
//! reckon with its numbers.

use bulkhead_core::{Bounds, QueueName, QueuePolicy, Rate, TaskType, TenantPolicy, WhenSpent};
use redis::{Cmd, Value};
use serde::Serialize;

use super::submit::announce;
use super::{RedisBroker, script};
use crate::error::QueueError;

/// Fields written in one call.
const CALL_FIELDS: usize = 1_000;
/// Tenants, lanes or leases looked at in one call.
const CALL_LOOKS: usize = 100;

/// Concurrency, interval and burst.
type BoundsOut = (Option<u32>, Option<u64>, Option<u64>);

fn rate(rate: Option<Rate>) -> (Option<u64>, Option<u64>) {
    let Some(rate) = rate else { return (None, None) };
    (Some(rate.interval_us), Some(u64::from(rate.burst)))
}

fn bounds(bounds: &Bounds) -> BoundsOut {
    let (interval_us, burst) = rate(bounds.rate);
    (bounds.concurrency, interval_us, burst)
}

fn tenant(tenant: &TenantPolicy) -> impl Serialize + use<> {
    let (interval_us, burst) = rate(tenant.rate);
    let TenantPolicy { weight, in_flight, pending, payload_bytes, .. } = *tenant;
    let TenantPolicy { fuel_per_minute, kib_ms_per_minute, when_spent, .. } = *tenant;
    let refuses = when_spent == WhenSpent::Refuse;
    (
        weight,
        in_flight,
        interval_us,
        burst,
        pending,
        payload_bytes,
        fuel_per_minute,
        kib_ms_per_minute,
        refuses.then_some(true),
    )
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, QueueError> {
    rmp_serde::to_vec(value)
        .map_err(|e| QueueError::Refused(format!("the policy cannot be encoded: {e}")))
}

/// The fields that scripts look up.
fn fields(policy: &QueuePolicy) -> Result<Vec<(String, Vec<u8>)>, QueueError> {
    let mut fields = Vec::new();
    if policy.rate.is_some() {
        let bounds = Bounds { concurrency: None, rate: policy.rate };
        fields.push(("q".to_owned(), encode(&self::bounds(&bounds))?));
    }
    for (task_type, bounds) in &policy.types {
        fields.push((format!("t:{task_type}"), encode(&self::bounds(bounds))?));
    }
    let mut prefixes = Vec::new();
    for (key, bounds) in &policy.keys {
        match key.strip_suffix('*') {
            Some(prefix) => {
                let (concurrency, interval_us, burst) = self::bounds(bounds);
                prefixes.push((prefix, concurrency, interval_us, burst));
            }
            None => fields.push((format!("k:{key}"), encode(&self::bounds(bounds))?)),
        }
    }
    if !prefixes.is_empty() {
        prefixes.sort_by_key(|(prefix, ..)| std::cmp::Reverse(prefix.len()));
        fields.push(("kp".to_owned(), encode(&prefixes)?));
    }
    for (name, policy) in &policy.tenants {
        fields.push((format!("T:{name}"), encode(&tenant(policy))?));
    }
    if let Some(policy) = &policy.other_tenants {
        fields.push(("T:*".to_owned(), encode(&tenant(policy))?));
    }
    Ok(fields)
}

/// Whether it keeps new tasks out.
fn keeps_out(tenant: &TenantPolicy) -> bool {
    tenant.pending.or(tenant.payload_bytes).is_some() || tenant.when_spent == WhenSpent::Refuse
}

/// The kinds of limits that there are, so that scripts look no others up.
fn kinds(policy: &QueuePolicy) -> String {
    let tenants = || policy.tenants.values().chain(&policy.other_tenants);
    [
        ('q', policy.rate.is_some()),
        ('t', !policy.types.is_empty()),
        ('c', policy.types.values().any(|bounds| bounds.concurrency.is_some())),
        ('T', tenants().next().is_some()),
        ('n', tenants().any(|tenant| tenant.in_flight.is_some())),
        ('p', tenants().any(keeps_out)),
        ('u', tenants().any(|tenant| tenant.is_metered())),
        ('k', !policy.keys.is_empty()),
    ]
    .into_iter()
    .filter_map(|(kind, there)| there.then_some(kind))
    .collect()
}

pub(super) async fn set(
    broker: &RedisBroker,
    queue: &QueueName,
    policy: &QueuePolicy,
) -> Result<(), QueueError> {
    policy.check()?;
    announce(broker, queue).await?;
    let whole = rmp_serde::to_vec_named(policy)
        .map_err(|e| QueueError::Refused(format!("the policy cannot be encoded: {e}")))?;
    let fields = fields(policy)?;
    // Fields are staged under a name of this call, and put in place by one script.
    let stage = uuid::Uuid::new_v4().to_string();
    let staged = format!("{}:limits:{stage}", broker.prefix(queue));
    for fields in fields.chunks(CALL_FIELDS) {
        broker.run(&Cmd::hset_multiple(&staged, fields)).await?;
        broker.run(&Cmd::expire(&staged, 600)).await?;
    }
    let number = |n: Option<u32>| n.map_or(String::new(), |n| n.to_string());
    let (concurrency, events) = (number(policy.concurrency), number(policy.events));
    let kinds = kinds(policy);
    let args: [&[u8]; 5] = [
        &whole,
        kinds.as_bytes(),
        concurrency.as_bytes(),
        events.as_bytes(),
        if fields.is_empty() { b"" } else { stage.as_bytes() },
    ];
    broker.scripts.policy.call(broker, queue, &args).await?;
    // The policy holds from here on. What waits under the one before is looked at again;
    // should this end midway, it is looked at when its time comes or something is settled.
    relax(broker, queue, "tenants", "parked").await?;
    if kinds.contains('k') {
        relax(broker, queue, "leases", "leases").await?;
    }
    relax(broker, queue, "lanes", "lanes").await
}

/// Look again at all members of a sorted set.
async fn relax(
    broker: &RedisBroker,
    queue: &QueueName,
    what: &str,
    index: &str,
) -> Result<(), QueueError> {
    let key = format!("{}:{index}", broker.prefix(queue));
    for page in super::list::scan(broker, "ZSCAN", &key).await?.chunks(CALL_LOOKS) {
        let mut args: Vec<&[u8]> = vec![what.as_bytes()];
        args.extend(page.iter().map(String::as_bytes));
        broker.scripts.relax.call(broker, queue, &args).await?;
    }
    Ok(())
}

pub(super) async fn get(
    broker: &RedisBroker,
    queue: &QueueName,
) -> Result<QueuePolicy, QueueError> {
    match broker.run(&Cmd::get(format!("{}:policy", broker.prefix(queue)))).await? {
        Value::Nil => Ok(QueuePolicy::default()),
        found => rmp_serde::from_slice(&script::bytes(found)?)
            .map_err(|e| QueueError::Protocol(format!("the policy cannot be read: {e}"))),
    }
}

/// Stop or start claims; whether that was news.
pub(super) async fn pause(
    broker: &RedisBroker,
    queue: &QueueName,
    task_type: Option<&TaskType>,
    stop: bool,
) -> Result<bool, QueueError> {
    let task_type = task_type.map_or("", TaskType::as_str);
    let args: [&[u8]; 2] = [if stop { b"1" } else { b"0" }, task_type.as_bytes()];
    let reply = broker.scripts.pause.call(broker, queue, &args).await?;
    script::integer(reply).map(|news| news == 1)
}
