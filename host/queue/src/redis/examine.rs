//! Examination.
use super::RedisBroker;
use crate::error::QueueError;
use crate::finding::Finding;
use bulkhead_core::QueueName;
pub(super) async fn examine(
    _broker: &RedisBroker,
    _queue: &QueueName,
    _repair: bool,
) -> Result<Vec<Finding>, QueueError> {
    Ok(Vec::new())
}
