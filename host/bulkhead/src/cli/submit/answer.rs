//! What became of submissions, in words and in JSON.

use bulkhead::core::{QueueName, TaskId, TaskRef, TaskType};
use bulkhead::queue::{NewTask, SubmitAnswer, Submitted};
use serde::Serialize;

/// A task that was sent, and what the queue said.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) id: TaskId,
    pub(crate) task_type: TaskType,
    pub(crate) queue: QueueName,
    pub(crate) answer: SubmitAnswer,
}

/// A submitted task in JSON.
#[derive(Serialize)]
pub(crate) struct SentDocument<'a> {
    id: String,
    #[serde(rename = "type")]
    task_type: &'a str,
    queue: &'a str,
    accepted: bool,
    answer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    /// Until when the tenant's quota is spent, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

impl Sent {
    /// What the queue said of a task of this name.
    pub(crate) fn new((task_type, queue): (TaskType, QueueName), submitted: Submitted) -> Self {
        Self { id: submitted.id, task_type, queue, answer: submitted.answer }
    }

    /// What a task is called while it is on its way.
    pub(crate) fn name(new: &NewTask) -> (TaskType, QueueName) {
        (new.task_type.clone(), new.queue.clone())
    }

    /// The task that does the work: itself, or the one that was there; none if the task was
    /// refused.
    pub(crate) fn stands(&self) -> Option<TaskId> {
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
    pub(crate) fn task_ref(&self) -> Option<TaskRef> {
        Some(TaskRef { queue: self.queue.clone(), id: self.stands()? })
    }

    /// The document. Its id is that of the task that does the work.
    pub(crate) fn document(&self) -> SentDocument<'_> {
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
    pub(crate) fn remark(&self) -> Option<String> {
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

/// How many submissions came to what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    accepted: usize,
    known: usize,
    existing: usize,
    taken: usize,
    over_pending: usize,
    over_payload: usize,
    over_usage: usize,
}

impl Tally {
    /// Count them.
    pub(crate) fn of(sent: &[Sent]) -> Self {
        let mut tally = Self::default();
        for task in sent {
            *match task.answer {
                SubmitAnswer::Accepted | SubmitAnswer::Replaced(_) => &mut tally.accepted,
                SubmitAnswer::Known => &mut tally.known,
                SubmitAnswer::Existing(_) => &mut tally.existing,
                SubmitAnswer::Taken(_) => &mut tally.taken,
                SubmitAnswer::OverPending => &mut tally.over_pending,
                SubmitAnswer::OverPayload => &mut tally.over_payload,
                SubmitAnswer::OverUsage(_) => &mut tally.over_usage,
            } += 1;
        }
        tally
    }

    /// How many are stored that were not there before.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted
    }

    /// What was not submitted because it was there: `; 2 were there already`.
    pub(crate) fn there_already(&self) -> String {
        match self.known + self.existing {
            0 => String::new(),
            there => format!("; {there} were there already"),
        }
    }

    /// What was refused, if anything was.
    pub(crate) fn refused(&self) -> Option<String> {
        let refused = self.taken + self.over_pending + self.over_payload + self.over_usage;
        let reasons: Vec<String> = [
            (self.taken, "whose unique key is taken"),
            (self.over_pending, "over their tenant's quota of tasks (`pending`)"),
            (self.over_payload, "over their tenant's size of a task (`payload`)"),
            (self.over_usage, "over their tenant's quota of a minute"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, reason)| format!("{count} {reason}"))
        .collect();
        (refused > 0).then(|| {
            format!("{refused} tasks were refused: {}; --json names them", reasons.join(", "))
        })
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

    #[test]
    fn refusals_are_counted_by_their_reason() {
        let answers = [
            SubmitAnswer::Accepted,
            SubmitAnswer::Replaced(id(2)),
            SubmitAnswer::Known,
            SubmitAnswer::Existing(id(2)),
            SubmitAnswer::Taken(id(2)),
            SubmitAnswer::OverPending,
            SubmitAnswer::OverPending,
        ];
        let tally = Tally::of(&answers.map(sent));
        assert_eq!(tally.accepted(), 2);
        assert_eq!(tally.there_already(), "; 2 were there already");
        let refused = tally.refused().unwrap();
        assert!(refused.starts_with("3 tasks were refused: 1 whose unique key"), "{refused}");
        assert!(refused.contains("2 over their tenant's quota"), "{refused}");
        assert_eq!(Tally::of(&[sent(SubmitAnswer::Known)]).refused(), None);
    }
}
