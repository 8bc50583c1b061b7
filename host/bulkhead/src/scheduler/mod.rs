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

use bulkhead_core::{QueueName, TimingError, UnixMs};
use bulkhead_queue::{Broker, FireAnswer, QueueError, ScheduleView};
use tokio::sync::watch;

pub(crate) use define::{check, define};
use plan::plan;

use crate::metrics::{Histogram, Metrics};

/// The longest sleep, should a message about a changed schedule be lost.
const LOOK: Duration = Duration::from_secs(5);
/// Schedules of one look; what is due beyond that is found by the next one, at once.
const LIMIT: usize = 1_000;
/// The shortest pause after a look that failed; it doubles up to [`LOOK`].
const PAUSE: Duration = Duration::from_millis(100);

/// Tells the loops of a host that schedules have changed, so that they look at once.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleBell(Arc<watch::Sender<()>>);

impl ScheduleBell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(()).0))
    }

    /// Hear it ring from now on.
    pub(crate) fn heard(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }

    /// Look now.
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }
}

/// Fire one queue's schedules until aborted.
pub(crate) async fn follow(
    broker: Arc<dyn Broker>,
    queue: QueueName,
    bell: ScheduleBell,
    metrics: Metrics,
) {
    let mut rung = bell.heard();
    let lag = metrics.families().schedule_lag.of(&[queue.as_str()]);
    let mut scheduler = Scheduler { broker, queue, stopped: BTreeSet::new(), lag };
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

/// Why a schedule that is due was not fired.
#[derive(Debug, thiserror::Error)]
enum Hitch {
    #[error(transparent)]
    Timing(#[from] TimingError),
    #[error(transparent)]
    Broker(#[from] QueueError),
}

/// One queue's schedules.
struct Scheduler {
    broker: Arc<dyn Broker>,
    queue: QueueName,
    /// Schedules that were due and could not be fired, at most [`LIMIT`]: each is told
    /// of once.
    stopped: BTreeSet<String>,
    lag: Arc<Histogram>,
}

impl Scheduler {
    /// Fire what is due; how long until there is something to do again.
    async fn look(&mut self) -> Result<Duration, QueueError> {
        let looked = Instant::now();
        let found = self.broker.due_schedules(&self.queue, LIMIT).await?;
        let mut soonest = found.next;
        if found.due.len() == LIMIT {
            soonest = Some(found.now);
        }
        let mut stopped = BTreeSet::new();
        for view in found.due.iter().filter(|view| !view.paused) {
            let name = &view.schedule.name;
            match self.fire(view, found.now).await {
                Ok(next) => soonest = soonest.into_iter().chain(next).min(),
                Err(Hitch::Broker(error)) if error.is_unavailable() => return Err(error),
                // One that cannot be followed does not hold up the others.
                Err(hitch) => {
                    if !self.stopped.contains(name) {
                        tracing::error!(queue = %self.queue, schedule = %name, reason = %hitch,
                            "the schedule cannot be followed; define it anew");
                    }
                    stopped.insert(name.clone());
                }
            }
        }
        self.stopped = stopped;
        Ok(until(soonest, found.now).saturating_sub(looked.elapsed()))
    }

    /// Fire one schedule; its next fire after that.
    async fn fire(&self, view: &ScheduleView, now: UnixMs) -> Result<Option<UnixMs>, Hitch> {
        let (queue, schedule) = (&self.queue, &view.schedule.name);
        let fire = plan(queue, view, now)?;
        let fires = fire.fires.len();
        let answer = self.broker.fire(queue, &fire).await?;
        if let (FireAnswer::Fired(_), Some(due)) = (&answer, view.next) {
            self.lag.observe(now.saturating_sub(due));
        }
        match answer {
            FireAnswer::Fired(new) if (new as usize) < fires => {
                tracing::info!(%queue, schedule, fires, new,
                    "fired; some tasks were there already or over their tenant's quota");
            }
            FireAnswer::Fired(_) => tracing::debug!(%queue, schedule, fires, "fired"),
            FireAnswer::Overlapping => {
                tracing::debug!(%queue, schedule,
                    "skipped: the previous fire's task has not ended");
            }
            // Another host was first, or somebody changed it: the next look tells.
            answer @ (FireAnswer::Superseded | FireAnswer::Unknown) => {
                tracing::trace!(%queue, schedule, ?answer, "not fired");
            }
        }
        Ok(fire.next)
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
        let mut rung = bell.heard();
        bell.clone().ring();
        assert!(rung.changed().await.is_ok());
    }
}
