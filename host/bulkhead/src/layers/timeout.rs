//! `timeout`: a shorter time for each attempt than its limits say.

use std::time::Duration;

use async_trait::async_trait;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next};

/// Lowers the wall time of attempts. What takes longer times out as by the limit.
#[derive(Debug, Clone, Copy)]
pub struct Timeout {
    /// The longest time of an attempt, at least 1 ms.
    pub after: Duration,
}

#[async_trait]
impl AttemptLayer for Timeout {
    async fn around<'a>(&'a self, mut request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let after_ms = u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX).max(1);
        request.limits.wall_ms = request.limits.wall_ms.min(after_ms);
        next.run(request).await
    }
}
