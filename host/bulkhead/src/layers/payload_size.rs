//! `payload_size`: bounds on what goes in and what comes out.

use async_trait::async_trait;
use bulkhead_core::{Failure, FailureKind};

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next};

/// Refuses tasks with larger payloads for good, and lowers the limit of results. A bound that is
/// not given does not hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct PayloadSize {
    /// Most bytes of a payload.
    pub payload_bytes: Option<u64>,
    /// Most bytes of a result, its content type included.
    pub result_bytes: Option<u64>,
}

#[async_trait]
impl AttemptLayer for PayloadSize {
    async fn around<'a>(&'a self, mut request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let bytes = request.task.payload.data.len() as u64;
        if let Some(most) = self.payload_bytes.filter(|most| bytes > *most) {
            let message = format!(
                "the payload has {bytes} bytes; the queue's layer `payload_size` lets {most} \
                 through"
            );
            return AttemptReply::failed(Failure::new(FailureKind::Reject, message));
        }
        if let Some(most) = self.result_bytes {
            request.limits.result_bytes = request.limits.result_bytes.min(most);
        }
        next.run(request).await
    }
}
