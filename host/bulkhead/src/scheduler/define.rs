//! The schedules that a host brings along.
//!
//! They are stored at start. The queue keeps what it knows of a schedule whose definition
//! is the same, so hosts that bring the same ones do not disturb each other.

use std::collections::BTreeSet;

use bulkhead_core::{QueueName, Schedule};
use bulkhead_queue::{Broker, QueueError};

use crate::options::QueueSchedule;

/// Why the schedules cannot be kept, if they cannot.
pub(crate) fn check(schedules: &[QueueSchedule]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for QueueSchedule { queue, schedule } in schedules {
        schedule.check().map_err(|error| format!("the schedule `{}`: {error}", schedule.name))?;
        if !seen.insert((queue, &schedule.name)) {
            return Err(format!("the schedule `{}` is there twice", schedule.name));
        }
    }
    Ok(())
}

/// Store schedules, and forget those that configuration once defined and does no more, in
/// their queues and in the `served` ones.
pub(crate) async fn define<'a>(
    broker: &dyn Broker,
    schedules: &'a [QueueSchedule],
    served: impl Iterator<Item = &'a QueueName>,
) -> Result<(), QueueError> {
    let queues: BTreeSet<&QueueName> =
        schedules.iter().map(|schedule| &schedule.queue).chain(served).collect();
    for queue in queues {
        let now = broker.due_schedules(queue, 1).await?.now;
        let ours = || schedules.iter().filter(|s| s.queue == *queue).map(|s| &s.schedule);
        for schedule in ours() {
            let next = schedule.next_after(now);
            let changed = broker.put_schedule(queue, schedule, next).await?;
            if changed && next.is_none() {
                tracing::warn!(%queue, schedule = %schedule.name,
                    "the schedule will not fire: its time has passed");
            } else if changed {
                tracing::info!(%queue, schedule = %schedule.name, next, "schedule defined");
            }
        }
        for known in broker.schedules(queue).await? {
            let Schedule { name, origin, .. } = known.schedule;
            let leftover =
                origin == Schedule::FROM_CONFIG && !ours().any(|schedule| schedule.name == name);
            if leftover && broker.remove_schedule(queue, &name).await? {
                tracing::info!(%queue, schedule = %name,
                    "schedule removed: the configuration defines it no more");
            }
        }
    }
    Ok(())
}
