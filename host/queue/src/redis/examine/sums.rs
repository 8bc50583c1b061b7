//! Counts that take many calls to check.

use std::collections::BTreeMap;

use redis::Cmd;

use super::super::list::scan;
use super::super::script;
use super::super::stats::pairs;
use super::{CALL_ITEMS, Examination};
use crate::error::QueueError;
use crate::finding::{Finding, FindingKind};

/// What sums say that were counted twice: those that were off by the same both times.
fn off_twice(first: &BTreeMap<String, i64>, second: &BTreeMap<String, i64>) -> Vec<(String, i64)> {
    let same = first.iter().filter(|(name, off)| **off != 0 && second.get(*name) == Some(off));
    same.map(|(name, off)| (name.clone(), *off)).collect()
}

impl Examination<'_> {
    /// The counts of tasks that have not ended, by tenant, and of those in lanes, by type.
    pub(super) async fn sums(&mut self) -> Result<(), QueueError> {
        for (hash, what) in [("live", "tasks that have not ended"), ("laned", "tasks in lanes")] {
            let first = self.off(hash).await?;
            if first.values().all(|off| *off == 0) {
                continue;
            }
            let second = self.off(hash).await?;
            for (name, off) in off_twice(&first, &second) {
                if self.repair {
                    let mut mend = redis::cmd("HINCRBY");
                    mend.arg(self.key(hash)).arg(&name).arg(-off);
                    self.broker.run(&mend).await?;
                }
                self.findings.push(Finding {
                    kind: FindingKind::Miscounted,
                    task: None,
                    detail: format!("the count of {what} of `{name}` is off by {off}"),
                    repaired: self.repair,
                });
            }
        }
        Ok(())
    }

    /// By how much each count is too high.
    async fn off(&self, hash: &str) -> Result<BTreeMap<String, i64>, QueueError> {
        let mut off = BTreeMap::new();
        let stored = pairs(self.broker.run(&Cmd::hgetall(self.key(hash))).await?)?;
        for (name, count) in stored {
            off.insert(name, count.parse().unwrap_or(0));
        }
        let names = self.names().await?;
        let mut ids = Vec::new();
        if hash == "live" {
            ids.extend(
                names.iter().filter_map(|name| Some(name.strip_prefix("task:")?.to_owned())),
            );
        } else {
            for lane in names.iter().filter(|name| name.starts_with("lane:")) {
                ids.extend(scan(self.broker, "ZSCAN", &self.key(lane)).await?);
            }
        }
        for ids in ids.chunks(CALL_ITEMS) {
            let mut args: Vec<&[u8]> = vec![hash.as_bytes()];
            args.extend(ids.iter().map(String::as_bytes));
            let reply = self.broker.scripts.tally.call(self.broker, self.queue, &args).await?;
            for name in script::array(reply)? {
                let name = script::text(name)?;
                if !name.is_empty() {
                    *off.entry(name).or_insert(0) -= 1;
                }
            }
        }
        Ok(off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_off_by_the_same_twice_is_wrong() {
        let sums = |sums: [(&str, i64); 3]| sums.map(|(name, off)| (name.to_owned(), off)).into();
        let first = sums([("a", 2), ("b", 1), ("c", 0)]);
        let second = sums([("a", 2), ("b", 2), ("c", 0)]);
        assert_eq!(off_twice(&first, &second), [("a".to_owned(), 2)]);
    }
}
