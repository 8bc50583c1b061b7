//! Submissions summed up in words.

use bulkhead::queue::SubmitAnswer;
use bulkhead_api::document::Sent;

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
    use bulkhead::core::{QueueName, TaskId, TaskType};

    use super::*;

    fn id(n: u8) -> TaskId {
        format!("018f0000-0000-7000-8000-0000000000{n:02}").parse().unwrap()
    }

    fn sent(answer: SubmitAnswer) -> Sent {
        let task_type = TaskType::new("t").unwrap();
        Sent { id: id(1), task_type, queue: QueueName::default(), answer }
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
