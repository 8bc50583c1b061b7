//! Tenants: which there are, what they have open and used today, what bounds them, and how much
//! of that is in use.

use std::collections::BTreeMap;

use axum::extract::State as From;
use bulkhead_core::{QueueName, TenantName, TenantPolicy};
use bulkhead_queue::{Day, HeldTenant, QuotaUse, Usage};
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
    /// Tasks that have not ended, in `queues`.
    open: u64,
    /// By queue, where it is among the 100 with the most open tasks, used something today, was
    /// held back or has a policy of its own.
    queues: Vec<TenantQueue>,
}

/// A tenant in one queue.
#[derive(Debug, Serialize, ToSchema)]
struct TenantQueue {
    /// The queue.
    queue: String,
    /// What has been used there since midnight (UTC).
    used_today: Usage,
    /// Its weight and its quotas there.
    policy: TenantPolicy,
    /// What of these quotas is in use now.
    in_use: QuotaUse,
    /// The bound that holds its tasks back, if a host came upon one.
    held: Option<HeldTenant>,
}

/// List tenants: what they have open and used today, their quotas, and what of these is in use
///
/// A token of a tenant sees that one.
#[utoipa::path(get, operation_id = "list_tenants", path = "/v1/tenants", tag = "usage",
    responses((status = 200, body = Listed), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Json<Listed>, Problem> {
    caller.may(Scope::Read)?;
    let mut tenants: BTreeMap<TenantName, Vec<TenantQueue>> = BTreeMap::new();
    for queue in api.broker().queues().await? {
        for (tenant, found) in in_queue(&api, &caller, &queue).await? {
            tenants.entry(tenant).or_default().push(found);
        }
    }
    let count = tenants.len();
    let tenants = tenants.into_iter().take(MAX_TENANTS).map(|(tenant, queues)| {
        let mut used_today = Usage::default();
        queues.iter().for_each(|queue| used_today.add(queue.used_today));
        let open = queues.iter().map(|queue| queue.in_use.pending).sum();
        Tenant { tenant: tenant.to_string(), used_today, open, queues }
    });
    Ok(Json(Listed { tenants: tenants.collect(), count }))
}

/// The tenants that a queue knows of, as far as the caller sees them.
async fn in_queue(
    api: &Api,
    caller: &Caller,
    queue: &QueueName,
) -> Result<BTreeMap<TenantName, TenantQueue>, Problem> {
    let policy = api.broker().policy(queue).await?;
    let stats = api.broker().stats(queue).await?;
    let today = Day::of(unix_ms());
    let used = api.broker().usage(queue, today, today).await?;
    let mut found: BTreeMap<TenantName, TenantQueue> = BTreeMap::new();
    let mut meet = |tenant: &str, note: &mut dyn FnMut(&mut TenantQueue)| {
        // `*` stands for tenants that are no longer told apart.
        let Ok(name) = TenantName::new(tenant) else { return };
        if !caller.sees(tenant) {
            return;
        }
        let of_tenant = policy.tenant(&name);
        let known = found.entry(name).or_insert_with(|| TenantQueue {
            queue: queue.to_string(),
            used_today: Usage::default(),
            policy: of_tenant,
            in_use: QuotaUse::default(),
            held: None,
        });
        note(known);
    };
    for tenant in policy.tenants.keys() {
        meet(tenant.as_str(), &mut |_| {});
    }
    for depth in &stats.by_tenant {
        meet(&depth.tenant, &mut |_| {});
    }
    for held in &stats.held_tenants {
        meet(&held.tenant, &mut |known| known.held = Some(held.clone()));
    }
    for row in &used {
        meet(&row.line.tenant, &mut |known| known.used_today.add(row.usage));
    }
    // Who is among the first of all queues is among the first of this one.
    let names: Vec<TenantName> = found.keys().take(MAX_TENANTS).cloned().collect();
    let in_use = api.broker().quota_use(queue, &names).await?;
    found.values_mut().zip(in_use).for_each(|(known, in_use)| known.in_use = in_use);
    Ok(found)
}
