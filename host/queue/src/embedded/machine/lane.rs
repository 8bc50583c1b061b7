//! Lanes: tasks whose key is bounded wait beside the lines, in line order.
//!
//! A lane lets so many into their lines that those not yet claimed never exceed the tokens
//! left, and those and the running ones never exceed the key's concurrency. A limited key
//! therefore occupies no place in any line.

use bulkhead_core::TermKey;

use super::Now;
use super::journal::Touch;
use super::limit::bucket;
use super::queue::Queue;
use super::task::Place;

impl Queue {
    /// Let lanes move on that something happened to, and tenants whose tasks have stopped
    /// running.
    pub(super) fn stir(&mut self, now: Now) {
        for tenant in std::mem::take(&mut self.index.freed) {
            self.unpark(&tenant);
        }
        // Letting a task in stirs its lane again; once is enough.
        for key in std::mem::take(&mut self.index.stirred) {
            self.advance(&key, now);
        }
        self.index.stirred.clear();
    }

    /// Let lanes move on to which tokens came back.
    pub(super) fn stir_due(&mut self, now: Now) {
        while let Some((due_us, key)) = self.index.lanes_due.first()
            && *due_us <= now.us()
        {
            let key = key.clone();
            self.advance(&key, now);
            self.index.stirred.remove(&key);
        }
    }

    fn advance(&mut self, key: &TermKey, now: Now) {
        let bounds = self.key_bounds(key);
        let Some(lane) = self.index.lanes.get_mut(key) else { return };
        lane.bounds = Some(bounds);
        let bounds = bounds.unwrap_or_default();
        if let Some(due_us) = lane.due_us.take() {
            self.index.lanes_due.remove(&(due_us, key.clone()));
        }
        let stored_us = self.facts.key_tokens.get(key).copied().unwrap_or(0);
        let tokens_us = bounds.rate.map_or(stored_us, |rate| bucket(rate, stored_us, now));
        loop {
            let Some(lane) = self.index.lanes.get_mut(key) else { return };
            let Some((score, id)) = lane.waiting.first().copied() else { break };
            let let_in = u32::try_from(lane.let_in.len()).unwrap_or(u32::MAX);
            if bounds.concurrency.is_some_and(|most| let_in.saturating_add(lane.running) >= most) {
                break;
            }
            if let Some(rate) = bounds.rate
                && let_in >= rate.available(tokens_us, now.us())
            {
                if let_in < rate.burst {
                    let due_us = rate.ready_at_us(tokens_us, let_in + 1).max(now.us() + 1);
                    lane.due_us = Some(due_us);
                    self.index.lanes_due.insert((due_us, key.clone()));
                }
                break;
            }
            self.shift(id, |kept| kept.place = Place::Line { score });
            self.wake_for(id);
        }
        self.forget_lane(key, now, tokens_us);
    }

    /// Forget an empty lane, and its tokens once its bucket is full.
    fn forget_lane(&mut self, key: &TermKey, now: Now, tokens_us: u64) {
        if !self.index.lanes.get(key).is_some_and(super::index::Lane::is_empty) {
            return;
        }
        self.index.lanes.remove(key);
        if tokens_us > now.us() {
            self.facts.keys_filling.insert((tokens_us, key.clone()));
        } else {
            self.forget_tokens(key);
        }
    }

    fn forget_tokens(&mut self, key: &TermKey) {
        if self.facts.key_tokens.remove(key).is_some() {
            self.journal.note(|| Touch::KeyTokens(key.clone()));
        }
    }

    /// Forget the tokens of keys without tasks whose buckets have filled up.
    pub(super) fn sweep_tokens(&mut self, now: Now, at_most: usize) {
        for _ in 0..at_most {
            let Some((full_us, key)) = self.facts.keys_filling.first().cloned() else { return };
            if full_us > now.us() {
                return;
            }
            self.facts.keys_filling.pop_first();
            let tokens_us = self.facts.key_tokens.get(&key).copied().unwrap_or(0);
            // A lane that is in use, or is used again, sees to it itself.
            if !self.index.lanes.contains_key(&key) && tokens_us <= now.us() {
                self.forget_tokens(&key);
            }
        }
    }

    /// Put what was let in and not claimed back into its lane, so that a changed policy
    /// bounds it.
    pub(super) fn recall_lanes(&mut self, now: Now) {
        let keys: Vec<TermKey> = self.index.lanes.keys().cloned().collect();
        for key in keys {
            let bounds = self.facts.policy.key_bounds(key.as_str());
            let Some(lane) = self.index.lanes.get_mut(&key) else { continue };
            let changed = lane.bounds.replace(bounds) != Some(bounds);
            if changed && bounds.is_some() {
                for (score, id) in lane.let_in.clone() {
                    self.shift(id, |kept| kept.place = Place::Lane { score });
                }
            }
            self.advance(&key, now);
        }
        self.index.stirred.clear();
    }
}
