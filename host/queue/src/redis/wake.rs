//! The blocking wake-up: one connection that waits on the markers of all lines.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd};
use tokio::sync::Mutex;

use crate::error::QueueError;

/// The connection rests in the slot between waits. A wait takes it out and puts it
/// back only after its answer, so that a dropped wait drops its connection and the
/// server stops blocking for it.
pub(super) struct Wake {
    client: redis::Client,
    connect_timeout: Duration,
    idle: Mutex<Option<MultiplexedConnection>>,
}

impl Wake {
    pub(super) fn new(client: redis::Client, connect_timeout: Duration) -> Self {
        Self { client, connect_timeout, idle: Mutex::new(None) }
    }

    /// Wait for one of the markers, at most `timeout`.
    pub(super) async fn pop(
        &self,
        keys: Vec<String>,
        timeout: Duration,
    ) -> Result<bool, QueueError> {
        if keys.is_empty() {
            tokio::time::sleep(timeout).await;
            return Ok(false);
        }
        let idle = self.idle.lock().await.take();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(self.connect_timeout))
                    .set_response_timeout(None);
                self.client.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        let seconds = timeout.as_secs_f64().max(0.01);
        let mut command = Cmd::with_capacity(keys.len() + 2, 64);
        command.arg("BLPOP").arg(&keys).arg(format!("{seconds:.3}"));
        // The server answers by itself after `timeout`; a silent one is given up on.
        let patience = timeout + Duration::from_secs(5);
        let sent = tokio::time::timeout(patience, connection.send_packed_command(&command));
        let reply = sent
            .await
            .map_err(|_| QueueError::Unavailable("no answer to a blocking pop".into()))??
            .extract_error()?;
        *self.idle.lock().await = Some(connection);
        Ok(reply != redis::Value::Nil)
    }
}
