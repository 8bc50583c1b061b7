//! The JSON that the command line answers with, as far as the demo looks at it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A task, which has ended unless it was asked for by its id.
#[derive(Debug, Deserialize)]
pub(super) struct Task {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) task_type: String,
    pub(super) state: String,
    pub(super) attempts: u32,
    #[serde(default)]
    pub(super) submitted_at: u64,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) failure: Option<Failure>,
    #[serde(default)]
    pub(super) history: Vec<Entry>,
}

/// A task that was submitted.
#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    pub(super) id: String,
}

/// What became of a schedule.
#[derive(Debug, Deserialize)]
pub(super) struct Changed {
    pub(super) changed: bool,
}

/// Why a task failed.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) kind: String,
    pub(super) message: String,
    #[serde(default)]
    pub(super) backtrace: Vec<String>,
}

/// What happened to a task; only ended attempts have a plugin and metering, only the end
/// of a task that it waited for has a parent.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// Queue and id.
    #[serde(default)]
    pub(super) parent: Option<String>,
    /// What the parent came to.
    #[serde(default)]
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) started_at: u64,
    #[serde(default)]
    pub(super) digest: Option<String>,
    #[serde(default)]
    pub(super) metering: Option<Metering>,
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Metering {
    pub(super) fuel: u64,
    pub(super) peak_memory_bytes: u64,
    pub(super) wall_us: u64,
}

impl Task {
    pub(super) fn is_completed(&self) -> bool {
        self.state == "completed"
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "cancelled" | "expired")
    }

    /// The time for which a schedule submitted it.
    pub(super) fn fired_for(&self) -> Option<u64> {
        self.metadata.get("schedule_at")?.parse().ok()
    }

    /// When its last ended attempt began.
    pub(super) fn started_at(&self) -> Option<u64> {
        let ended = |entry: &&Entry| entry.metering.is_some();
        self.history.iter().rev().find(ended).map(|entry| entry.started_at)
    }

    /// The digest of the plugin version that the last attempt ran, and what it used.
    pub(super) fn last_attempt(&self) -> Option<(&str, Metering)> {
        let ended = |entry: &'_ Entry| entry.metering.is_some();
        let entry = self.history.iter().rev().find(|entry| ended(entry))?;
        Some((entry.digest.as_deref()?, entry.metering?))
    }

    /// Why it failed, in one line.
    pub(super) fn reason(&self) -> String {
        match &self.failure {
            Some(failure) => format!("{}: {}", failure.kind, failure.message),
            None => format!("the task is {}", self.state),
        }
    }
}

/// A plugin of a running host.
#[derive(Debug, Deserialize)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) serving: Option<Serving>,
    pub(super) rejected: Option<Rejected>,
}

/// The version that serves.
#[derive(Debug, Deserialize)]
pub(super) struct Serving {
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) task_types: Vec<String>,
}

/// The newer version that was refused.
#[derive(Debug, Deserialize)]
pub(super) struct Rejected {
    pub(super) gate: String,
    pub(super) reason: String,
}

/// A queue's depths, and its totals by name.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Queue {
    pub(super) pending: u64,
    pub(super) scheduled: u64,
    pub(super) running: u64,
    #[serde(default)]
    pub(super) totals: BTreeMap<String, u64>,
}

impl Queue {
    fn total(&self, name: &str) -> u64 {
        self.totals.get(name).copied().unwrap_or(0)
    }

    pub(super) fn completed(&self) -> u64 {
        self.total("completed")
    }

    /// Tasks that have ended, well or not.
    pub(super) fn ended(&self) -> u64 {
        self.completed() + self.total("failed")
    }

    /// Tasks that have not.
    pub(super) fn open(&self) -> u64 {
        self.pending + self.scheduled + self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_counts_even_when_something_else_came_after() {
        let task: Task = serde_json::from_value(serde_json::json!({
            "id": "1", "type": "t", "queue": "q", "state": "failed", "attempts": 3,
            "failure": {"kind": "out_of_fuel", "message": "enough"},
            "history": [
                {"event": "ended", "digest": "a",
                 "metering": {"fuel": 1, "peak_memory_bytes": 2, "wall_us": 3, "cpu_us": 4}},
                {"event": "ended", "digest": "b",
                 "metering": {"fuel": 5, "peak_memory_bytes": 6, "wall_us": 7, "cpu_us": 8}},
                {"event": "lease_lost", "at": 9, "host": "h"},
            ],
        }))
        .unwrap();
        let (plugin, metering) = task.last_attempt().unwrap();
        assert_eq!((plugin, metering.fuel, metering.wall_us), ("b", 5, 7));
        assert_eq!(task.reason(), "out_of_fuel: enough");
        assert!(!task.is_completed());
    }

    #[test]
    fn a_queue_tells_ended_from_open() {
        let queue: Queue = serde_json::from_value(serde_json::json!({
            "queue": "q", "pending": 1, "scheduled": 2, "running": 3, "failed": 1,
            "totals": {"submitted": 20, "completed": 13, "failed": 1},
        }))
        .unwrap();
        assert_eq!((queue.completed(), queue.ended(), queue.open()), (13, 14, 6));
    }
}
