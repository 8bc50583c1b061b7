//! Queues, their policies and their usage as JSON documents.

use bulkhead_core::QueuePolicy;
use bulkhead_queue::QueueStats;
use serde::Serialize;
use utoipa::ToSchema;

/// Depths and totals of a queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub struct QueueDocument<'a> {
    /// Its name.
    pub queue: &'a str,
    /// How it stands.
    #[serde(flatten)]
    pub stats: &'a QueueStats,
}

/// What a queue bounds, and for whom.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct PolicyDocument<'a> {
    /// Its name.
    pub queue: &'a str,
    /// Its policy.
    pub policy: &'a QueuePolicy,
}
