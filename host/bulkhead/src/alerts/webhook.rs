//! Telling others of an alert: a POST of JSON, tried a few times, in the order of what happened.

use std::time::Duration;

use bulkhead_core::{AlertChange, AlertSignal, Bound, UnixMs};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::web::WebAddress;

/// Notices of one alert that wait; what is beyond is dropped, and said to be.
const MAX_WAITING: usize = 64;
/// Tries for each notice.
const TRIES: u32 = 5;
/// How long one try may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The pause after the first try; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// What is told.
#[derive(Debug, Serialize)]
pub(super) struct Notice<'a> {
    pub(super) host: &'a str,
    pub(super) alert: &'a str,
    pub(super) queue: &'a str,
    pub(super) change: AlertChange,
    pub(super) signal: AlertSignal,
    pub(super) bound: Bound,
    pub(super) clear: f64,
    pub(super) value: Option<f64>,
    pub(super) at: UnixMs,
}

/// The way to one webhook.
#[derive(Clone)]
pub(super) struct Webhook {
    notices: mpsc::Sender<Vec<u8>>,
    metrics: Metrics,
}

impl Webhook {
    /// The way to an address, and what delivers there as long as it is polled.
    pub(super) fn to(
        address: WebAddress,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (notices, waiting) = mpsc::channel(MAX_WAITING);
        let delivering = deliver(address, waiting, metrics.clone());
        (Self { notices, metrics }, delivering)
    }

    pub(super) fn tell(&self, notice: &Notice<'_>) {
        let told = serde_json::to_vec(notice).ok().map(|json| self.notices.try_send(json));
        if !matches!(told, Some(Ok(()))) {
            count(&self.metrics, "failed");
            tracing::warn!(alert = notice.alert, "too many notices of the alert wait; one is lost");
        }
    }
}

fn count(metrics: &Metrics, result: &str) {
    metrics.families().alert_webhooks.of(&[result]).add(1);
}

async fn deliver(address: WebAddress, mut waiting: mpsc::Receiver<Vec<u8>>, metrics: Metrics) {
    while let Some(notice) = waiting.recv().await {
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            match address.post_json(notice.clone(), WITHIN).await {
                Ok(()) => {
                    count(&metrics, "delivered");
                    break;
                }
                Err(error) if left == 0 => {
                    count(&metrics, "failed");
                    tracing::warn!(%error, "an alert could not be told of; it is given up");
                }
                Err(error) => {
                    tracing::debug!(%error, left, "an alert could not be told of; trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }
}
