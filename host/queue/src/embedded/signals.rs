//! Subscriptions within the process.

use bulkhead_core::QueueName;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::broker::{Signal, Topic};

/// Signals that wait for a slow subscriber before it is told to look for itself.
const BUFFER: usize = 1_024;

#[derive(Debug)]
pub(super) struct Signals {
    cancel: broadcast::Sender<Signal>,
    done: broadcast::Sender<Signal>,
    rescan: broadcast::Sender<Signal>,
}

impl Signals {
    pub(super) fn new() -> Self {
        let channel = || broadcast::channel(BUFFER).0;
        Self { cancel: channel(), done: channel(), rescan: channel() }
    }

    fn of(&self, topic: Topic) -> &broadcast::Sender<Signal> {
        match topic {
            Topic::Cancel => &self.cancel,
            Topic::Done => &self.done,
            Topic::Rescan => &self.rescan,
        }
    }

    /// Tell all subscribers; how many there are.
    pub(super) fn send(&self, topic: Topic, signal: Signal) -> usize {
        // Without a receiver there is nobody to tell.
        self.of(topic).send(signal).unwrap_or(0)
    }

    pub(super) fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal> {
        let heard = self.of(topic).subscribe();
        let (sender, receiver) = mpsc::channel(BUFFER);
        tokio::spawn(forward(heard, queues, sender));
        receiver
    }
}

async fn forward(
    mut heard: broadcast::Receiver<Signal>,
    queues: Vec<QueueName>,
    sender: mpsc::Sender<Signal>,
) {
    let mut signal = Signal::Connected;
    loop {
        let wanted = match &signal {
            Signal::Task(queue, _) => queues.contains(queue),
            Signal::Connected | Signal::Rescan | Signal::Schedules | Signal::Documents(_) => true,
        };
        if wanted && sender.send(signal).await.is_err() {
            return;
        }
        let next = tokio::select! {
            () = sender.closed() => return,
            next = heard.recv() => next,
        };
        signal = match next {
            Ok(signal) => signal,
            // Some were missed: the subscriber looks for itself after this.
            Err(RecvError::Lagged(_)) => Signal::Connected,
            Err(RecvError::Closed) => return,
        };
    }
}
