//! Which tasks are meant: by what they are, not by id.

use std::collections::HashSet;

use anyhow::Result;
use bulkhead::core::quantity::Moment;
use bulkhead::core::{BatchId, FailureKind, QueueName, State, TaskId, TaskType, TenantName};
use bulkhead::queue::{Broker, ListFilter, QueueStats, TaskView};
use clap::Args;

use crate::cli::session::{BATCH, queues};

/// What tasks have in common; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Which tasks")]
pub(crate) struct Selection {
    /// Only this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<QueueName>,
    /// Only this task type
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<TaskType>,
    /// Only this tenant's
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// Only members of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
    /// Only those that this schedule fired
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only those whose last attempt failed in this way, such as reject or timed_out
    #[arg(long, value_name = "KIND")]
    failure: Option<FailureKind>,
    /// Only those with this text in the last failure's message, a metadata value or a
    /// payload of text
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Only those submitted at this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    submitted_from: Option<Moment>,
    /// Only those submitted before this time
    #[arg(long, value_name = "TIME")]
    submitted_before: Option<Moment>,
}

impl Selection {
    /// Whether it leaves nothing out.
    pub(crate) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// It as a question to the broker.
    fn filter(&self, state: State, limit: usize) -> ListFilter {
        ListFilter {
            state,
            task_type: self.task_type.clone(),
            tenant: self.tenant.clone(),
            batch: self.batch,
            schedule: self.schedule.clone(),
            failure: self.failure,
            submitted_from: self.submitted_from.map(|time| time.0),
            submitted_before: self.submitted_before.map(|time| time.0),
            contains: self.contains.clone(),
            limit,
        }
    }

    /// The tasks in these states, part of them.
    pub(crate) async fn read(
        &self,
        broker: &dyn Broker,
        states: &[State],
        offset: usize,
        limit: usize,
    ) -> Result<Vec<TaskView>> {
        let mut tasks: Vec<TaskView> = Vec::new();
        // A task that moves on while we look must not be listed twice.
        let mut seen = HashSet::new();
        for queue in queues(broker, self.queue.as_ref()).await? {
            for state in states {
                let open = (offset + limit).saturating_sub(tasks.len());
                if open == 0 {
                    break;
                }
                let mut after = None;
                loop {
                    let filter = self.filter(*state, open.min(BATCH));
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
        &self,
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
            let page = broker.list(queue, &self.filter(state, BATCH), after.as_ref()).await?;
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

    use bulkhead::core::Payload;
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
        let swept = of_type("even")
            .sweep(broker.as_ref(), &queue, State::Pending, async |ids| {
                assert!(ids.len() <= BATCH);
                answers.extend(broker.cancel(&queue, ids, 60_000).await?);
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!((swept, answers.len()), (650, 650));
        assert!(answers.iter().all(|answer| *answer == CancelAnswer::Cancelled));
        assert_eq!(broker.stats(&queue).await.unwrap().pending, 650);
    }

    #[tokio::test]
    async fn a_sweep_ends_though_they_stay_in_the_list() {
        let (broker, queue) = filled(1_300).await;
        let mut seen = Vec::new();
        let swept = of_type("odd")
            .sweep(broker.as_ref(), &queue, State::Pending, async |ids| {
                seen.extend_from_slice(ids);
                Ok(())
            })
            .await
            .unwrap();
        seen.sort();
        seen.dedup();
        assert_eq!((swept, seen.len()), (650, 650));
    }

    #[tokio::test]
    async fn a_part_of_a_list_spans_states_and_queues() {
        let (broker, _) = filled(10).await;
        let read = async |offset, limit| {
            let selection = Selection { contains: Some("3".into()), ..Selection::default() };
            selection.read(broker.as_ref(), &State::ALL, offset, limit).await.unwrap().len()
        };
        assert_eq!(read(0, 50).await, 1);
        assert_eq!(read(1, 50).await, 0);
        let all = Selection::default().read(broker.as_ref(), &State::ALL, 4, 3).await.unwrap();
        assert_eq!(all.len(), 3);
    }
}
