//! The ends of tasks that many wait for, heard through one subscription a queue.
//!
//! Whoever waits says for which tasks, and is told which of them to look at. The first who waits
//! in a queue has it subscribed to; some seconds after the last has gone the subscription ends.
//! What counts is what the broker then says of a task, so being told too often does no harm.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{QueueName, TaskId};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::broker::{Broker, Signal, Topic};

/// How long a subscription stands that nobody needs: who asks again and again finds it there.
const KEPT: Duration = Duration::from_secs(5);

/// All queues in which somebody waits.
#[derive(Default)]
pub(super) struct Ends(Mutex<HashMap<QueueName, Line>>);

/// One queue.
#[derive(Default)]
struct Line {
    /// Whether the subscription stands.
    stands: bool,
    /// By task, at most one entry for each who waits.
    waiting: HashMap<TaskId, Vec<Arc<Waiter>>>,
    /// When the last one left.
    left_at: Option<Instant>,
}

/// One who waits for some tasks.
#[derive(Default)]
struct Waiter {
    told: Mutex<Told>,
    rung: Notify,
}

/// What somebody who waits is to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// All of their tasks: what happened until now was not heard.
    pub(super) all: bool,
    /// These of their tasks.
    pub(super) these: HashSet<TaskId>,
    /// No more is heard.
    pub(super) is_over: bool,
}

impl Waiter {
    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told.lock());
        self.rung.notify_one();
    }
}

/// A place among those who wait. Dropping it gives it up.
pub(super) struct Place {
    ends: Arc<Ends>,
    queue: QueueName,
    ids: Vec<TaskId>,
    waiter: Arc<Waiter>,
}

impl Place {
    /// Wait for something to look at.
    pub(super) async fn told(&self) -> Told {
        loop {
            {
                let mut told = self.waiter.told.lock();
                if *told != Told::default() {
                    let is_over = told.is_over;
                    return std::mem::replace(&mut told, Told { is_over, ..Told::default() });
                }
            }
            self.waiter.rung.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.ends.0.lock();
        let Some(line) = lines.get_mut(&self.queue) else { return };
        for id in &self.ids {
            if let Some(waiters) = line.waiting.get_mut(id) {
                waiters.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
                if waiters.is_empty() {
                    line.waiting.remove(id);
                }
            }
        }
        if line.waiting.is_empty() {
            line.left_at = Some(Instant::now());
        }
    }
}

impl Ends {
    /// Wait for the ends of tasks of a queue.
    pub(super) fn wait(
        self: &Arc<Self>,
        broker: &Arc<dyn Broker>,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Place {
        let waiter = Arc::<Waiter>::default();
        let mut lines = self.0.lock();
        let line = lines.entry(queue.clone()).or_insert_with(|| {
            let signals = broker.subscribe(Topic::Done, vec![queue.clone()]);
            let listening = Listening { ends: self.clone(), queue: queue.clone(), is_done: false };
            tokio::spawn(listening.listen(signals));
            Line::default()
        });
        line.left_at = None;
        for id in ids {
            line.waiting.entry(*id).or_default().push(waiter.clone());
        }
        if line.stands {
            waiter.tell(|told| told.all = true);
        }
        Place { ends: self.clone(), queue: queue.clone(), ids: ids.to_vec(), waiter }
    }
}

/// The listener of one queue. However it ends, nobody waits for it any longer.
struct Listening {
    ends: Arc<Ends>,
    queue: QueueName,
    is_done: bool,
}

impl Listening {
    async fn listen(mut self, mut signals: mpsc::Receiver<Signal>) {
        loop {
            match tokio::time::timeout(KEPT, signals.recv()).await {
                Ok(Some(signal)) => self.pass_on(&signal),
                Ok(None) => return,
                Err(_) => {}
            }
            let mut lines = self.ends.0.lock();
            let left_at = lines.get(&self.queue).and_then(|line| line.left_at);
            if left_at.is_some_and(|at| at.elapsed() >= KEPT) {
                lines.remove(&self.queue);
                // A line that comes now is another listener's.
                self.is_done = true;
                return;
            }
        }
    }

    fn pass_on(&self, signal: &Signal) {
        let mut lines = self.ends.0.lock();
        let Some(line) = lines.get_mut(&self.queue) else { return };
        match signal {
            Signal::Connected => {
                line.stands = true;
                line.waiting.values().flatten().for_each(|one| one.tell(|told| told.all = true));
            }
            Signal::Task(_, id) => {
                for one in line.waiting.get(id).into_iter().flatten() {
                    one.tell(|told| told.these.extend([*id]));
                }
            }
            Signal::Rescan | Signal::Schedules | Signal::Documents(_) => {}
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let line = self.ends.0.lock().remove(&self.queue);
        for one in line.iter().flat_map(|line| line.waiting.values().flatten()) {
            one.tell(|told| told.is_over = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EmbeddedBroker;

    #[tokio::test]
    async fn many_who_wait_share_one_listener_and_the_last_ends_it() {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let (ends, queue) = (Arc::<Ends>::default(), QueueName::default());
        let ids: Vec<TaskId> = (0..3).map(|n| TaskId(uuid::Uuid::from_u128(n))).collect();
        let first = ends.wait(&broker, &queue, &ids[..2]);
        assert!(first.told().await.all, "nothing was heard until now");
        let second = ends.wait(&broker, &queue, &ids[1..]);
        assert!(second.told().await.all);
        let listening = Listening { ends: ends.clone(), queue: queue.clone(), is_done: false };
        listening.pass_on(&Signal::Task(queue.clone(), ids[0]));
        listening.pass_on(&Signal::Task(queue.clone(), ids[1]));
        let these = |of: &[TaskId]| Told { these: of.iter().copied().collect(), ..Told::default() };
        assert_eq!(first.told().await, these(&ids[..2]));
        assert_eq!(second.told().await, these(&ids[1..2]));
        drop(first);
        assert_eq!(ends.0.lock()[&queue].waiting.len(), 2);
        // A listener that ends tells all who still wait.
        drop(listening);
        assert!(second.told().await.is_over);
        assert!(ends.0.lock().is_empty());
        drop(second);
        let third = ends.wait(&broker, &queue, &ids[..1]);
        third.told().await;
        drop(third);
        let gone = async {
            while !ends.0.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("nobody needs it");
    }
}
