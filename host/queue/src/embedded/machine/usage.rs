//! Usage: what attempts took, by tenant and day.

use bulkhead_core::{Metering, QueueName, TenantName};

use super::journal::Touch;
use super::queue::Queue;
use super::{Machine, Now};
use crate::usage::{Day, Usage, UsageRow};

/// Days that are kept, and that one look covers at most.
const DAYS: u32 = 400;

impl Queue {
    pub(super) fn meter(&mut self, tenant: &TenantName, metering: &Metering, now: Now) {
        let Day(day) = Day::of(now.ms());
        let sum = self.facts.usage.entry((day, tenant.clone())).or_default();
        let fresh = sum.attempts == 0;
        sum.add(Usage::of(metering));
        self.journal.note(|| Touch::Usage(day, tenant.clone()));
        while fresh
            && let Some(((old, tenant), _)) = self.facts.usage.first_key_value()
            && old.saturating_add(DAYS) <= day
        {
            let (old, tenant) = (*old, tenant.clone());
            self.facts.usage.pop_first();
            self.journal.note(|| Touch::Usage(old, tenant));
        }
    }
}

impl Machine {
    /// What tenants used in these days, ends included; of more than 400 the last.
    #[must_use]
    pub fn usage(&self, queue: &QueueName, from: Day, to: Day) -> Vec<UsageRow> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        let from = from.0.max(to.0.saturating_sub(DAYS - 1));
        let rows = self.queues[at].facts.usage.iter();
        rows.filter(|((day, _), _)| (from..=to.0).contains(day))
            .map(|((day, tenant), usage)| UsageRow {
                day: Day(*day),
                tenant: tenant.clone(),
                usage: *usage,
            })
            .collect()
    }
}
