//! Usage: what attempts took, by day, tenant, plugin and type, and from whose quotas.

use bulkhead_core::{QueueName, TenantName};

use super::journal::Touch;
use super::queue::{Facts, Queue};
use super::{Machine, Now};
use crate::step::Settlement;
use crate::usage::{Day, Usage, UsageLine, UsageRow, sums};

/// Days that are kept, and that one look covers at most.
const DAYS: u32 = 400;

impl Queue {
    /// Count what the attempts of a step used.
    pub(super) fn meter(&mut self, settle: &[Settlement], now: Now) {
        let Day(day) = Day::of(now.ms());
        let mut of_tenant: Option<(&str, Usage)> = None;
        for ((tenant, plugin, task_type), usage) in sums(settle) {
            let line = UsageLine {
                tenant: tenant.to_owned(),
                plugin: plugin.to_owned(),
                task_type: task_type.to_owned(),
            };
            let line = self.facts.count_usage(day, line, usage);
            self.journal.note(|| Touch::Usage(day, line));
            // The sums come by tenant.
            match &mut of_tenant {
                Some((name, sum)) if *name == tenant => sum.add(usage),
                _ => {
                    self.charge(of_tenant.take(), now);
                    of_tenant = Some((tenant, usage));
                }
            }
        }
        self.charge(of_tenant, now);
    }

    /// Take what a tenant's attempts used from its quotas of a minute.
    fn charge(&mut self, of_tenant: Option<(&str, Usage)>, now: Now) {
        let Some((tenant, used)) = of_tenant else { return };
        let Ok(tenant) = TenantName::new(tenant) else { return };
        let policy = self.facts.policy.tenant(&tenant);
        if !policy.is_metered() {
            return;
        }
        let share = self.facts.shares.entry(tenant.clone()).or_default();
        if let Some(quota) = policy.fuel_per_minute {
            share.fuel = share.fuel.take(quota, used.fuel, now.us());
        }
        if let Some(quota) = policy.kib_ms_per_minute {
            share.memory = share.memory.take(quota, used.kib_ms, now.us());
        }
        self.journal.note(|| Touch::Share(tenant));
    }

    /// Forget old days, so many rows at most.
    pub(super) fn sweep_usage(&mut self, now: Now, at_most: usize) {
        let Day(day) = Day::of(now.ms());
        for _ in 0..at_most {
            match self.facts.usage.first_key_value() {
                Some(((old, _), _)) if old.saturating_add(DAYS) <= day => {}
                _ => return,
            }
            if let Some(((old, line), _)) = self.facts.usage.pop_first() {
                self.facts.usage_rows.remove(&old);
                self.journal.note(|| Touch::Usage(old, line));
            }
        }
    }
}

impl Facts {
    /// Add to a line's day, or to that of all others if the day has too many. Which it was.
    fn count_usage(&mut self, day: u32, line: UsageLine, usage: Usage) -> UsageLine {
        let rows = self.usage_rows.get(&day).copied().unwrap_or(0);
        let mut key = (day, line);
        if rows >= UsageLine::DAY_MAX && !self.usage.contains_key(&key) {
            key.1 = UsageLine::others_of(&key.1.tenant);
            let most = UsageLine::DAY_MAX + UsageLine::TENANTS_MAX;
            if rows >= most && !self.usage.contains_key(&key) {
                key.1 = UsageLine::others_of(UsageLine::OTHER);
            }
        }
        match self.usage.get_mut(&key) {
            Some(sum) => sum.add(usage),
            None => self.put_usage(key.clone(), usage),
        }
        key.1
    }

    /// Put a row that was not there.
    pub(super) fn put_usage(&mut self, key: (u32, UsageLine), usage: Usage) {
        if key.1.tenant != UsageLine::OTHER {
            *self.usage_rows.entry(key.0).or_default() += 1;
        }
        self.usage.insert(key, usage);
    }
}

impl Machine {
    /// What was used in these days, ends included; of more than 400 the last.
    #[must_use]
    pub fn usage(&self, queue: &QueueName, from: Day, to: Day) -> Vec<UsageRow> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        let from = from.0.max(to.0.saturating_sub(DAYS - 1));
        let rows = self.queues[at].facts.usage.iter();
        rows.filter(|((day, _), _)| (from..=to.0).contains(day))
            .map(|((day, line), usage)| UsageRow {
                day: Day(*day),
                line: line.clone(),
                usage: *usage,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tenant: &str, plugin: &str) -> UsageLine {
        let (tenant, plugin) = (tenant.to_owned(), plugin.to_owned());
        UsageLine { tenant, plugin, task_type: "t".into() }
    }

    #[test]
    fn a_day_has_so_many_lines_and_sums_up_the_rest() {
        let mut facts = Facts::default();
        let once = Usage { attempts: 1, fuel: 5, ..Usage::default() };
        for n in 0..UsageLine::DAY_MAX {
            let own = line("flood", &format!("p{n}"));
            assert_eq!(facts.count_usage(7, own.clone(), once), own);
        }
        // A line that is there goes on; a new one is its tenant's only.
        assert_eq!(facts.count_usage(7, line("flood", "p0"), once), line("flood", "p0"));
        for _ in 0..2 {
            for n in 0..UsageLine::TENANTS_MAX {
                let tenant = format!("t{n}");
                let counted = facts.count_usage(7, line(&tenant, "p"), once);
                assert_eq!(counted, UsageLine::others_of(&tenant));
            }
            let late = facts.count_usage(7, line("late", "p"), once);
            assert_eq!(late, UsageLine::others_of("*"));
        }
        let most = UsageLine::DAY_MAX + UsageLine::TENANTS_MAX;
        assert_eq!(facts.usage.len(), most as usize + 1);
        assert_eq!(facts.usage[&(7, UsageLine::others_of("*"))].attempts, 2);
        assert_eq!(facts.usage[&(7, UsageLine::others_of("t3"))].fuel, 10);
        assert_eq!(facts.count_usage(8, line("late", "p"), once), line("late", "p"), "a new day");
    }
}
