//! Results remembered under a key, for a time.

use bulkhead_core::{Payload, QueueName};

use super::journal::Touch;
use super::queue::{Memo, Queue};
use super::{FOREVER_MS, Machine, Now};

impl Machine {
    /// A result remembered under this key, if it is still kept.
    #[must_use]
    pub fn recall(&self, queue: &QueueName, key: &str, now_us: u64) -> Option<Payload> {
        let memo = self.queues[self.at(queue)?].facts.memos.get(key)?;
        (memo.until_ms >= Now(now_us).ms()).then(|| memo.output.clone())
    }

    /// Remember a result for so many milliseconds.
    pub fn remember(
        &mut self,
        queue: &QueueName,
        key: &str,
        output: &Payload,
        ttl_ms: u64,
        now_us: u64,
    ) {
        let (at, now) = (self.open(queue), Now(now_us));
        let queue = &mut self.queues[at];
        queue.sweep(now);
        let until_ms = now.ms() + ttl_ms.min(FOREVER_MS);
        let memo = Memo { output: output.clone(), until_ms };
        if let Some(old) = queue.facts.memos.insert(key.to_owned(), memo) {
            queue.facts.memos_kept.remove(&(old.until_ms, key.to_owned()));
        }
        queue.facts.memos_kept.insert((until_ms, key.to_owned()));
        queue.journal.note(|| Touch::Memo(key.to_owned()));
    }
}

impl Queue {
    pub(super) fn sweep_memos(&mut self, now: Now, at_most: usize) {
        for _ in 0..at_most {
            match self.facts.memos_kept.first() {
                Some((until_ms, _)) if *until_ms < now.ms() => {}
                _ => return,
            }
            if let Some((_, key)) = self.facts.memos_kept.pop_first() {
                self.facts.memos.remove(&key);
                self.journal.note(|| Touch::Memo(key));
            }
        }
    }
}
