//! The wake-up of idle hosts: one marker for each thing that somebody may wait for, taken by
//! whoever waits for it.
//!
//! Who waits for all tenants of a type and who waits for one of them have markers of their
//! own, so that none takes what another needs. The latter are made only for tenants that a
//! step of this process served alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bulkhead_core::{QueueName, TaskType, TenantName};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Lines;
use crate::serves::Serves;

/// Lines of one tenant that are known to be waited for. With more of them all are forgotten,
/// which costs a sleeping host at most the longest sleep.
const NARROW_MAX: usize = 100_000;

/// Markers stay until somebody takes them, so a wake-up between two waits is not lost, and
/// a dropped wait takes none.
#[derive(Debug, Default)]
pub(super) struct Wake {
    marks: Mutex<Marks>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Marks {
    marked: HashSet<(QueueName, Serves)>,
    narrow: HashMap<QueueName, HashMap<TaskType, HashSet<TenantName>>>,
    narrow_in_all: usize,
}

impl Wake {
    /// Make markers from now on for the tenants that a step serves alone.
    pub(super) fn expect(&self, queue: &QueueName, serves: &[Serves]) {
        if serves.iter().all(|one| one.tenant.is_none()) {
            return;
        }
        let mut marks = self.marks.lock();
        for Serves { task_type, tenant } in serves.iter().take(Serves::MAX) {
            let Some(tenant) = tenant else { continue };
            let known = marks.narrow.get(queue).and_then(|of| of.get(task_type));
            if known.is_some_and(|of| of.contains(tenant)) {
                continue;
            }
            if marks.narrow_in_all == NARROW_MAX {
                marks.narrow.clear();
                marks.narrow_in_all = 0;
            }
            let of_queue = marks.narrow.entry(queue.clone()).or_default();
            of_queue.entry(task_type.clone()).or_default().insert(tenant.clone());
            marks.narrow_in_all += 1;
        }
    }

    /// Say that there is work of a type: of this tenant, or of any.
    pub(super) fn mark(&self, queue: QueueName, task_type: TaskType, tenant: Option<TenantName>) {
        let mut marks = self.marks.lock();
        let waited = marks.narrow.get(&queue).and_then(|of| of.get(&task_type));
        let tenants: Vec<TenantName> = match (waited, tenant) {
            (None, _) => Vec::new(),
            (Some(waited), Some(tenant)) => waited.get(&tenant).into_iter().cloned().collect(),
            (Some(waited), None) => waited.iter().cloned().collect(),
        };
        let mut news = false;
        for tenant in tenants {
            let narrow = Serves::only(task_type.clone(), tenant);
            news |= marks.marked.insert((queue.clone(), narrow));
        }
        news |= marks.marked.insert((queue, task_type.into()));
        drop(marks);
        if news {
            self.bell.notify_waiters();
        }
    }

    /// Wait for a marker of one of the lines, at most `timeout`.
    pub(super) async fn take(&self, lines: &[Lines], timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let rung = self.bell.notified();
            tokio::pin!(rung);
            // From here on a mark is heard, so none falls between the look and the wait.
            rung.as_mut().enable();
            if self.take_now(lines) {
                return true;
            }
            if tokio::time::timeout_at(deadline, rung).await.is_err() {
                return false;
            }
        }
    }

    fn take_now(&self, lines: &[Lines]) -> bool {
        let mut marks = self.marks.lock();
        if marks.marked.is_empty() {
            return false;
        }
        lines.iter().any(|(queue, serves)| {
            let mut serves = serves.iter().take(Serves::MAX);
            serves.any(|one| marks.marked.remove(&(queue.clone(), one.clone())))
        })
    }
}
