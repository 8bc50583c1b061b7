//! What rings when a queue has new events: one wait at the broker for each queue, however many
//! streams follow it.
//!
//! It only says that there may be something; each stream reads for itself, from where it stands.
//! A wait begins at the queue's newest event and knows nothing of where a client says it was: no
//! client's word decides when others are woken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::QueueName;
use bulkhead_queue::{Broker, EventId, QueueError};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How long one call waits for news. A stream that nobody follows any more ends within it.
const WAIT: Duration = Duration::from_secs(15);
/// Events read in one call.
const PAGE: usize = 200;

/// The chimes of all queues that somebody follows.
pub(super) struct Chimes {
    broker: Arc<dyn Broker>,
    queues: Mutex<HashMap<QueueName, watch::Sender<()>>>,
}

/// The chime of one queue, as one stream hears it.
pub(super) struct Chime(watch::Receiver<()>);

impl Chime {
    /// Forget what rang until now.
    pub(super) fn hush(&mut self) {
        self.0.mark_unchanged();
    }

    /// Wait until it rings; nothing if it never will again, because the broker is away.
    pub(super) async fn rung(&mut self) -> Option<()> {
        self.0.changed().await.ok()
    }
}

impl Chimes {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Arc<Self> {
        Arc::new(Self { broker, queues: Mutex::default() })
    }

    /// Listen for events of a queue. Whoever is first has it waited for.
    pub(super) fn listen(self: &Arc<Self>, queue: &QueueName) -> Chime {
        let mut queues = self.queues.lock();
        if let Some(chime) = queues.get(queue) {
            return Chime(chime.subscribe());
        }
        let (chime, heard) = watch::channel(());
        queues.insert(queue.clone(), chime);
        tokio::spawn(self.clone().wait(queue.clone()));
        Chime(heard)
    }

    async fn wait(self: Arc<Self>, queue: QueueName) {
        let mut after = None;
        let mut found = newest(self.broker.as_ref(), &queue).await;
        // The first time it rings for what came before it began to wait.
        let mut rings = true;
        loop {
            {
                let mut queues = self.queues.lock();
                let Some(chime) = queues.get(&queue) else { return };
                match found {
                    Ok(last) if chime.receiver_count() > 0 => {
                        if rings || last.is_some() {
                            chime.send_replace(());
                        }
                        (after, rings) = (last.or(after), false);
                    }
                    // Dropping the chime ends the streams, whose clients come back.
                    Ok(_) | Err(_) => {
                        queues.remove(&queue);
                        return;
                    }
                }
            }
            let events = self.broker.events(&queue, after.as_ref(), PAGE, WAIT).await;
            found = events.map(|events| events.into_iter().last().map(|event| event.id));
        }
    }
}

/// The newest event of a queue.
pub(super) async fn newest(
    broker: &dyn Broker,
    queue: &QueueName,
) -> Result<Option<EventId>, QueueError> {
    let mut last = None;
    // A queue keeps so many at most; no more are read, however fast others come in.
    let kept = broker.policy(queue).await?.events.unwrap_or(0) as usize;
    let mut read = 0;
    while read <= kept {
        let events = broker.events(queue, last.as_ref(), PAGE, Duration::ZERO).await?;
        read += events.len();
        let done = events.len() < PAGE;
        last = events.into_iter().last().map(|event| event.id).or(last);
        if done {
            break;
        }
    }
    Ok(last)
}
