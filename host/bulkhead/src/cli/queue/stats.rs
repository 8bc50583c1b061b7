//! Depths and totals of queues.

use anyhow::Result;
use bulkhead::core::QueueName;
use bulkhead::queue::{HeldBy, HeldTenant, QueueStats};
use bulkhead_api::document::QueueDocument;

use crate::cli::exit::Exit;
use crate::cli::session::{Session, known_queue};
use crate::cli::{escape, figures, output};

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
    if session.out.is_json() {
        session.out.document(&QueueDocument { queue: queue.as_str(), stats: &stats })?;
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
    let held: String = stats.held_tenants.iter().map(|held| held_back(held) + "\n").collect();
    if !held.is_empty() {
        session.out.text(&format!("\n{held}"))?;
    }
    Ok(Exit::Done)
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
