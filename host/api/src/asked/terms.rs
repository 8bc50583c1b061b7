//! The terms of a task: when it may start, with whom it competes, what it waits for.

use std::str::FromStr;

use bulkhead_core::quantity::{Moment, Span};
use bulkhead_core::{
    Conflict, OnFailedParent, Payload, QueueName, TaskId, TaskRef, TaskType, TermKey, Terms, Unique,
};
use bulkhead_queue::NewTask;
use clap::Args;
use serde::Deserialize;

use super::retry::Retry;

/// All that may be asked of one task.
#[derive(Debug, Clone, Default, Args)]
pub struct Asked {
    /// When it may start.
    #[command(flatten)]
    pub start: Start,
    /// What makes sense for the tasks of a schedule too.
    #[command(flatten)]
    pub lasting: Lasting,
}

/// What makes sense for a task that is submitted now, and not for those of a schedule.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Terms")]
pub struct Start {
    /// Start no sooner than this long from now
    #[arg(long, value_name = "DURATION", conflicts_with = "at")]
    pub delay: Option<Span>,
    /// Start no sooner than this time (RFC 3339, such as 2030-01-31T08:00:00+01:00)
    #[arg(long, value_name = "TIME")]
    pub at: Option<Moment>,
    /// Expire if no attempt has started by this time
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    pub expires_at: Option<Moment>,
    /// End every attempt by this time, and plan no retry beyond it
    #[arg(long, value_name = "TIME", conflicts_with = "deadline_in")]
    pub deadline_at: Option<Moment>,
    /// Wait until this task has ended, repeatable; a bare id is of the same queue
    #[arg(long, value_name = "QUEUE/ID")]
    pub after: Option<Vec<ParentArg>>,
    /// If one of those does not complete: fail, cancel or run all the same [default: fail]
    #[arg(long, value_name = "HOW", value_parser = on_failed_parent)]
    pub on_failed_parent: Option<OnFailedParent>,
}

/// What makes sense for every task of a schedule too. Durations count from the submission
/// there, from the time of the fire here.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Terms")]
pub struct Lasting {
    /// Expire if no attempt has started within this time
    #[arg(long, value_name = "DURATION")]
    pub expires_in: Option<Span>,
    /// End every attempt within this time, and plan no retry beyond it
    #[arg(long, value_name = "DURATION")]
    pub deadline_in: Option<Span>,
    /// Key under which the queue's policy may bound rate and concurrency
    #[arg(long, value_name = "KEY")]
    pub key: Option<TermKey>,
    /// At most one task of this key
    #[arg(long, value_name = "KEY")]
    pub unique: Option<TermKey>,
    /// At most one task of this type and payload
    #[arg(long, conflicts_with = "unique")]
    pub unique_payload: bool,
    /// How long the unique key is taken [default: until the task has ended]
    #[arg(long, value_name = "WINDOW")]
    pub unique_for: Option<Span>,
    /// If the unique key is taken: reject the task, take the existing one in its stead, or
    /// replace it if it has not started [default: reject]
    #[arg(long, value_name = "HOW", value_parser = conflict)]
    pub on_conflict: Option<Conflict>,
    /// How long the ended task is kept [default: the queue's]
    #[arg(long, value_name = "DURATION")]
    pub retention: Option<Span>,
    /// The retry policy.
    #[command(flatten)]
    pub retry: Retry,
}

impl Asked {
    /// What a line asks, completed by what is asked of many. Where there are two ways of
    /// saying one thing, the line's goes before both of the others'.
    pub fn over(self, wider: &Self) -> Self {
        let (own, wide) = (&self.start, &wider.start);
        let starts = own.delay.is_some() || own.at.is_some();
        let expires = own.expires_at.is_some() || self.lasting.expires_in.is_some();
        let deadline = own.deadline_at.is_some() || self.lasting.deadline_in.is_some();
        let start = Start {
            delay: if starts { own.delay } else { wide.delay },
            at: if starts { own.at } else { wide.at },
            expires_at: if expires { own.expires_at } else { wide.expires_at },
            deadline_at: if deadline { own.deadline_at } else { wide.deadline_at },
            after: own.after.clone().or_else(|| wide.after.clone()),
            on_failed_parent: own.on_failed_parent.or(wide.on_failed_parent),
        };
        let (own, wide) = (self.lasting, &wider.lasting);
        let unique = own.unique.is_some() || own.unique_payload;
        let lasting = Lasting {
            expires_in: if expires { own.expires_in } else { wide.expires_in },
            deadline_in: if deadline { own.deadline_in } else { wide.deadline_in },
            key: own.key.or_else(|| wide.key.clone()),
            unique: if unique { own.unique } else { wide.unique.clone() },
            unique_payload: if unique { own.unique_payload } else { wide.unique_payload },
            unique_for: own.unique_for.or(wide.unique_for),
            on_conflict: own.on_conflict.or(wide.on_conflict),
            retention: own.retention.or(wide.retention),
            retry: own.retry.over(&wide.retry),
        };
        Self { start, lasting }
    }

    /// Put it into a task whose queue, type and payload stand.
    pub fn fill(&self, new: &mut NewTask, now: u64) -> Result<(), String> {
        let Self { start, lasting } = self;
        let from_now = |span: Option<Span>| span.map(|span| now.saturating_add(span.as_ms()));
        let at = |moment: Option<Moment>| moment.map(|moment| moment.0);
        let parent = |parent: &ParentArg| parent.in_queue(&new.queue);
        new.terms = Terms {
            not_before: at(start.at).or(from_now(start.delay)),
            expires_at: at(start.expires_at).or(from_now(lasting.expires_in)),
            deadline_at: at(start.deadline_at).or(from_now(lasting.deadline_in)),
            after: start.after.iter().flatten().map(parent).collect(),
            on_failed_parent: start.on_failed_parent.unwrap_or_default(),
            ..lasting.terms(&new.task_type, &new.payload)?
        };
        Ok(())
    }
}

impl Lasting {
    /// The terms, with durations in place of times.
    pub fn terms(&self, task_type: &TaskType, payload: &Payload) -> Result<Terms, String> {
        Ok(Terms {
            retry: self.retry.request()?,
            retention_ms: self.retention.map(Span::as_ms),
            expires_at: self.expires_in.map(Span::as_ms),
            deadline_at: self.deadline_in.map(Span::as_ms),
            key: self.key.clone(),
            unique: self.uniqueness(task_type, payload),
            ..Terms::default()
        })
    }

    fn uniqueness(&self, task_type: &TaskType, payload: &Payload) -> Option<Unique> {
        let key = match &self.unique {
            Some(key) => key.clone(),
            None if self.unique_payload => TermKey::of_payload(task_type, payload),
            None => return None,
        };
        Some(Unique {
            key,
            window_ms: self.unique_for.map(Span::as_ms),
            conflict: self.on_conflict.unwrap_or_default(),
        })
    }

    /// Why this makes no sense for a single task, if it does not.
    pub fn contradiction(&self) -> Option<&'static str> {
        let unique = self.unique.is_some() || self.unique_payload;
        if !unique && (self.unique_for.is_some() || self.on_conflict.is_some()) {
            return Some(
                "--unique-for and --on-conflict say something of a unique key; add --unique or \
                 --unique-payload",
            );
        }
        None
    }
}

/// A task that is waited for: `queue/id`, or an id of the same queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ParentArg {
    queue: Option<QueueName>,
    id: TaskId,
}

impl ParentArg {
    fn in_queue(&self, queue: &QueueName) -> TaskRef {
        TaskRef { queue: self.queue.as_ref().unwrap_or(queue).clone(), id: self.id }
    }
}

impl FromStr for ParentArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self { queue: None, id });
        }
        let TaskRef { queue, id } = text.parse()?;
        Ok(Self { queue: Some(queue), id })
    }
}

impl TryFrom<String> for ParentArg {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn conflict(text: &str) -> Result<Conflict, String> {
    match text {
        "reject" => Ok(Conflict::Reject),
        "existing" => Ok(Conflict::Existing),
        "replace" => Ok(Conflict::Replace),
        _ => Err("write reject, existing or replace".into()),
    }
}

fn on_failed_parent(text: &str) -> Result<OnFailedParent, String> {
    match text {
        "fail" => Ok(OnFailedParent::Fail),
        "cancel" => Ok(OnFailedParent::Cancel),
        "run" => Ok(OnFailedParent::Run),
        _ => Err("write fail, cancel or run".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f0000-0000-7000-8000-000000000001";

    fn new() -> NewTask {
        NewTask {
            queue: QueueName::new("mail").unwrap(),
            ..NewTask::new(TaskType::new("t").unwrap(), Payload::new(Payload::TEXT, "x"))
        }
    }

    fn filled(asked: &Asked) -> Terms {
        let mut new = new();
        asked.fill(&mut new, 1_000).unwrap();
        new.terms
    }

    fn ms(ms: u64) -> Option<Span> {
        Some(Span::from_ms(ms))
    }

    #[test]
    fn durations_count_from_now_and_parents_are_of_the_same_queue() {
        let asked = Asked {
            start: Start {
                delay: ms(1),
                after: Some(vec![ID.parse().unwrap(), format!("other/{ID}").parse().unwrap()]),
                ..Start::default()
            },
            lasting: Lasting { expires_in: ms(2), deadline_in: ms(3), ..Lasting::default() },
        };
        let terms = filled(&asked);
        let times = (terms.not_before, terms.expires_at, terms.deadline_at);
        assert_eq!(times, (Some(1_001), Some(1_002), Some(1_003)));
        let parents: Vec<String> = terms.after.iter().map(TaskRef::to_string).collect();
        assert_eq!(parents, [format!("mail/{ID}"), format!("other/{ID}")]);
        assert!("a b/c".parse::<ParentArg>().is_err());
    }

    #[test]
    fn a_line_goes_before_the_flags_however_each_says_it() {
        let flags = Asked {
            start: Start {
                at: Some(Moment(5)),
                expires_at: Some(Moment(6)),
                on_failed_parent: Some(OnFailedParent::Run),
                ..Start::default()
            },
            lasting: Lasting {
                unique: Some("k".parse().unwrap()),
                on_conflict: Some(Conflict::Existing),
                deadline_in: ms(7),
                ..Lasting::default()
            },
        };
        let line = Asked {
            start: Start { delay: ms(10), deadline_at: Some(Moment(9)), ..Start::default() },
            lasting: Lasting { expires_in: ms(20), unique_payload: true, ..Lasting::default() },
        };
        let terms = filled(&line.over(&flags));
        let times = (terms.not_before, terms.expires_at, terms.deadline_at);
        assert_eq!(times, (Some(1_010), Some(1_020), Some(9)));
        assert_eq!(terms.on_failed_parent, OnFailedParent::Run);
        let unique = terms.unique.unwrap();
        assert!(unique.key.as_str().starts_with("t:"), "{unique:?}");
        assert_eq!(unique.conflict, Conflict::Existing);
        assert_eq!(filled(&Asked::default().over(&flags)).not_before, Some(5));
    }

    #[test]
    fn a_window_without_a_key_contradicts_itself() {
        let mut lasting = Lasting { unique_for: ms(1), ..Lasting::default() };
        assert!(lasting.contradiction().is_some());
        lasting.unique_payload = true;
        assert_eq!(lasting.contradiction(), None);
    }
}
