//! Tenants: which there are, what they have open and used today, and what bounds them.

use std::collections::BTreeMap;

use axum::extract::State as From;
use bulkhead_core::{QueueName, TenantName, TenantPolicy};
use bulkhead_queue::{Day, HeldTenant, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Json;
use super::{Api, Caller, Problems, Scope};
use crate::problem::Problem;
use crate::unix_ms;

/// Tenants of one look.
const MAX_TENANTS: usize = 1_000;

/// Tenants.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantList)]
pub(super) struct Listed {
    /// By name, the first 1,000. Those that a queue's policy names, that used something today, or
    /// that have open tasks (of each queue the 100 with the most).
    tenants: Vec<Tenant>,
    /// How many there are.
    count: usize,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
struct Tenant {
    /// Its name.
    tenant: String,
    /// What it has used since midnight (UTC), in all queues.
    used_today: Usage,
    /// Tasks that have not ended, as far as it is among the 100 of a queue with the most.
    open: u64,
    /// By queue, where it has something open, was held back or has a policy of its own.
    queues: Vec<TenantQueue>,
}

/// A tenant in one queue.
#[derive(Debug, Serialize, ToSchema)]
struct TenantQueue {
    /// The queue.
    queue: String,
    /// Tasks that have not ended; nothing if it is not among the 100 with the most.
    open: Option<u64>,
    /// What has been used there since midnight (UTC).
    used_today: Usage,
    /// Its weight and its quotas there.
    policy: TenantPolicy,
    /// The bound that holds its tasks back, if a host came upon one.
    held: Option<HeldTenant>,
}

const NOTHING: Usage =
    Usage { attempts: 0, fuel: 0, cpu_us: 0, kib_ms: 0, host_calls: 0, bytes_in: 0, bytes_out: 0 };

fn add(sum: &mut Usage, more: &Usage) {
    let pairs = [
        (&mut sum.attempts, more.attempts),
        (&mut sum.fuel, more.fuel),
        (&mut sum.cpu_us, more.cpu_us),
        (&mut sum.kib_ms, more.kib_ms),
        (&mut sum.host_calls, more.host_calls),
        (&mut sum.bytes_in, more.bytes_in),
        (&mut sum.bytes_out, more.bytes_out),
    ];
    for (sum, more) in pairs {
        *sum = sum.saturating_add(more);
    }
}

/// List tenants: what they have open, what they used today, and what bounds them
///
/// A token of a tenant sees that one.
#[utoipa::path(get, operation_id = "list_tenants", path = "/v1/tenants", tag = "usage",
    responses((status = 200, body = Listed), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Json<Listed>, Problem> {
    caller.may(Scope::Read)?;
    let mut tenants: BTreeMap<String, Vec<TenantQueue>> = BTreeMap::new();
    for queue in api.broker().queues().await? {
        for (tenant, found) in in_queue(&api, &caller, &queue).await? {
            tenants.entry(tenant).or_default().push(found);
        }
    }
    let count = tenants.len();
    let tenants = tenants.into_iter().take(MAX_TENANTS).map(|(tenant, queues)| {
        let mut used_today = NOTHING;
        queues.iter().for_each(|queue| add(&mut used_today, &queue.used_today));
        let open = queues.iter().filter_map(|queue| queue.open).sum();
        Tenant { tenant, used_today, open, queues }
    });
    Ok(Json(Listed { tenants: tenants.collect(), count }))
}

/// The tenants that a queue knows of, as far as the caller sees them.
async fn in_queue(
    api: &Api,
    caller: &Caller,
    queue: &QueueName,
) -> Result<BTreeMap<String, TenantQueue>, Problem> {
    let policy = api.broker().policy(queue).await?;
    let stats = api.broker().stats(queue).await?;
    let today = Day::of(unix_ms());
    let used = api.broker().usage(queue, today, today).await?;
    let mut found: BTreeMap<String, TenantQueue> = BTreeMap::new();
    let mut meet = |tenant: &str, note: &mut dyn FnMut(&mut TenantQueue)| {
        // `*` stands for tenants that are no longer told apart.
        let Ok(name) = TenantName::new(tenant) else { return };
        if !caller.sees(tenant) {
            return;
        }
        let known = found.entry(tenant.to_owned()).or_insert_with(|| TenantQueue {
            queue: queue.to_string(),
            open: None,
            used_today: NOTHING,
            policy: policy.tenant(&name),
            held: None,
        });
        note(known);
    };
    for tenant in policy.tenants.keys() {
        meet(tenant.as_str(), &mut |_| {});
    }
    for depth in &stats.by_tenant {
        meet(&depth.tenant, &mut |known| known.open = Some(depth.open));
    }
    for held in &stats.held_tenants {
        meet(&held.tenant, &mut |known| known.held = Some(held.clone()));
    }
    for row in &used {
        meet(&row.line.tenant, &mut |known| add(&mut known.used_today, &row.usage));
    }
    Ok(found)
}
