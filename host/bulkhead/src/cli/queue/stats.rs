//! Depths and totals of queues.

use std::collections::BTreeSet;

use anyhow::Result;
use bulkhead::core::{QueueName, TenantName, TenantPolicy};
use bulkhead::queue::{Broker, HeldBy, HeldTenant, QueueStats, QuotaUse};
use bulkhead_api::document::QueueDocument;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::session::{Session, known_queue};
use crate::cli::{escape, figures, output};

/// Tenants whose quotas are looked at.
const TENANTS: usize = 1_000;

/// One queue, in JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    queue: QueueDocument<'a>,
    /// What of their bounds tenants have in use that have any.
    in_use: Vec<Quotas>,
}

/// What of its bounds a tenant has in use.
#[derive(Serialize)]
struct Quotas {
    tenant: TenantName,
    #[serde(flatten)]
    used: QuotaUse,
    #[serde(skip)]
    policy: TenantPolicy,
}

/// List all queues.
pub(super) async fn list(session: &Session) -> Result<Exit> {
    let broker = session.broker().await?;
    let mut queues = Vec::new();
    for queue in broker.queues().await? {
        let stats = broker.stats(&queue).await?;
        queues.push((queue, stats));
    }
    if session.out.is_json() {
        let documents: Vec<_> = queues
            .iter()
            .map(|(queue, stats)| QueueDocument { queue: queue.as_str(), stats })
            .collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let header = ["QUEUE", "PENDING", "SCHEDULED", "BLOCKED", "RUNNING", "DEAD", "LIMIT", "PAUSED"];
    let mut table = output::table(&header);
    for (queue, stats) in &queues {
        table.add_row(vec![
            output::cell(queue.as_str()),
            output::number(stats.pending),
            output::number(stats.scheduled),
            output::number(stats.blocked),
            output::number(stats.running),
            output::number(stats.failed),
            output::number(stats.concurrency.map_or("-".to_owned(), |limit| limit.to_string())),
            output::cell(paused(stats)),
        ]);
    }
    session.out.table(table, "no queues: no task was ever submitted")?;
    Ok(Exit::Done)
}

fn paused(stats: &QueueStats) -> &'static str {
    if stats.paused {
        "paused"
    } else if stats.by_type.iter().any(|depth| depth.paused) {
        "some types"
    } else {
        ""
    }
}

/// Show one queue.
pub(super) async fn stats(session: &Session, queue: &QueueName) -> Result<Exit> {
    let broker = session.broker().await?;
    known_queue(broker.as_ref(), queue).await?;
    let stats = broker.stats(queue).await?;
    let in_use = in_use(broker.as_ref(), queue, &stats).await?;
    if session.out.is_json() {
        let queue = QueueDocument { queue: queue.as_str(), stats: &stats };
        session.out.document(&Shown { queue, in_use })?;
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["WHAT", "TASKS"]);
    let mut row = |what: &str, tasks: u64| {
        table.add_row(vec![output::cell(what), output::number(tasks)]);
    };
    row("pending", stats.pending);
    for depth in &stats.by_type {
        let paused = if depth.paused { ", paused" } else { "" };
        row(&format!("  of type {}{paused}", depth.task_type), depth.pending);
    }
    if stats.held_back > 0 {
        row("  held back by their key's limit", stats.held_back);
    }
    row("scheduled", stats.scheduled);
    row("blocked", stats.blocked);
    row("running", stats.running);
    row("dead", stats.failed);
    for depth in &stats.by_tenant {
        row(&format!("not ended, of tenant {}", depth.tenant), depth.open);
    }
    for (name, total) in &stats.totals {
        row(&format!("total {}", name.replace('_', " ")), *total);
    }
    let mut text = format!("queue {queue}");
    if stats.paused {
        text.push_str(", paused");
    }
    if let Some(limit) = stats.concurrency {
        text.push_str(&format!(", at most {limit} at once"));
    }
    if let Some(oldest) = stats.oldest_pending_at {
        let ago = figures::relative(oldest, figures::now());
        text.push_str(&format!(", oldest pending task put in line {ago}"));
    }
    session.out.text(&format!("{}\n\n", escape::line(&text)))?;
    session.out.table(table, "")?;
    let in_use = in_use.iter().map(Quotas::line);
    let held = stats.held_tenants.iter().map(held_back);
    let lines: String = in_use.chain(held).map(|line| line + "\n").collect();
    if !lines.is_empty() {
        session.out.text(&format!("\n{lines}"))?;
    }
    Ok(Exit::Done)
}

/// The tenants that have a policy of their own, tasks, or are held back; those with a bound of
/// which something can be in use, by name.
async fn in_use(broker: &dyn Broker, queue: &QueueName, stats: &QueueStats) -> Result<Vec<Quotas>> {
    let policy = broker.policy(queue).await?;
    let busy = stats.by_tenant.iter().map(|depth| &depth.tenant);
    let busy = busy.chain(stats.held_tenants.iter().map(|held| &held.tenant));
    let busy = busy.filter_map(|tenant| TenantName::new(tenant).ok());
    let names: BTreeSet<TenantName> = busy.chain(policy.tenants.keys().cloned()).collect();
    let names: Vec<TenantName> = names
        .into_iter()
        .filter(|tenant| {
            let of = policy.tenant(tenant);
            let counted = of.pending.is_some() || of.in_flight.is_some() || of.rate.is_some();
            counted || of.is_metered()
        })
        .take(TENANTS)
        .collect();
    let used = broker.quota_use(queue, &names).await?;
    let quotas = |(tenant, used)| Quotas { policy: policy.tenant(&tenant), tenant, used };
    Ok(names.into_iter().zip(used).map(quotas).collect())
}

impl Quotas {
    /// `tenant acme has 3 of 4 in flight, 1.20 G of 2.00 G fuel this minute`.
    fn line(&self) -> String {
        let Self { tenant, used, policy } = self;
        let of = |used: Option<u64>, most: Option<u64>, what: &str| {
            Some(format!("{} of {} {what}", figures::count(used?), figures::count(most?)))
        };
        let gib_seconds = used.kib_ms.zip(policy.kib_ms_per_minute).map(|(used, most)| {
            let gib_seconds = |kib_ms: u64| kib_ms as f64 / TenantPolicy::GIB_SECOND as f64;
            format!("{:.1} of {} GiB·s this minute", gib_seconds(used), gib_seconds(most))
        });
        let parts = [
            of(Some(used.pending), policy.pending, "not ended"),
            of(used.in_flight, policy.in_flight.map(u64::from), "in flight"),
            of(used.starts, policy.rate.map(|rate| rate.burst.into()), "starts"),
            of(used.fuel, policy.fuel_per_minute, "fuel this minute"),
            gib_seconds,
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("tenant {tenant} has {}", parts.join(", "))
    }
}

/// What holds a tenant's tasks back: `held back: fuel quota of tenant acme spent, again in 12s`.
pub(crate) fn held_back(held: &HeldTenant) -> String {
    let tenant = escape::line(&held.tenant);
    let why = match held.by {
        HeldBy::InFlight => format!("tenant {tenant} runs as many tasks as it may"),
        HeldBy::Rate => format!("rate of tenant {tenant} reached"),
        HeldBy::Fuel => format!("fuel quota of tenant {tenant} spent"),
        HeldBy::Memory => format!("memory quota (GiB·s) of tenant {tenant} spent"),
    };
    let again = match held.until {
        Some(until) => figures::relative(until, figures::now()),
        None => "when one of its tasks ends".to_owned(),
    };
    format!("held back: {why}, again {again}")
}
