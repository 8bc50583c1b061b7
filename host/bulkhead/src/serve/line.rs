//! One queue as this host serves it: the loop that claims, renews and settles.
//!
//! A step carries whatever there is to say. It is taken when settlements are ripe, when
//! a wake-up says that there is work and there is room for it, and when time alone
//! demands it. Permits are taken before tasks are claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use bulkhead_core::{RetryPolicy, RetryRequest};
use bulkhead_queue::{QueueError, Serves, Step, Stepped};
use bulkhead_sandbox::Unavailable;
use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;

use super::attempt;
use super::carry::Outbox;
use super::holds::Holds;
use super::ledger::{Glance, Interrupt, Ledger};
use super::progress::Words;
use super::recover::Doubt;
use super::shared::Shared;
use super::shelf::Shelved;
use super::windows::Windows;
use crate::metrics::QueueFigures;
use crate::options::QueueOptions;
use crate::shutdown::Shutdown;

/// Claims of one step; settlements, with the tasks that they submit.
const BATCH: usize = 500;
/// Bytes of ends that one step takes along, if there are several: what a step carries, every
/// other task of the queue waits for.
const STEP_BYTES: u64 = 4 << 20;
/// How long a settlement waits for company while other attempts run.
const LINGER: Duration = Duration::from_millis(1);
/// How often leases of other hosts are looked at while there is work.
const RECLAIM_EVERY: Duration = Duration::from_millis(500);
/// The longest sleep of an idle line.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// The pauses between tries while the broker is away.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long a stopping host tries to tell the broker what ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// One queue of one host.
pub(crate) struct Line {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: QueueOptions,
    pub(crate) ledger: Ledger,
    pub(crate) figures: Arc<QueueFigures>,
    pub(super) words: Words,
    pub(super) outbox: Outbox,
    /// Types of which nothing is claimed for a while.
    pub(super) holds: Holds,
    /// Whether the line wants to be woken.
    pub(crate) waiting: AtomicBool,
    /// Whether somebody said that there is work.
    woken: AtomicBool,
    stumbled: Mutex<Option<Instant>>,
    /// The queue's own policy, for the many tasks of which nobody asks for another.
    retry: Arc<RetryPolicy>,
}

/// What the loop remembers between steps.
struct Pace {
    /// The last claim was full, or a wake-up came: more work is likely.
    more: bool,
    hungry: bool,
    next_look: Instant,
    next_renewal: Instant,
    next_reclaim: Instant,
    pause: Duration,
    windows: Windows,
    /// Claims may have been lost with an answer.
    doubt: Option<Doubt>,
}

impl Line {
    pub(crate) fn new(shared: Arc<Shared>, queue: QueueOptions) -> Self {
        Self {
            figures: shared.metrics.queue(&queue.name),
            shared,
            retry: Arc::new(queue.retry.clone()),
            queue,
            ledger: Ledger::default(),
            words: Words::default(),
            outbox: Outbox::default(),
            holds: Holds::default(),
            waiting: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            stumbled: Mutex::new(None),
        }
    }

    /// Say that there may be work.
    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.ledger.bell.notify_one();
    }

    /// The retry policy of a task, by what its handler suggests and its producer asks.
    pub(super) fn retry(
        &self,
        suggested: Option<&RetryRequest>,
        asked: Option<&RetryRequest>,
    ) -> Arc<RetryPolicy> {
        let request = match (suggested, asked) {
            (None, None) => return self.retry.clone(),
            (Some(suggested), Some(asked)) => &asked.clone().or(suggested),
            (one, None) | (None, one) => &one.cloned().unwrap_or_default(),
        };
        Arc::new(self.retry.with(request))
    }

    /// The sandbox could not run an attempt: claim nothing for a moment.
    pub(super) fn stumble(&self, unavailable: &Unavailable) {
        tracing::warn!(queue = %self.queue.name, error = %unavailable, "cannot run attempts");
        *self.stumbled.lock() = Some(attempt::after_stumble());
    }

    /// Serve until shutdown; attempts run on `guests`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        guests: Runtime,
        mut shutdown: Shutdown,
        grace: Duration,
    ) {
        let mut changes = self.shared.registry.changes();
        let now = Instant::now();
        let mut pace = Pace {
            more: true,
            hungry: false,
            next_look: now,
            next_renewal: now + self.shared.lease / 3,
            next_reclaim: now,
            pause: Duration::ZERO,
            windows: Windows::default(),
            doubt: None,
        };
        while !shutdown.is_draining() {
            if self.due(&pace) {
                self.tick(&guests, &mut pace, true).await;
                continue;
            }
            let wake_at = self.wake_at(&pace);
            tokio::select! {
                biased;
                () = shutdown.drained() => {}
                () = self.ledger.bell.notified() => {}
                _ = changes.changed() => pace.more = true,
                () = self.shared.room.rung(|| self.has_room(&self.ledger.glance())),
                    if self.starves(&pace) => {}
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
        }
        self.set_hungry(&mut pace, false);
        self.drain(&guests, pace, shutdown, grace).await;
    }

    /// Whether a step is worth taking now.
    fn due(&self, pace: &Pace) -> bool {
        let now = Instant::now();
        let glance = self.ledger.glance();
        let ripe = glance.ended > 0
            && (glance.ripe
                || glance.ended >= BATCH
                || glance.waiting_since.is_some_and(|since| now >= since + LINGER));
        let wanted = (pace.more || self.woken.load(Ordering::Acquire)) && self.has_room(&glance);
        let said = self.words.due_at(now).is_some_and(|at| now >= at);
        let freed = self.holds.next().is_some_and(|at| now >= at);
        ripe || wanted || said || freed || now >= pace.next_look || now >= pace.next_renewal
    }

    /// Whether the line has work to claim and no room for it, and no end of its own may tell
    /// it of some: other lines hold all permits, or the host's memory is what it lacks.
    fn starves(&self, pace: &Pace) -> bool {
        let glance = self.ledger.glance();
        let by_itself = glance.running == 0 && glance.ended == 0;
        (pace.more || self.woken.load(Ordering::Acquire))
            && (by_itself || self.admits() == 0 || !self.shared.shelf.has_room() || self.refuses())
            && self.stumbled.lock().is_none()
    }

    fn has_room(&self, glance: &Glance) -> bool {
        let held = u32::try_from(glance.running).unwrap_or(u32::MAX);
        self.shared.permits.room(held) > 0
            && self.shared.shelf.has_room()
            && self.admits() > 0
            && glance.running + glance.ended < self.shared.settlement_buffer
            && !self.refuses()
            && self.stumbled.lock().is_none()
    }

    /// Whether the host takes on no more work.
    fn refuses(&self) -> bool {
        self.shared.refuses.load(Ordering::Acquire)
    }

    /// How many more attempts there is memory for, if all were of the plugin that needs most.
    /// Claiming more would only keep tasks from other hosts.
    fn admits(&self) -> u32 {
        self.shared.budget.fits(self.shared.registry.table().most_bytes())
    }

    fn wake_at(&self, pace: &Pace) -> Instant {
        let glance = self.ledger.glance();
        let linger = glance.waiting_since.filter(|_| glance.ended > 0).map(|since| since + LINGER);
        [linger, *self.stumbled.lock(), self.words.due_at(Instant::now()), self.holds.next()]
            .into_iter()
            .flatten()
            .fold(pace.next_look.min(pace.next_renewal), Instant::min)
    }

    /// Take one step and start what it claimed.
    async fn tick(self: &Arc<Self>, guests: &Runtime, pace: &mut Pace, claim: bool) {
        let now = Instant::now();
        {
            let mut stumbled = self.stumbled.lock();
            if stumbled.is_some_and(|until| now >= until) {
                *stumbled = None;
            }
        }
        let (settle, kept) = self.ledger.take_ended(BATCH, STEP_BYTES);
        let progress = self.words.take(now);
        let renew = if now >= pace.next_renewal {
            self.ledger.running_tokens(BATCH * 4)
        } else {
            Vec::new()
        };
        let freed = self.holds.release(now);
        let woken = self.woken.swap(false, Ordering::AcqRel) || freed;
        let table = Guard::into_inner(self.shared.registry.table());
        let (serves, room) = table.claimable();
        let serves = self.holds.without(serves);
        let room = Self::most(&serves, room);
        let window = pace.windows.of(&serves);
        let claims = claim && self.stumbled.lock().is_none() && !self.refuses();
        let shelved = if claims { self.shared.shelf.take() } else { None };
        let want = shelved.as_ref().map_or(0, |_| self.permits_for(room));
        let reclaim = now >= pace.next_reclaim || now >= pace.next_look;
        let step = Step {
            host: &self.shared.holder,
            settle: &settle,
            renew: &renew,
            progress: &progress,
            want,
            claim_bytes: shelved.as_ref().map_or(0, Shelved::bytes),
            apart: true,
            serves: &window,
            lease: self.shared.lease,
            reclaim,
            dead_retention_ms: self.queue.dead_retention_ms,
        };
        match self.shared.broker.step(&self.queue.name, step).await {
            Ok(stepped) => {
                if !pace.pause.is_zero() {
                    tracing::info!(queue = %self.queue.name, "the broker is back");
                    self.figures.broker_away.set(0);
                    pace.pause = Duration::ZERO;
                }
                let claimed = stepped.claims.len() + stepped.apart.len();
                let claimed = u32::try_from(claimed).unwrap_or(u32::MAX);
                self.shared.permits.give_back(want.saturating_sub(claimed));
                if !renew.is_empty() || now >= pace.next_renewal {
                    self.note_margin(pace, &renew);
                    pace.next_renewal = now + self.shared.lease / 3;
                }
                if reclaim {
                    pace.next_reclaim = now + RECLAIM_EVERY;
                }
                // Room for more and nothing more there: ask to be woken.
                // What stayed in line for its bytes is there at once.
                let at_once = stepped.next_due == Some(Duration::ZERO);
                let short = claimed < want && !at_once;
                let drained = want > 0 && pace.windows.have_drained(short, serves.len());
                pace.more = !serves.is_empty()
                    && (want > 0 && !drained || want == 0 && (pace.more || woken));
                self.set_hungry(pace, pace.more);
                let sleep = stepped.next_due.unwrap_or(IDLE_LOOK).min(IDLE_LOOK);
                // Leases and due times are whole milliseconds; look just after.
                pace.next_look = Instant::now() + sleep + Duration::from_millis(1);
                if drained && !self.waiting.swap(true, Ordering::AcqRel) {
                    self.shared.hunger.notify_one();
                }
                let tallies = kept.into_iter().map(|kept| kept.tally);
                self.figures.settled(settle.iter().zip(tallies), &stepped.stale);
                self.apply(guests, stepped, &settle, &renew, shelved);
                self.recover(claim.then_some(guests), &mut pace.doubt).await;
            }
            Err(error) => {
                self.shared.permits.give_back(want);
                self.ledger.put_back(settle, kept);
                self.words.put_back(progress);
                self.doubt(&mut pace.doubt, want, shelved);
                if woken {
                    self.woken.store(true, Ordering::Release);
                }
                self.broker_away(pace, &error).await;
            }
        }
    }

    /// Leases were renewed: how much of them was left.
    fn note_margin(&self, pace: &Pace, renewed: &[bulkhead_queue::ClaimToken]) {
        if renewed.is_empty() {
            return;
        }
        // The oldest of them were renewed a third of a lease before this was due.
        let ends = pace.next_renewal + self.shared.lease - self.shared.lease / 3;
        let left = ends.saturating_duration_since(Instant::now());
        self.figures.lease_margin.observe(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    }

    async fn broker_away(&self, pace: &mut Pace, error: &QueueError) {
        if pace.pause.is_zero() {
            tracing::warn!(queue = %self.queue.name, %error,
                "the broker is away; attempts go on and their ends are kept");
        }
        self.figures.broker_away.set(1);
        pace.pause = (pace.pause * 2).clamp(RETRY_PAUSE.0, RETRY_PAUSE.1);
        tokio::time::sleep(pace.pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }

    /// How many tasks this host may claim now, of what [`crate::plugins::Table::claimable`] gave.
    fn most(serves: &[Serves], room: Option<u32>) -> u32 {
        let most = u32::try_from(BATCH).unwrap_or(u32::MAX);
        if serves.is_empty() { 0 } else { most.min(room.unwrap_or(most)) }
    }

    /// Take permits for new claims, within the settlement buffer's bound.
    fn permits_for(&self, room: u32) -> u32 {
        let glance = self.ledger.glance();
        let unsettled = glance.running + glance.ended;
        let buffer = self.shared.settlement_buffer.saturating_sub(unsettled);
        let held = u32::try_from(glance.running).unwrap_or(u32::MAX);
        let room = room.min(u32::try_from(buffer).unwrap_or(u32::MAX)).min(self.admits());
        self.shared.permits.take(room, held)
    }

    fn set_hungry(&self, pace: &mut Pace, hungry: bool) {
        self.shared.permits.set_hungry(pace.hungry, hungry);
        pace.hungry = hungry;
    }

    fn apply(
        self: &Arc<Self>,
        guests: &Runtime,
        stepped: Stepped,
        settle: &[bulkhead_queue::Settlement],
        renew: &[bulkhead_queue::ClaimToken],
        shelved: Option<Shelved>,
    ) {
        if !stepped.stale.is_empty() {
            tracing::warn!(queue = %self.queue.name, stale = stepped.stale.len(), of = settle.len(),
                "attempts ended after their lease was another's; their ends do not count");
        }
        for token in stepped.lost.iter().filter_map(|at| renew.get(*at)) {
            self.ledger.interrupt_token(token, Interrupt::Lost);
        }
        for id in stepped.cancel {
            self.ledger.interrupt(id, Interrupt::Cancelled);
        }
        if stepped.reclaimed > 0 {
            self.figures.reclaimed.add(stepped.reclaimed);
            tracing::info!(queue = %self.queue.name, leases = stepped.reclaimed,
                "took back leases that ran out");
        }
        if stepped.outbox {
            self.outbox.ring();
        }
        let Stepped { claims, apart, .. } = stepped;
        let Some(records) = shelved.filter(|_| !claims.is_empty() || !apart.is_empty()) else {
            return;
        };
        attempt::start(self, guests, claims, apart, records);
    }

    /// Let attempts finish, give back what does not, tell the broker.
    async fn drain(
        self: Arc<Self>,
        guests: &Runtime,
        mut pace: Pace,
        mut shutdown: Shutdown,
        grace: Duration,
    ) {
        let mut deadline = Instant::now() + grace;
        let mut interrupted = false;
        loop {
            let glance = self.ledger.glance();
            if glance.running == 0 && glance.ended == 0 {
                self.recover(None, &mut pace.doubt).await;
                pace.doubt = None;
                if self.ledger.glance().ended == 0 {
                    return;
                }
                continue;
            }
            if glance.running == 0 && !interrupted {
                interrupted = true;
                deadline = Instant::now();
            }
            if interrupted && Instant::now() > deadline + LAST_WORDS {
                tracing::error!(queue = %self.queue.name, unsettled = glance.ended,
                    "the broker did not take the last settlements; their leases will run out");
                return;
            }
            if glance.ended > 0 || Instant::now() >= pace.next_renewal {
                self.tick(guests, &mut pace, false).await;
                continue;
            }
            tokio::select! {
                () = self.ledger.bell.notified() => {}
                () = tokio::time::sleep_until(pace.next_renewal.into()) => {}
                () = shutdown.forced(), if !interrupted => {
                    interrupted = true;
                    deadline = Instant::now();
                    self.ledger.interrupt_all(Interrupt::Stopping);
                }
                () = tokio::time::sleep_until(deadline.into()), if !interrupted => {
                    interrupted = true;
                    tracing::warn!(queue = %self.queue.name, attempts = glance.running,
                        "the grace period is over; giving back what still runs");
                    self.ledger.interrupt_all(Interrupt::Stopping);
                }
            }
        }
    }
}
