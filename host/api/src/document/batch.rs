//! Batches as JSON documents.

use bulkhead_core::QueueName;
use bulkhead_queue::{BatchView, Over, SubmittedBatch};
use serde::Serialize;
use utoipa::ToSchema;

use super::sent::{Sent, SentDocument};

/// How a batch stands. All times are Unix milliseconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub struct BatchDocument<'a> {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// The queue that keeps it.
    queue: &'a str,
    /// What it is called.
    name: &'a str,
    /// When it was opened.
    opened_at: u64,
    /// When it was over, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    over_at: Option<u64>,
    /// When it counts as over.
    over: Over,
    /// Its members.
    total: u64,
    /// Members that have not ended.
    open: u64,
    /// Members that completed.
    completed: u64,
    /// Members that failed.
    failed: u64,
    /// Members that were cancelled, purged or never accepted.
    cancelled: u64,
    /// Members that expired.
    expired: u64,
    /// The task submitted when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Uuid)]
    callback: Option<String>,
}

impl<'a> From<&'a BatchView> for BatchDocument<'a> {
    fn from(view: &'a BatchView) -> Self {
        Self {
            id: view.id.to_string(),
            queue: view.queue.as_str(),
            name: &view.name,
            opened_at: view.opened_at,
            over_at: view.over_at,
            over: view.over,
            total: view.total,
            open: view.open(),
            completed: view.completed,
            failed: view.failed,
            cancelled: view.cancelled,
            expired: view.expired,
            callback: view.callback.map(|id| id.to_string()),
        }
    }
}

/// A batch that was submitted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubmittedBatch)]
pub struct SubmittedDocument<'a> {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// The queue that keeps it.
    queue: &'a str,
    /// The task that will be submitted when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = Uuid)]
    callback: Option<String>,
    /// Its members, in the order they were given.
    tasks: Vec<SentDocument<'a>>,
}

impl<'a> SubmittedDocument<'a> {
    /// The document of a batch of this queue and of what became of its members.
    #[must_use]
    pub fn new(queue: &'a QueueName, submitted: &SubmittedBatch, sent: &'a [Sent]) -> Self {
        Self {
            id: submitted.id.to_string(),
            queue: queue.as_str(),
            callback: submitted.callback.map(|id| id.to_string()),
            tasks: sent.iter().map(Sent::document).collect(),
        }
    }
}
