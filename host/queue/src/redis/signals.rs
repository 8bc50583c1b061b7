//! Subscriptions: cancel requests for hosts, ends of tasks for waiters.
//!
//! A channel is listened to at the server that has the key slot of its name: that is where
//! scripts publish, so a Cluster's own message bus is not relied on.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::QueueName;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::failure::unreachable;
use super::hosts;
use crate::broker::Signal;

/// Signals that wait for a slow subscriber before the server's own buffer fills.
const BUFFER: usize = 1_024;
/// The longest pause between attempts to subscribe again.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How often a silent subscription is asked whether it still stands, and how long it may
/// take to say so.
const PING_EVERY: Duration = Duration::from_secs(5);

/// A channel and the queue it is about.
pub(super) type Channel = (String, Option<QueueName>);

/// Subscribe to channels, again and again while the receiver lives.
pub(super) fn subscribe(
    connection: Arc<Connection>,
    channels: Vec<Channel>,
) -> mpsc::Receiver<Signal> {
    let (sender, receiver) = mpsc::channel(BUFFER);
    for (slot, channels) in connection.lots(channels, |(name, _)| name) {
        tokio::spawn(keep_listening(connection.clone(), slot, channels, sender.clone()));
    }
    receiver
}

async fn keep_listening(
    connection: Arc<Connection>,
    slot: u16,
    channels: Vec<Channel>,
    sender: mpsc::Sender<Signal>,
) {
    let mut pause = Duration::from_millis(50);
    while !sender.is_closed() {
        match listen(&connection, slot, &channels, &sender).await {
            Ok(()) => pause = Duration::from_millis(50),
            Err(error) => tracing::debug!(%error, "subscription broke"),
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
        }
    }
}

/// Listen until the subscription breaks or nobody wants the signals any more. An error only
/// if it never stood.
async fn listen(
    connection: &Connection,
    slot: u16,
    channels: &[Channel],
    sender: &mpsc::Sender<Signal>,
) -> redis::RedisResult<()> {
    let server = connection.owner(slot).await?;
    let subscribed = async {
        let mut pubsub = connection.dial.subscription(&server).await?;
        let names: Vec<&str> = channels.iter().map(|(name, _)| name.as_str()).collect();
        match tokio::time::timeout(PING_EVERY, pubsub.subscribe(names)).await {
            Ok(stands) => stands.map(|()| pubsub),
            Err(_) => Err(unreachable(format!("{server}: no answer to a subscription"))),
        }
    };
    let (mut sink, mut messages) = match subscribed.await {
        Ok(pubsub) => pubsub.split(),
        Err(error) => {
            connection.doubt(slot, &server).await;
            return Err(error);
        }
    };
    if sender.send(Signal::Connected).await.is_err() {
        return Ok(());
    }
    loop {
        let message = tokio::select! {
            () = sender.closed() => return Ok(()),
            message = tokio::time::timeout(PING_EVERY, messages.next()) => message,
        };
        let message = match message {
            Ok(Some(message)) => message,
            Err(_) if connection.leads_to(slot, &server) && pong(&mut sink).await => continue,
            Ok(None) | Err(_) => {
                connection.doubt(slot, &server).await;
                return Ok(());
            }
        };
        let channel = channels.iter().find(|(name, _)| name == message.get_channel_name());
        let signal = match channel {
            Some((_, Some(queue))) => message
                .get_payload::<String>()
                .ok()
                .and_then(|id| id.parse().ok())
                .map(|id| Signal::Task(queue.clone(), id)),
            Some((_, None)) => hosts::said(message.get_payload_bytes()),
            None => None,
        };
        if let Some(signal) = signal
            && sender.send(signal).await.is_err()
        {
            return Ok(());
        }
    }
}

/// Whether the server still answers on this subscription.
async fn pong(sink: &mut redis::aio::PubSubSink) -> bool {
    let answer = tokio::time::timeout(PING_EVERY, sink.ping::<redis::Value>()).await;
    matches!(answer, Ok(Ok(_)))
}
