//! The terms of a task: when it may run, with whom it competes, what it waits for and
//! how long it is kept. All are optional, and a task without terms costs nothing extra.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::task::IdError;
use crate::{NameError, Payload, QueueName, RetryRequest, TaskId, TaskType, UnixMs};

/// Text form `queue/id` of a reference.
macro_rules! reference {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.queue, self.id)
            }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let bad =
                    || format!("`{}` names no {}; write queue/id", text.escape_debug(), $what);
                let (queue, id) = text.split_once('/').ok_or_else(bad)?;
                let queue = QueueName::new(queue).map_err(|e| e.to_string())?;
                Ok(Self { queue, id: id.parse().map_err(|_| bad())? })
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(reference: $type) -> Self {
                reference.to_string()
            }
        }
    };
}

/// What a producer may demand of a task's course, beyond type, tenant and priority.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Terms {
    /// What the producer asks of the retry policy; the rest follows the handler and the
    /// queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRequest>,
    /// How long the ended task and its result are kept, in milliseconds, dead letters
    /// included; without it the queue's retention applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Not to be started before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixMs>,
    /// If no attempt has started by this time, the task expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMs>,
    /// Every attempt must end by this time; what remains caps an attempt's wall time,
    /// and no retry is planned beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<UnixMs>,
    /// The key under which the queue's policy may bound rate and concurrency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<TermKey>,
    /// At most one task of this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// The tasks that must end first; at most [`Terms::MAX_PARENTS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<TaskRef>,
    /// What becomes of the task when one of those does not complete.
    #[serde(skip_serializing_if = "is_default")]
    pub on_failed_parent: OnFailedParent,
    /// The batch it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchRef>,
    /// The name of the schedule that fired it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How many tasks up to one that was submitted from outside: 0 for that one itself, one
    /// more than its submitter's for a task that a handler submitted.
    #[serde(skip_serializing_if = "is_default")]
    pub depth: u32,
}

impl Terms {
    /// Most tasks that one task may wait for.
    pub const MAX_PARENTS: usize = 1_000;
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A caller-given key for limits or uniqueness: 1 to 256 bytes of printable text. It is
/// part of storage keys, so spaces and control characters are refused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TermKey(String);

impl TermKey {
    /// Longest key, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Check a key.
    pub fn new(key: impl Into<String>) -> Result<Self, NameError> {
        let key = key.into();
        if key.is_empty() {
            return Err(NameError::Empty("key"));
        }
        if key.len() > Self::MAX_BYTES {
            return Err(NameError::KeyTooLong { bytes: key.len() });
        }
        match key.chars().find(|c| c.is_control() || c.is_whitespace()) {
            None => Ok(Self(key)),
            Some(character) => {
                Err(NameError::BadKey { key: key.escape_debug().to_string(), character })
            }
        }
    }

    /// The key of a type and an input, for tasks that are the same if these are: the type, a
    /// colon, and in lower-case hex the SHA-256 of the content type's length in bytes (eight
    /// of them, big-endian), the content type, and the data.
    #[must_use]
    pub fn of_payload(task_type: &TaskType, payload: &Payload) -> Self {
        let mut hash = Sha256::new();
        // The length keeps content type and data apart.
        hash.update((payload.content_type.len() as u64).to_be_bytes());
        hash.update(payload.content_type.as_bytes());
        hash.update(&payload.data);
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        // A type's characters are a key's too, and at most 128 of them leave room for the rest.
        Self(format!("{task_type}:{hex}"))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TermKey {
    type Error = NameError;
    fn try_from(key: String) -> Result<Self, NameError> {
        Self::new(key)
    }
}

impl FromStr for TermKey {
    type Err = NameError;
    fn from_str(key: &str) -> Result<Self, NameError> {
        Self::new(key)
    }
}

impl From<TermKey> for String {
    fn from(key: TermKey) -> Self {
        key.0
    }
}

impl fmt::Display for TermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// That there may be only one task of a key in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Unique {
    /// The key.
    pub key: TermKey,
    /// How long the key is taken, in milliseconds from submission; without it until the
    /// task has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// What becomes of a second task.
    #[serde(default)]
    pub conflict: Conflict,
}

/// What becomes of a task whose unique key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// It is refused.
    #[default]
    Reject,
    /// It is not stored; the answer names the task that holds the key.
    Existing,
    /// The holder is cancelled if it has not started, and the new task takes its place; a
    /// holder that runs or has ended stays, as with [`Conflict::Existing`].
    Replace,
}

/// What becomes of a task when one that it waits for ends other than completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFailedParent {
    /// It becomes a dead letter that says which one.
    #[default]
    Fail,
    /// It is cancelled.
    Cancel,
    /// It runs all the same, once all have ended.
    Run,
}

/// A task in a queue, written `queue/id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskRef {
    /// Its queue.
    pub queue: QueueName,
    /// Its id.
    pub id: TaskId,
}

reference!(TaskRef, "task");

/// A batch's id: a UUID, written in its hyphenated form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId(pub Uuid);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BatchId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map(Self).map_err(|_| IdError::of("batch", text))
    }
}

impl TryFrom<String> for BatchId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<BatchId> for String {
    fn from(id: BatchId) -> Self {
        id.to_string()
    }
}

/// A batch and the queue that keeps its count, written `queue/id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchRef {
    /// The queue that keeps the batch.
    pub queue: QueueName,
    /// The batch.
    pub id: BatchId,
}

reference!(BatchRef, "batch");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printable_and_bounded() {
        for good in ["smtp", "customer:42", "ü", &"x".repeat(256)] {
            assert!(TermKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "\u{0}", &"x".repeat(257)] {
            assert!(TermKey::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn type_content_type_and_data_make_the_key_of_a_payload() {
        let key = |task_type: &str, content_type: &str, data: &str| {
            let task_type = TaskType::new(task_type).unwrap();
            TermKey::of_payload(&task_type, &Payload::new(content_type, data))
        };
        let one = key("mail", "text/plain", "x");
        // `docs/redis.md` has this key as an example.
        assert_eq!(
            one.as_str(),
            "mail:4871618c4504fdcb635c316f1e6b42a477a73188b365fa846facded492b11ca8"
        );
        for other in [
            key("post", "text/plain", "x"),
            key("mail", "text/html", "x"),
            key("mail", "text/plain", "y"),
            key("mail", "text/plainx", ""),
        ] {
            assert_ne!(one, other);
        }
        let longest = key(&"t".repeat(128), "", "");
        assert_eq!(TermKey::new(longest.as_str()), Ok(longest));
    }

    #[test]
    fn a_task_reference_round_trips() {
        let text = "mail/0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(text.parse::<TaskRef>().unwrap().to_string(), text);
        let said = "12".parse::<TaskId>().unwrap_err().to_string();
        assert!(said.starts_with("`12` is no task's id; write a UUID"), "{said}");
        let said = "x".repeat(1_000).parse::<BatchId>().unwrap_err().to_string();
        assert!(said.contains("is no batch's id") && said.len() < 200, "{said}");
        for bad in ["", "mail", "mail/x", "/0190163d-8694-739b-aea5-966c26f8ad91"] {
            assert!(bad.parse::<TaskRef>().is_err(), "{bad}");
        }
    }
}
