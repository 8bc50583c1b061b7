//! What one queue's attempts are doing: the running ones and the ended ones that the
//! broker has not been told of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use bulkhead_core::TaskId;
use bulkhead_queue::{Claim, ClaimToken, Settlement};
use bulkhead_sandbox::{Cancel, Hold, SETTLING_COPIES};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::Tally;

/// Why an attempt is being interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Interrupt {
    /// Nobody interrupted it.
    None,
    /// Somebody cancelled the task.
    Cancelled,
    /// Its lease is another's now: its end will not count.
    Lost,
    /// The host stops: the task goes back.
    Stopping,
}

/// The handle on one running attempt.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) cancel: Cancel,
    why: Arc<AtomicU8>,
}

impl Handle {
    fn new() -> Self {
        Self { cancel: Cancel::new(), why: Arc::new(AtomicU8::new(Interrupt::None as u8)) }
    }

    /// Interrupt the attempt. The first reason stays.
    fn interrupt(&self, why: Interrupt) {
        let none = Interrupt::None as u8;
        let _ = self.why.compare_exchange(none, why as u8, Ordering::AcqRel, Ordering::Acquire);
        self.cancel.cancel();
    }

    /// Why the attempt was interrupted.
    pub(crate) fn why(&self) -> Interrupt {
        const REASONS: [Interrupt; 4] =
            [Interrupt::None, Interrupt::Cancelled, Interrupt::Lost, Interrupt::Stopping];
        REASONS[usize::from(self.why.load(Ordering::Acquire)) % REASONS.len()]
    }
}

struct Running {
    token: ClaimToken,
    handle: Handle,
}

/// What is kept beside a claim's end until the broker knows of it.
#[derive(Default)]
pub(crate) struct Kept {
    /// What it holds of the host's memory.
    pub(crate) hold: Option<Hold>,
    /// What is to be counted of it.
    pub(crate) tally: Tally,
}

/// A claim's end.
type Ended = (Settlement, Kept);

#[derive(Default)]
struct Books {
    running: HashMap<TaskId, Running>,
    ended: Vec<Ended>,
    /// When the oldest of `ended` came.
    waiting_since: Option<Instant>,
    /// The running count at which the waiting settlements are worth a call.
    flush_at: usize,
}

/// The books of one queue.
#[derive(Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    /// Rung when the driver has something to do.
    pub(crate) bell: Notify,
}

/// The ledger at a glance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) running: usize,
    pub(crate) ended: usize,
    pub(crate) waiting_since: Option<Instant>,
    /// Whether the ended ones are worth a call now.
    pub(crate) ripe: bool,
}

impl Ledger {
    /// Enter new claims; the handles by which they can be interrupted, in order.
    pub(crate) fn begin<'a>(
        &self,
        claims: impl Iterator<Item = (TaskId, &'a ClaimToken)>,
    ) -> Vec<Handle> {
        let mut books = self.books.lock();
        let handles = claims
            .map(|(id, token)| {
                let handle = Handle::new();
                let running = Running { token: token.clone(), handle: handle.clone() };
                books.running.insert(id, running);
                handle
            })
            .collect();
        // Half of what runs is the batch: the other half keeps the guests busy during
        // the call.
        books.flush_at = books.running.len() / 2;
        handles
    }

    /// Enter an attempt's end.
    pub(crate) fn end(&self, id: TaskId, token: &ClaimToken, ended: Option<Ended>) {
        let mut books = self.books.lock();
        // A task may have been claimed anew by this host after its lease was lost.
        if books.running.get(&id).is_some_and(|r| r.token == *token) {
            books.running.remove(&id);
        }
        books.ended.extend(ended);
        let first = books.waiting_since.is_none();
        if first {
            books.waiting_since = Some(Instant::now());
        }
        let ripe = books.running.len() <= books.flush_at;
        drop(books);
        if first || ripe {
            self.bell.notify_one();
        }
    }

    pub(crate) fn glance(&self) -> Glance {
        let books = self.books.lock();
        Glance {
            running: books.running.len(),
            ended: books.ended.len(),
            waiting_since: books.waiting_since,
            ripe: books.running.len() <= books.flush_at,
        }
    }

    /// Take ended ones of a weight of up to `max` and of up to so many bytes, oldest first, but
    /// at least one.
    pub(crate) fn take_ended(&self, max: usize, max_bytes: u64) -> (Vec<Settlement>, Vec<Kept>) {
        let mut books = self.books.lock();
        let (mut weight, mut held) = (0, 0);
        let max_held = max_bytes.saturating_mul(SETTLING_COPIES);
        let within = books.ended.iter().take_while(|(settlement, kept)| {
            weight += settlement.weight();
            // What is not held is short.
            held += kept.hold.as_ref().map_or(0, Hold::bytes);
            weight <= max && held <= max_held
        });
        let take = within.count().max(1).min(books.ended.len());
        let rest = books.ended.split_off(take);
        let taken = std::mem::replace(&mut books.ended, rest);
        if books.ended.is_empty() {
            books.waiting_since = None;
        }
        drop(books);
        taken.into_iter().unzip()
    }

    /// Put settlements back that the broker could not be told of.
    pub(crate) fn put_back(&self, settlements: Vec<Settlement>, kept: Vec<Kept>) {
        if settlements.is_empty() {
            return;
        }
        let kept = kept.into_iter().chain(std::iter::repeat_with(Kept::default));
        let mut ended: Vec<Ended> = settlements.into_iter().zip(kept).collect();
        let mut books = self.books.lock();
        ended.append(&mut books.ended);
        books.ended = ended;
        books.waiting_since.get_or_insert_with(Instant::now);
    }

    /// Of these claims the ones that are not in the books, at most `max`.
    pub(crate) fn unknown(&self, mut claims: Vec<Claim>, max: usize) -> Vec<Claim> {
        let books = self.books.lock();
        claims.retain(|claim| {
            let runs = books.running.get(&claim.id).is_some_and(|r| r.token == claim.token);
            !runs && !books.ended.iter().any(|(settlement, _)| settlement.token == claim.token)
        });
        claims.truncate(max);
        claims
    }

    /// The tokens of what runs, at most `max`.
    pub(crate) fn running_tokens(&self, max: usize) -> Vec<ClaimToken> {
        self.books.lock().running.values().map(|r| r.token.clone()).take(max).collect()
    }

    /// Add whose attempts run, one by one.
    pub(crate) fn count_tenants(&self, counts: &mut BTreeMap<String, u32>) {
        for running in self.books.lock().running.values() {
            let Some((tenant, _)) = running.token.line() else { continue };
            match counts.get_mut(tenant) {
                Some(count) => *count += 1,
                None => drop(counts.insert(tenant.to_owned(), 1)),
            }
        }
    }

    /// Interrupt one attempt.
    pub(crate) fn interrupt(&self, id: TaskId, why: Interrupt) {
        if let Some(running) = self.books.lock().running.get(&id) {
            running.handle.interrupt(why);
        }
    }

    /// Interrupt the attempt that holds this token.
    pub(crate) fn interrupt_token(&self, token: &ClaimToken, why: Interrupt) {
        let books = self.books.lock();
        for running in books.running.values().filter(|running| running.token == *token) {
            running.handle.interrupt(why);
        }
    }

    /// Interrupt all attempts.
    pub(crate) fn interrupt_all(&self, why: Interrupt) {
        for running in self.books.lock().running.values() {
            running.handle.interrupt(why);
        }
    }
}
