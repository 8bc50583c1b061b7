//! The tasks of a selection: part of them, or all in turn.

use std::collections::HashSet;

use anyhow::Result;
use bulkhead::core::{QueueName, State, TaskId};
use bulkhead::queue::{Broker, QueueStats, TaskView};
use bulkhead_api::asked::Selection;

use crate::cli::session::{BATCH, queues};

/// The tasks in these states, part of them.
pub(crate) async fn read(
    selection: &Selection,
    broker: &dyn Broker,
    states: &[State],
    offset: usize,
    limit: usize,
) -> Result<Vec<TaskView>> {
    let mut tasks: Vec<TaskView> = Vec::new();
    // A task that moves on while we look must not be listed twice.
    let mut seen = HashSet::new();
    for queue in queues(broker, selection.queue.as_ref()).await? {
        for state in states {
            let open = (offset + limit).saturating_sub(tasks.len());
            if open == 0 {
                break;
            }
            let mut after = None;
            loop {
                let filter = selection.filter(*state, open.min(BATCH));
                let page = broker.list(&queue, &filter, after.as_ref()).await?;
                tasks.extend(page.tasks.into_iter().filter(|view| seen.insert(view.id)));
                after = page.next;
                if after.is_none() || tasks.len() >= offset + limit {
                    break;
                }
            }
        }
    }
    Ok(tasks.into_iter().skip(offset).take(limit).collect())
}

/// Take all tasks of a state of one queue to `act`, page by page; each once, and at most
/// as many as the state has now, so that tasks which come back or come in meanwhile keep
/// nobody busy for ever. The number of tasks.
pub(crate) async fn sweep(
    selection: &Selection,
    broker: &dyn Broker,
    queue: &QueueName,
    state: State,
    mut act: impl AsyncFnMut(&[TaskId]) -> Result<()>,
) -> Result<usize> {
    let Some(depth) = depth(&broker.stats(queue).await?, state) else { return Ok(0) };
    let bound = usize::try_from(depth)?;
    let mut taken = HashSet::new();
    let mut after = None;
    loop {
        let page = broker.list(queue, &selection.filter(state, BATCH), after.as_ref()).await?;
        let ids = page.tasks.iter().map(|view| view.id).filter(|id| !taken.contains(id));
        let ids: Vec<TaskId> = ids.take(bound - taken.len()).collect();
        if !ids.is_empty() {
            act(&ids).await?;
            taken.extend(ids);
        }
        after = page.next;
        if after.is_none() || taken.len() >= bound {
            break;
        }
    }
    Ok(taken.len())
}

/// How many tasks are in a state, where a queue counts them.
pub(crate) fn depth(stats: &QueueStats, state: State) -> Option<u64> {
    match state {
        State::Scheduled => Some(stats.scheduled),
        State::Blocked => Some(stats.blocked),
        State::Pending => Some(stats.pending),
        State::Running => Some(stats.running),
        State::Failed => Some(stats.failed),
        State::Completed | State::Cancelled | State::Expired => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bulkhead::core::{Payload, TaskType};
    use bulkhead::queue::{CancelAnswer, Client, EmbeddedBroker, NewTask, SubmitLimits};

    use super::*;

    async fn filled(count: usize) -> (Arc<dyn Broker>, QueueName) {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let client = Client::new(broker.clone(), SubmitLimits::default());
        let task = |n: usize| {
            let name = if n.is_multiple_of(2) { "even" } else { "odd" };
            NewTask::new(TaskType::new(name).unwrap(), Payload::new(Payload::TEXT, n.to_string()))
        };
        client.submit_many((0..count).map(task).collect()).await.unwrap();
        (broker, QueueName::default())
    }

    fn of_type(name: &str) -> Selection {
        Selection { task_type: Some(TaskType::new(name).unwrap()), ..Selection::default() }
    }

    #[tokio::test]
    async fn a_sweep_takes_each_once_though_they_leave_the_list() {
        let (broker, queue) = filled(1_300).await;
        let mut answers = Vec::new();
        let cancel = async |ids: &[TaskId]| {
            assert!(ids.len() <= BATCH);
            answers.extend(broker.cancel(&queue, ids, 60_000).await?);
            Ok(())
        };
        let even = of_type("even");
        let swept = sweep(&even, broker.as_ref(), &queue, State::Pending, cancel);
        let swept = swept.await.unwrap();
        assert_eq!((swept, answers.len()), (650, 650));
        assert!(answers.iter().all(|answer| *answer == CancelAnswer::Cancelled));
        assert_eq!(broker.stats(&queue).await.unwrap().pending, 650);
    }

    #[tokio::test]
    async fn a_sweep_ends_though_they_stay_in_the_list() {
        let (broker, queue) = filled(1_300).await;
        let mut seen = Vec::new();
        let look = async |ids: &[TaskId]| {
            seen.extend_from_slice(ids);
            Ok(())
        };
        let odd = of_type("odd");
        let swept = sweep(&odd, broker.as_ref(), &queue, State::Pending, look);
        let swept = swept.await.unwrap();
        seen.sort();
        seen.dedup();
        assert_eq!((swept, seen.len()), (650, 650));
    }

    #[tokio::test]
    async fn a_part_of_a_list_spans_states_and_queues() {
        let (broker, _) = filled(10).await;
        let listed = async |selection: &Selection, offset, limit| {
            read(selection, broker.as_ref(), &State::ALL, offset, limit).await.unwrap().len()
        };
        let one = Selection { contains: Some("3".into()), ..Selection::default() };
        assert_eq!(listed(&one, 0, 50).await, 1);
        assert_eq!(listed(&one, 1, 50).await, 0);
        assert_eq!(listed(&Selection::default(), 4, 3).await, 3);
    }
}
