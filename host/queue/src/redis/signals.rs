//! Subscriptions: cancel requests for hosts, ends of tasks for waiters.

use std::time::Duration;

use bulkhead_core::QueueName;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::broker::Signal;

/// Signals that wait for a slow subscriber before the server's own buffer fills.
const BUFFER: usize = 1_024;
/// The longest pause between attempts to subscribe again.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Subscribe to channels, again and again while the receiver lives.
pub(super) fn subscribe(
    client: redis::Client,
    channels: Vec<(String, Option<QueueName>)>,
) -> mpsc::Receiver<Signal> {
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let mut pause = Duration::from_millis(50);
        while !sender.is_closed() {
            match listen(&client, &channels, &sender).await {
                Ok(()) => pause = Duration::from_millis(50),
                Err(error) => tracing::debug!(%error, "subscription broke"),
            }
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
            }
        }
    });
    receiver
}

async fn listen(
    client: &redis::Client,
    channels: &[(String, Option<QueueName>)],
    sender: &mpsc::Sender<Signal>,
) -> redis::RedisResult<()> {
    let mut pubsub = client.get_async_pubsub().await?;
    for (channel, _) in channels {
        pubsub.subscribe(channel).await?;
    }
    if sender.send(Signal::Connected).await.is_err() {
        return Ok(());
    }
    let mut messages = pubsub.on_message();
    loop {
        let message = tokio::select! {
            () = sender.closed() => return Ok(()),
            message = messages.next() => message,
        };
        let Some(message) = message else { return Ok(()) };
        let channel = channels.iter().find(|(name, _)| name == message.get_channel_name());
        let signal = match channel {
            Some((_, Some(queue))) => message
                .get_payload::<String>()
                .ok()
                .and_then(|id| id.parse().ok())
                .map(|id| Signal::Task(queue.clone(), id)),
            Some((_, None)) => Some(Signal::Rescan),
            None => None,
        };
        if let Some(signal) = signal
            && sender.send(signal).await.is_err()
        {
            return Ok(());
        }
    }
}
