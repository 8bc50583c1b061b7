//! The history of a queue: a ring of samples a resolution, each a line of numbers.

use bulkhead_core::{QueueName, UnixMs};
use redis::Value;

use super::stats::total_name;
use super::{RedisBroker, script};
use crate::error::QueueError;
use crate::history::{Resolution, Sample};

/// The totals of a sample, in the order in which the script writes them.
const TOTALS: [&str; 11] =
    ["submitted", "c", "r", "d", "x", "e", "b", "u", "reclaimed", "replayed", "purged"];

pub(super) async fn sample(broker: &RedisBroker, queue: &QueueName) -> Result<bool, QueueError> {
    let mut words = Vec::new();
    for resolution in [Resolution::Minute, Resolution::Hour] {
        let (slots, step_ms) = (resolution.slots(), resolution.step_ms());
        // A ring that nobody adds to goes when its last sample is too old.
        words.extend([slots, step_ms, slots * step_ms].map(|number| number.to_string()));
    }
    let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    Ok(script::integer(broker.scripts.sample.call(broker, queue, &args).await?)? == 1)
}

pub(super) async fn read(
    broker: &RedisBroker,
    queue: &QueueName,
    from: UnixMs,
    to: UnixMs,
    resolution: Resolution,
) -> Result<Vec<Sample>, QueueError> {
    let key = format!("{}:history:{}", broker.prefix(queue), resolution.as_str());
    let mut slots = resolution.slots_of(from, to);
    let slots = slots.get_or_insert_with(|| (0..resolution.slots()).collect());
    if slots.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = redis::cmd("HMGET");
    command.arg(key).arg(&*slots);
    let mut samples = Vec::new();
    for found in script::array(broker.run(&command).await?)? {
        if found == Value::Nil {
            continue;
        }
        let sample = parse(&script::text(found)?)
            .ok_or_else(|| QueueError::Protocol("a sample of the history is none".into()))?;
        if (from..=to).contains(&sample.at) {
            samples.push(sample);
        }
    }
    samples.sort_by_key(|sample| sample.at);
    Ok(samples)
}

fn parse(line: &str) -> Option<Sample> {
    let numbers: Vec<i64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let (depths, totals) = numbers.split_first_chunk::<7>()?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let [at, pending, scheduled, blocked, running, failed, oldest] = *depths;
    let totals = TOTALS.iter().zip(totals).filter(|(_, total)| **total > 0);
    Some(Sample {
        at: count(at),
        pending: count(pending),
        scheduled: count(scheduled),
        blocked: count(blocked),
        running: count(running),
        failed: count(failed),
        oldest_pending_ms: u64::try_from(oldest).ok(),
        totals: totals.map(|(name, total)| (total_name(name).to_owned(), count(*total))).collect(),
    })
}
