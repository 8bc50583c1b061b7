//! Firing schedules: the host looks what is due, computes what follows, and tells the
//! queue.
//!
//! Every host does so for the queues it serves and none leads: the queue takes each fire
//! once, whoever computed it. Time is the broker's; this only sleeps in between.

mod define;
mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{QueueName, UnixMs};
use bulkhead_queue::{Broker, FireAnswer, QueueError};
use tokio::sync::watch;

pub(crate) use define::{check, define};
use plan::plan;

/// The longest sleep: schedules that others define are seen after this.
const LOOK: Duration = Duration::from_secs(5);
/// Schedules of one look; what is due beyond that is found by the next one, at once.
const LIMIT: usize = 1_000;
/// The shortest pause after a look that failed; it doubles up to [`LOOK`].
const PAUSE: Duration = Duration::from_millis(100);

/// Tells a host that the schedules have changed, so that it looks at once.
#[derive(Debug, Clone)]
pub struct ScheduleBell(Arc<watch::Sender<()>>);

impl ScheduleBell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(()).0))
    }

    /// Look now. Without it a change is seen within 5 seconds.
    pub fn ring(&self) {
        self.0.send_replace(());
    }
}

/// Fire one queue's schedules until aborted.
pub(crate) async fn follow(broker: Arc<dyn Broker>, queue: QueueName, bell: ScheduleBell) {
    let mut rung = bell.0.subscribe();
    let mut scheduler = Scheduler { broker, queue, stopped: BTreeSet::new() };
    let mut pause = Duration::ZERO;
    loop {
        rung.mark_unchanged();
        let sleep = match scheduler.look().await {
            Ok(sleep) => {
                pause = Duration::ZERO;
                sleep
            }
            Err(error) => {
                scheduler.complain(&error, pause.is_zero());
                pause = (pause * 2).clamp(PAUSE, LOOK);
                pause
            }
        };
        tokio::select! {
            _ = rung.changed() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// One queue's schedules.
struct Scheduler {
    broker: Arc<dyn Broker>,
    queue: QueueName,
    /// Schedules that were due and could not be computed, at most [`LIMIT`]: each is told
    /// of once.
    stopped: BTreeSet<String>,
}

impl Scheduler {
    /// Fire what is due; how long until there is something to do again.
    async fn look(&mut self) -> Result<Duration, QueueError> {
        let looked = Instant::now();
        let found = self.broker.due_schedules(&self.queue, LIMIT).await?;
        let mut soonest = found.next;
        let mut stopped = BTreeSet::new();
        for view in found.due.iter().filter(|view| !view.paused) {
            let name = &view.schedule.name;
            match plan(&self.queue, view, found.now) {
                Ok(fire) => {
                    soonest = soonest.into_iter().chain(fire.next).min();
                    let answer = self.broker.fire(&self.queue, &fire).await?;
                    self.narrate(name, fire.fires.len(), answer);
                }
                Err(error) => {
                    if !self.stopped.contains(name) {
                        tracing::error!(queue = %self.queue, schedule = %name, %error,
                            "the schedule cannot be followed; define it anew");
                    }
                    stopped.insert(name.clone());
                }
            }
        }
        self.stopped = stopped;
        Ok(until(soonest, found.now).saturating_sub(looked.elapsed()))
    }

    fn narrate(&self, name: &str, fires: usize, answer: FireAnswer) {
        match answer {
            FireAnswer::Fired(new) => {
                tracing::debug!(queue = %self.queue, schedule = name, fires, new, "fired");
            }
            FireAnswer::Overlapping => {
                tracing::debug!(queue = %self.queue, schedule = name,
                    "skipped: the previous fire's task has not ended");
            }
            // Another host was first, or somebody changed it: the next look tells.
            FireAnswer::Superseded | FireAnswer::Unknown => {
                tracing::trace!(queue = %self.queue, schedule = name, ?answer, "not fired");
            }
        }
    }

    fn complain(&self, error: &QueueError, first: bool) {
        // A broker that is away is told of by the queue's own loop.
        if first && !error.is_unavailable() {
            tracing::warn!(queue = %self.queue, %error, "cannot look for due schedules");
        } else {
            tracing::debug!(queue = %self.queue, %error, "cannot look for due schedules");
        }
    }
}

/// How long until the next fire, by the clock that `now` was read from.
fn until(next: Option<UnixMs>, now: UnixMs) -> Duration {
    next.map_or(LOOK, |at| Duration::from_millis(at.saturating_sub(now)).min(LOOK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_ends_at_the_next_fire_and_is_bounded() {
        assert_eq!(until(None, 1_000), LOOK);
        assert_eq!(until(Some(900), 1_000), Duration::ZERO);
        assert_eq!(until(Some(1_250), 1_000), Duration::from_millis(250));
        assert_eq!(until(Some(UnixMs::MAX), 1_000), LOOK);
    }

    #[tokio::test]
    async fn a_ring_before_the_sleep_is_not_lost() {
        let bell = ScheduleBell::new();
        let mut rung = bell.0.subscribe();
        bell.clone().ring();
        assert!(rung.changed().await.is_ok());
    }
}
