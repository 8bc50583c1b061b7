//! The embedded broker: the state machine behind a lock, in memory or with a file.
//!
//! One process, no server. Every operation is one call of [`machine::Machine`]; with a file,
//! its answer is released when what it changed is on disk, and so is every look at it. It
//! keeps the same contract as the Redis broker; `docs/embedded.md` says what differs in
//! keeping it.

mod archive;
mod broker;
mod clock;
mod file;
mod hosts;
pub mod machine;
mod signals;
mod store;
mod wake;

use std::path::Path;

use bulkhead_core::QueueName;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::clock::Clock;
use self::file::RowFile;
use self::hosts::Hosts;
use self::machine::{Machine, Note};
use self::signals::Signals;
use self::store::Store;
use self::wake::Wake;
use crate::broker::{Signal, Topic};
use crate::error::QueueError;

/// Tasks in this process: in memory, or in a file as well.
pub struct EmbeddedBroker {
    machine: Mutex<Machine>,
    clock: Clock,
    store: Option<Store>,
    wake: Wake,
    signals: Signals,
    hosts: Hosts,
    /// Changes whenever some queue has new lifecycle events.
    news: watch::Sender<()>,
    /// Whether tasks that are lost with the process are nothing to warn of.
    accepts_loss: bool,
}

impl EmbeddedBroker {
    /// Tasks in memory: they are lost when the process ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::in_memory_at(Clock::system())
    }

    /// That tasks are lost with the process is meant so: `check` does not warn of it.
    #[must_use]
    pub fn accepting_loss(self) -> Self {
        Self { accepts_loss: true, ..self }
    }

    /// Tasks in memory, by this clock.
    #[must_use]
    pub fn in_memory_at(clock: Clock) -> Self {
        Self::new(Machine::new(), None, clock)
    }

    /// Tasks in the file `queue.redb` of a folder, which is made if there is none. All tasks
    /// are read before this returns, which takes some microseconds each, so call it where
    /// blocking does no harm.
    ///
    /// Only one process can have a folder open: [`QueueError::InUse`] says that another has.
    /// No lease of an earlier process is alive, so all are taken back at once, and their
    /// attempts count.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, QueueError> {
        Self::open_at(folder, Clock::system())
    }

    /// As [`EmbeddedBroker::open`], by this clock.
    pub fn open_at(folder: impl AsRef<Path>, clock: Clock) -> Result<Self, QueueError> {
        let (file, mut machine) = RowFile::open(folder.as_ref())?;
        machine.keep_journal();
        let broker = Self::new(machine, Some(Store::start(file)?), clock);
        let reclaimed = broker.change(Machine::reclaim_all).0;
        if reclaimed > 0 {
            tracing::info!(leases = reclaimed, "took back what an earlier process held");
        }
        Ok(broker)
    }

    fn new(machine: Machine, store: Option<Store>, clock: Clock) -> Self {
        Self {
            machine: Mutex::new(machine),
            clock,
            store,
            wake: Wake::default(),
            signals: Signals::new(),
            hosts: Hosts::default(),
            news: watch::Sender::new(()),
            accepts_loss: false,
        }
    }

    /// Call the machine, and tell whom it concerns. Returns the ticket of the last change.
    fn change<T>(&self, act: impl FnOnce(&mut Machine, u64) -> T) -> (T, u64) {
        let mut machine = self.machine.lock();
        let answer = act(&mut machine, self.clock.now_us());
        let notes = machine.take_notes();
        let rows = machine.take_rows();
        // Within the lock, so that rows reach the file in the order of the changes.
        let ticket = self.store.as_ref().map_or(0, |store| store.push(rows));
        drop(machine);
        for note in notes {
            self.tell(note);
        }
        (answer, ticket)
    }

    /// Call the machine and wait until what it changed, or showed, is on disk.
    async fn call<T>(&self, act: impl FnOnce(&mut Machine, u64) -> T) -> Result<T, QueueError> {
        let Some(store) = &self.store else { return Ok(self.change(act).0) };
        store.admit().await?;
        let (answer, ticket) = self.change(act);
        store.written(ticket).await?;
        Ok(answer)
    }

    fn tell(&self, note: Note) {
        match note {
            Note::Work(queue, task_type, tenant) => self.wake.mark(queue, task_type, tenant),
            Note::Done(queue, id) => {
                self.signals.send(Topic::Done, Signal::Task(queue, id));
            }
            Note::Cancel(queue, id) => {
                self.signals.send(Topic::Cancel, Signal::Task(queue, id));
            }
            Note::Events(_) => {
                self.news.send_replace(());
            }
        }
    }

    /// Tell hosts that schedules have changed, if they have.
    fn tell_of_schedules(&self, changed: bool) -> bool {
        if changed {
            self.signals.send(Topic::Rescan, Signal::Schedules);
        }
        changed
    }

    /// Every row of the machine, sorted: what two brokers with the same tasks share.
    #[must_use]
    pub fn rows(&self) -> Vec<machine::Row> {
        let mut rows = self.machine.lock().rows();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    /// The most tasks that a purge may find, so that it ends while tasks are submitted.
    fn depth(&self, queue: &QueueName) -> u64 {
        let stats = self.machine.lock().stats(queue, self.clock.now_us());
        stats.pending.max(stats.scheduled).max(stats.failed).max(stats.blocked)
    }
}
