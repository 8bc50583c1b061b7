//! How often each caller may ask.

use std::collections::HashMap;

use bulkhead_core::Rate;
use parking_lot::Mutex;

/// Callers whose buckets are remembered. A full bucket need not be.
const REMEMBERED: usize = 10_000;

/// A bucket for each caller.
pub(super) struct Buckets {
    rate: Rate,
    /// When each bucket will be full again, in microseconds.
    full_at_us: Mutex<HashMap<String, u64>>,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full_at_us: Mutex::new(HashMap::new()) }
    }

    /// Take a token; in how many seconds there is one, if there is none now.
    pub(super) fn take(&self, caller: &str, now_us: u64) -> Result<(), u64> {
        let mut buckets = self.full_at_us.lock();
        if buckets.len() >= REMEMBERED && !buckets.contains_key(caller) {
            buckets.retain(|_, full_at| *full_at > now_us);
            if buckets.len() >= REMEMBERED {
                return Err(1);
            }
        }
        let full_at = buckets.get(caller).copied().unwrap_or(0);
        if self.rate.available(full_at, now_us) == 0 {
            let ready_us = self.rate.ready_at_us(full_at, 1).saturating_sub(now_us);
            return Err(ready_us.div_ceil(1_000_000).max(1));
        }
        let spent = self.rate.spend(full_at, now_us, 1);
        buckets.insert(caller.to_owned(), spent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_bucket_of_its_own() {
        let buckets = Buckets::new("2/s".parse().unwrap());
        assert_eq!(buckets.take("a", 0), Ok(()));
        assert_eq!(buckets.take("a", 0), Ok(()));
        assert_eq!(buckets.take("a", 0), Err(1));
        assert_eq!(buckets.take("b", 0), Ok(()));
        assert_eq!(buckets.take("a", 500_000), Ok(()));
    }

    #[test]
    fn buckets_are_bounded_and_full_ones_forgotten() {
        let buckets = Buckets::new("1/s".parse().unwrap());
        for n in 0..REMEMBERED {
            assert_eq!(buckets.take(&n.to_string(), 0), Ok(()));
        }
        assert_eq!(buckets.take("one more", 0), Err(1));
        assert_eq!(buckets.take("one more", 2_000_000), Ok(()));
        assert_eq!(buckets.full_at_us.lock().len(), 1);
    }
}
