//! What became of a submission.

use bulkhead_core::{QueueName, TaskId, TaskRef, TaskType};
use bulkhead_queue::{NewTask, SubmitAnswer, Submitted};
use serde::Serialize;
use utoipa::ToSchema;

/// A task that was sent, and what the queue said.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The id that it was sent with.
    pub id: TaskId,
    /// Its type.
    pub task_type: TaskType,
    /// Its queue.
    pub queue: QueueName,
    /// What the queue said.
    pub answer: SubmitAnswer,
}

/// What became of a submission.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Submission)]
pub struct SentDocument<'a> {
    /// The task that does the work: itself, or the one that was there.
    #[schema(format = Uuid)]
    id: String,
    /// Its type.
    #[serde(rename = "type")]
    task_type: &'a str,
    /// Its queue.
    queue: &'a str,
    /// Whether it is stored now and was not before.
    accepted: bool,
    /// `accepted`, `known`, `existing` or `replaced`; or why it was refused: `taken`,
    /// `over_pending`, `over_payload` or `over_usage`.
    answer: &'static str,
    /// The task that has its unique key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Uuid)]
    holder: Option<String>,
    /// The task that made way for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Uuid)]
    replaced: Option<String>,
    /// Until when the tenant's quota is spent, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    until: Option<u64>,
}

impl Sent {
    /// What the queue said of a task of this name.
    pub fn new((task_type, queue): (TaskType, QueueName), submitted: Submitted) -> Self {
        Self { id: submitted.id, task_type, queue, answer: submitted.answer }
    }

    /// What a task is called while it is on its way.
    pub fn name(new: &NewTask) -> (TaskType, QueueName) {
        (new.task_type.clone(), new.queue.clone())
    }

    /// The task that does the work: itself, or the one that was there; none if the task was
    /// refused.
    pub fn stands(&self) -> Option<TaskId> {
        match self.answer {
            SubmitAnswer::Accepted | SubmitAnswer::Known | SubmitAnswer::Replaced(_) => {
                Some(self.id)
            }
            SubmitAnswer::Existing(holder) => Some(holder),
            SubmitAnswer::Taken(_)
            | SubmitAnswer::OverPending
            | SubmitAnswer::OverPayload
            | SubmitAnswer::OverUsage(_) => None,
        }
    }

    /// That task with its queue, for those who wait for it.
    pub fn task_ref(&self) -> Option<TaskRef> {
        Some(TaskRef { queue: self.queue.clone(), id: self.stands()? })
    }

    /// The document. Its id is that of the task that does the work.
    pub fn document(&self) -> SentDocument<'_> {
        let (holder, replaced) = match self.answer {
            SubmitAnswer::Taken(id) | SubmitAnswer::Existing(id) => (Some(id), None),
            SubmitAnswer::Replaced(id) => (None, Some(id)),
            _ => (None, None),
        };
        SentDocument {
            id: self.stands().unwrap_or(self.id).to_string(),
            task_type: self.task_type.as_str(),
            queue: self.queue.as_str(),
            accepted: self.answer.is_new(),
            answer: name(self.answer),
            holder: holder.map(|id| id.to_string()),
            replaced: replaced.map(|id| id.to_string()),
            until: match self.answer {
                SubmitAnswer::OverUsage(until) => Some(until),
                _ => None,
            },
        }
    }

    /// What there is to say of a task that was not simply accepted and is not refused.
    pub fn remark(&self) -> Option<String> {
        match self.answer {
            SubmitAnswer::Known => {
                Some(format!("task {} was there already and was not submitted again", self.id))
            }
            SubmitAnswer::Existing(holder) => {
                Some(format!("task {holder} has the unique key already; nothing was submitted"))
            }
            SubmitAnswer::Replaced(old) => Some(format!("task {old} made way and is cancelled")),
            _ => None,
        }
    }
}

fn name(answer: SubmitAnswer) -> &'static str {
    match answer {
        SubmitAnswer::Accepted => "accepted",
        SubmitAnswer::Known => "known",
        SubmitAnswer::Taken(_) => "taken",
        SubmitAnswer::Existing(_) => "existing",
        SubmitAnswer::Replaced(_) => "replaced",
        SubmitAnswer::OverPending => "over_pending",
        SubmitAnswer::OverPayload => "over_payload",
        SubmitAnswer::OverUsage(_) => "over_usage",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TaskId {
        format!("018f0000-0000-7000-8000-0000000000{n:02}").parse().unwrap()
    }

    fn sent(answer: SubmitAnswer) -> Sent {
        let task_type = TaskType::new("t").unwrap();
        Sent { id: id(1), task_type, queue: QueueName::default(), answer }
    }

    #[test]
    fn the_document_names_the_task_that_does_the_work() {
        let existing = serde_json::to_value(sent(SubmitAnswer::Existing(id(2))).document());
        let existing = existing.unwrap();
        assert_eq!(existing["id"], id(2).to_string());
        assert_eq!(existing["holder"], id(2).to_string());
        assert_eq!(
            (&existing["accepted"], &existing["answer"]),
            (&false.into(), &"existing".into())
        );
        let replaced = serde_json::to_value(sent(SubmitAnswer::Replaced(id(2))).document());
        let replaced = replaced.unwrap();
        assert_eq!(replaced["id"], id(1).to_string());
        assert_eq!(replaced["replaced"], id(2).to_string());
        assert_eq!(sent(SubmitAnswer::Taken(id(2))).stands(), None);
        let spent = serde_json::to_value(sent(SubmitAnswer::OverUsage(7)).document()).unwrap();
        assert_eq!((&spent["answer"], &spent["until"]), (&"over_usage".into(), &7.into()));
    }
}
