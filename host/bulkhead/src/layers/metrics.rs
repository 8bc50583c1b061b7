//! `metrics`: tells whoever measures of each attempt.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next};

/// Who measures. It is called once for each attempt that passes the layer and must be quick.
pub trait AttemptMetrics: Send + Sync {
    /// What came of an attempt, and how long it was inside of the layer.
    fn attempt(&self, request: &AttemptRequest<'_>, reply: &AttemptReply, took: Duration);
}

/// Tells of attempts. Clones tell the same one, who may be named later, and once; until then
/// nobody is told.
#[derive(Clone, Default)]
pub struct Metrics(Arc<OnceLock<Arc<dyn AttemptMetrics>>>);

impl Metrics {
    /// Tell this one.
    #[must_use]
    pub fn by(measures: Arc<dyn AttemptMetrics>) -> Self {
        let metrics = Self::default();
        metrics.tell(measures);
        metrics
    }

    /// From now on tell this one; `false` if there is one already.
    pub fn tell(&self, measures: Arc<dyn AttemptMetrics>) -> bool {
        self.0.set(measures).is_ok()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[async_trait]
impl AttemptLayer for Metrics {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let Some(measures) = self.0.get() else { return next.run(request).await };
        let (began, asked) = (Instant::now(), request.clone());
        let reply = next.run(request).await;
        measures.attempt(&asked, &reply, began.elapsed());
        reply
    }
}
