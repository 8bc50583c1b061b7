//! What was used, by day.

use std::collections::BTreeMap;

use bulkhead_core::QueueName;

use super::RedisBroker;
use super::stats::pairs;
use crate::error::QueueError;
use crate::step::Settlement;
use crate::usage::{Day, Usage, UsageLine, UsageRow, sums};

/// Days that one look covers.
const DAYS: u32 = 400;

/// One of a day's sums.
type Sum = fn(&Usage) -> u64;

/// The fields of a line's day besides the number of attempts, and what they hold.
const FIELDS: [(&str, Sum); 6] = [
    (":f", |usage| usage.fuel),
    (":c", |usage| usage.cpu_us),
    (":m", |usage| usage.kib_ms),
    (":h", |usage| usage.host_calls),
    (":i", |usage| usage.bytes_in),
    (":o", |usage| usage.bytes_out),
];

/// Push what the attempts of these settlements used, summed up.
pub(super) fn write(command: &mut redis::Cmd, settle: &[Settlement]) {
    let sums = sums(settle);
    command.arg(sums.len());
    for ((tenant, plugin, task_type), usage) in sums {
        command.arg(format!("{tenant}:{plugin}:{task_type}")).arg(usage.attempts);
        // What most attempts use none of costs nothing.
        let sums = FIELDS.map(|(field, sum)| (field, sum(&usage))).into_iter();
        let sums: Vec<_> = sums.filter(|(_, sum)| *sum > 0).collect();
        command.arg(sums.len());
        for (field, sum) in sums {
            command.arg(field).arg(sum);
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
        let mut lines: BTreeMap<String, Usage> = BTreeMap::new();
        for (field, sum) in pairs(sums)? {
            let Some((line, what)) = field.rsplit_once(':') else { continue };
            let usage = lines.entry(line.to_owned()).or_default();
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
        for (line, usage) in lines {
            let line = UsageLine::parse(&line).ok_or_else(|| {
                QueueError::Protocol("a row of usage names no tenant, plugin and type".into())
            })?;
            rows.push(UsageRow { day, line, usage });
        }
    }
    Ok(rows)
}
