//! From a schedule that is due to what the queue is asked to do: a pure function.

use bulkhead_core::{Due, QueueName, TimingError, UnixMs};
use bulkhead_queue::{Fire, ScheduleView};

/// Payload bytes of the tasks in one call to the broker. A schedule that makes up for many
/// missed fires with large payloads does so in several calls.
const CALL_BYTES: usize = 8 << 20;
/// What a task weighs besides its payload, at least.
const TASK_BYTES: usize = 256;

/// What a schedule fires now.
pub(super) fn plan(
    queue: &QueueName,
    view: &ScheduleView,
    now: UnixMs,
) -> Result<Fire, TimingError> {
    let schedule = &view.schedule;
    let Due { mut fires, mut next } = schedule.due(view.next.unwrap_or(now), now)?;
    let weight = schedule.task.payload.data.len().saturating_add(TASK_BYTES);
    let most = (CALL_BYTES / weight).max(1);
    if fires.len() > most {
        // The rest is due at once, and found by the next look.
        next = fires.get(most).copied();
        fires.truncate(most);
    }
    Ok(Fire {
        schedule: schedule.name.clone(),
        expected: view.next,
        next,
        fires: fires.into_iter().map(|at| (at, schedule.task(queue, at, now))).collect(),
        exclusive: schedule.exclusive,
        by_hand: false,
    })
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{
        LimitsRequest, Missed, Payload, Schedule, TaskType, Template, Terms, Timing,
    };

    use super::*;

    fn view(payload_bytes: usize, next: UnixMs) -> ScheduleView {
        let task = Template {
            task_type: TaskType::new("t").unwrap(),
            tenant: Default::default(),
            priority: Default::default(),
            payload: Payload::new(Payload::BINARY, vec![0; payload_bytes]),
            metadata: Vec::new(),
            limits: LimitsRequest::default(),
            terms: Terms::default(),
        };
        ScheduleView {
            schedule: Schedule {
                name: "s".into(),
                timing: Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 },
                exclusive: false,
                missed: Missed::All { at_most: 10 },
                task,
                origin: String::new(),
            },
            paused: false,
            next: Some(next),
            last: None,
            fired: 0,
            skipped: 0,
        }
    }

    fn times(fire: &Fire) -> Vec<UnixMs> {
        fire.fires.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn a_fire_is_computed_from_the_next_one_that_was_stored() {
        let fire = plan(&QueueName::default(), &view(3, 3_000), 5_400).unwrap();
        assert_eq!((fire.expected, fire.next), (Some(3_000), Some(6_000)));
        assert_eq!(times(&fire), [3_000, 4_000, 5_000]);
        assert!(fire.fires.iter().all(|(_, task)| task.submitted_at == 5_400));
    }

    #[test]
    fn large_payloads_are_made_up_for_in_several_calls() {
        let queue = QueueName::default();
        let first = plan(&queue, &view(3 << 20, 1_000), 5_000).unwrap();
        assert_eq!((times(&first), first.next), (vec![1_000, 2_000], Some(3_000)));
        let second = plan(&queue, &view(3 << 20, 3_000), 5_001).unwrap();
        assert_eq!((times(&second), second.next), (vec![3_000, 4_000], Some(5_000)));
        let huge = plan(&queue, &view(30 << 20, 5_000), 5_002).unwrap();
        assert_eq!((times(&huge), huge.next), (vec![5_000], Some(6_000)));
    }
}
