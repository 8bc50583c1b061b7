//! What tenants used, by day.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, TenantName};

use super::RedisBroker;
use super::stats::pairs;
use crate::error::QueueError;
use crate::step::{End, Settlement};
use crate::usage::{Day, Usage, UsageRow, by_tenant};

/// Days that one look covers.
const DAYS: u32 = 400;
/// The most that one step adds to a sum: sums stay within 64 bits for ever.
const ADDED_MAX: u64 = 1 << 52;

/// One of a day's sums.
type Sum = fn(&Usage) -> u64;

/// The fields of a tenant's day besides the number of attempts, and what they hold.
const FIELDS: [(&str, Sum); 6] = [
    (":f", |usage| usage.fuel),
    (":c", |usage| usage.cpu_us),
    (":m", |usage| usage.kib_ms),
    (":h", |usage| usage.host_calls),
    (":i", |usage| usage.bytes_in),
    (":o", |usage| usage.bytes_out),
];

/// Push what the attempts of these settlements used, summed up by tenant.
pub(super) fn write(command: &mut redis::Cmd, settle: &[Settlement]) {
    let attempts = settle.iter().filter_map(|settlement| {
        let report = match &settlement.end {
            End::Complete { report, .. }
            | End::DeadLetter { report, .. }
            | End::Cancel { report, .. }
            | End::Retry { report, .. }
            | End::Unreadable { report, .. } => report,
            End::Return { .. } => return None,
        };
        // A member is `id:token:tenant:type:host`.
        Some((settlement.token.0.split(':').nth(2)?, &report.metering))
    });
    let sums = by_tenant(attempts);
    command.arg(sums.len());
    for (tenant, usage) in sums {
        command.arg(tenant).arg(usage.attempts);
        // What most attempts use none of costs nothing.
        let sums = FIELDS.map(|(field, sum)| (field, sum(&usage))).into_iter();
        let sums: Vec<_> = sums.filter(|(_, sum)| *sum > 0).collect();
        command.arg(sums.len());
        for (field, sum) in sums {
            command.arg(field).arg(sum.min(ADDED_MAX));
        }
    }
}

pub(super) async fn read(
    broker: &RedisBroker,
    queue: &QueueName,
    from: Day,
    to: Day,
) -> Result<Vec<UsageRow>, QueueError> {
    let to = Day(to.0.min(from.0.saturating_add(DAYS - 1)));
    let mut rows = Vec::new();
    let prefix = broker.prefix(queue);
    for day in (from.0..=to.0).map(Day) {
        let sums = broker.run(&redis::Cmd::hgetall(format!("{prefix}:usage:{day}"))).await?;
        let mut tenants: BTreeMap<String, Usage> = BTreeMap::new();
        for (field, sum) in pairs(sums)? {
            let Some((tenant, what)) = field.split_once(':') else { continue };
            let usage = tenants.entry(tenant.to_owned()).or_default();
            let sum = sum.parse().unwrap_or(0);
            match what {
                "a" => usage.attempts = sum,
                "f" => usage.fuel = sum,
                "c" => usage.cpu_us = sum,
                "h" => usage.host_calls = sum,
                "i" => usage.bytes_in = sum,
                "o" => usage.bytes_out = sum,
                _ => usage.kib_ms = sum,
            }
        }
        for (tenant, usage) in tenants {
            let tenant = TenantName::new(&tenant)
                .map_err(|e| QueueError::Protocol(format!("a usage row: {e}")))?;
            rows.push(UsageRow { day, tenant, usage });
        }
    }
    Ok(rows)
}
